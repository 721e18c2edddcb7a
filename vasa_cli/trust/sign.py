"""C2PA content credentials: a manifest in the video, signed with the user's certificate (`--sign`), and read back.

Specification: c2pa.org, version 2. The library (extra `c2pa`) may neither fetch manifests nor ask for revocations: nothing here
goes to the network. There is no time stamp either: a signature is good as long as its certificate is.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vasa_cli import __version__
from vasa_cli.errors import EncoderError, InputError, UsageError
from vasa_cli.files import check_input, sha256_file
from vasa_cli.video.provenance import SOURCE_TYPE, read_box

if TYPE_CHECKING:
    from vasa_cli.requests import RenderRequest

SEALED = ".sealed"  # behind the name of what is being signed, while it grows
INSTALL = "pip install 'vasa_cli[c2pa]'"
TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime"}  # what we write and C2PA has a place in
UNTRUSTED = "signingCredential.untrusted"  # not on a list of trusted certificates: we have no list
_BOX = uuid.UUID("d8fec3d6-1b0e-483c-9297-5828877ec481")  # C2PA 2.1, A.5: embedding manifests into BMFF
_PICTURES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".tif": "image/tiff",
             ".tiff": "image/tiff", ".gif": "image/gif", ".heic": "image/heic", ".avif": "image/avif"}  # fmt: skip
_INPUTS = {**_PICTURES, **TYPES, ".wav": "audio/wav", ".mp3": "audio/mpeg", ".flac": "audio/flac", ".m4a": "audio/mp4",
           ".ogg": "audio/ogg", ".opus": "audio/ogg"}  # fmt: skip
_BYTES = "application/octet-stream"
_SETTINGS = {
    "version": 1,
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": False},
    "builder": {"thumbnail": {"enabled": False}},
}
_DOT = bytes.fromhex(  # a PNG picture of one point, to try a signature on
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000020001e221bc330000000049454e44"
    "ae426082"
)


@dataclass(frozen=True)
class Signing:
    """cert: the chain, PEM, the signer's own first; key: their private key, PEM (PKCS#8, not encrypted)."""

    cert: Path
    key: Path


def check_signing(signing: Signing, output: Path, *, marked: bool = True) -> dict[str, str]:
    """Everything that can be wrong with signing, before any work: a picture of one point is signed. Returns who signs, for the
    receipt. Raises UsageError, InputError."""
    check_signable(output, marked=marked)
    return check_signer(signing)


def check_signable(output: Path, *, marked: bool = True) -> None:
    """Raises UsageError where a video of this name, or without the mark, cannot be signed."""
    if output.suffix.lower() not in TYPES:
        raise UsageError(
            f"--sign: {output.name}: C2PA has no place in this format; name the video with one of {', '.join(TYPES)}"
        )
    if not marked:
        raise UsageError("--sign says that AI made the video, --no-provenance hides it: leave one of them out")


def check_signer(signing: Signing) -> dict[str, str]:
    """Who signs, once a picture of one point could be signed. Raises UsageError, InputError."""
    if not installed():
        raise UsageError(f"--sign needs the extra c2pa; run: {INSTALL}")
    check_input(signing.cert, "certificate")
    check_input(signing.key, "private key")
    out = io.BytesIO()
    _sign(signing, _manifest("trial", []), [], "image/png", io.BytesIO(_DOT), out)
    found = _read("image/png", out)
    problems = [] if found is None else found["problems"]
    if found is None or problems:
        raise InputError(
            f"{signing.cert}: the certificate or its key does not fit C2PA ({'; '.join(problems) or 'no signature'})"
        )
    return {"signer": found["signer"], "issuer": found["issuer"], "algorithm": found["algorithm"],
            "certificate_sha256": sha256_file(signing.cert)}  # fmt: skip


def seal(signing: Signing, request: RenderRequest, path: Path) -> None:
    """Put the signed manifest into the finished video `path`, which may have any name. Raises EncoderError, OSError."""
    ingredients = ingredients_of(request)
    sealed = path.with_name(f"{path.name}{SEALED}")
    try:
        with path.open("rb") as source, sealed.open("w+b") as target:
            kind = TYPES[request.output.suffix.lower()]
            _sign(signing, _manifest(request.output.name, ingredients), ingredients, kind, source, target)
        os.replace(sealed, path)
    except InputError as e:
        raise EncoderError(f"{request.output}: cannot be signed ({e})") from e
    finally:
        sealed.unlink(missing_ok=True)


def ingredients_of(request: RenderRequest) -> list[Path]:
    """The photo, what it was set in motion by, what is heard, and the picture behind the person."""
    drive = request.drive.clip if request.drive is not None else None
    paths = (request.portrait, request.audio, drive, request.track, request.picture.background.path)
    return [path for path in paths if path is not None]


def _manifest(title: str, ingredients: list[Path]) -> dict[str, Any]:
    tool = {"name": "vasa_cli", "version": __version__}
    made = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE, "softwareAgent": tool}
    if ingredients:
        made["parameters"] = {"ingredientIds": [_ident(path) for path in ingredients]}
    return {
        "claim_generator_info": [tool], "title": title,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [made]}}],
    }  # fmt: skip


def _ident(path: Path) -> str:
    return f"sha256:{sha256_file(path)}"


def installed() -> bool:
    return importlib.util.find_spec("c2pa") is not None


def _sign(
    signing: Signing, manifest: dict[str, Any], ingredients: list[Path], kind: str, source: Any, target: Any
) -> None:  # fmt: skip
    """Raises InputError when the library refuses."""
    import c2pa

    context = c2pa.Context.from_dict(_SETTINGS)
    try:
        info = c2pa.C2paSignerInfo(_algorithm(signing.cert), signing.cert.read_bytes(), signing.key.read_bytes(), None)
        signer = c2pa.Signer.from_info(info)
        builder = c2pa.Builder(json.dumps(manifest), context=context)
        for path in ingredients:
            _add(builder, path)
        builder.sign(signer, kind, source, target)
    except c2pa.C2paError as e:
        raise InputError(_explain(signing, str(e))) from e


def _add(builder: Any, path: Path) -> None:
    """Tell of an input. What is not what its suffix says, or damaged, is told of as bytes: the render has succeeded with it.
    Raises C2paError."""
    import c2pa

    told = {"title": path.name, "relationship": "inputTo", "instance_id": _ident(path)}
    with path.open("rb") as f:
        try:
            builder.add_ingredient(told, _INPUTS.get(path.suffix.lower(), _BYTES), f)
        except c2pa.C2paError:
            f.seek(0)
            builder.add_ingredient(told, _BYTES, f)


def _explain(signing: Signing, message: str) -> str:
    if "private key" in message or "PRIVATE KEY" in message:
        hint = "openssl pkcs8 -topk8 -nocrypt -in KEY -out key.pem"
        return f"{signing.key}: no private key that fits the certificate, PEM, PKCS#8, without a password ({hint}): {message}"
    return f"{signing.cert}: the certificate or its key does not fit C2PA ({message})"


def _algorithm(cert: Path) -> bytes:
    """C2PA's name of the signature algorithm of the first certificate's key. Raises InputError."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    try:
        key = x509.load_pem_x509_certificates(cert.read_bytes())[0].public_key()
    except (ValueError, IndexError) as e:
        raise InputError(f"{cert}: holds no certificate in PEM form") from e
    if isinstance(key, ec.EllipticCurvePublicKey):
        known = {"secp256r1": b"es256", "secp384r1": b"es384", "secp521r1": b"es512"}
        if key.curve.name in known:
            return known[key.curve.name]
    if isinstance(key, rsa.RSAPublicKey):
        return b"ps256"
    if isinstance(key, ed25519.Ed25519PublicKey):
        return b"ed25519"
    raise InputError(f"{cert}: C2PA has no signature of this kind of key; take P-256, P-384, P-521, RSA or Ed25519")


# ---------------------------------------------------------------------------------------------------- reading


def signature_of(path: Path) -> dict[str, Any] | None:
    """The state of a video's or picture's C2PA signature; None when it has none.

    state: 'valid' (nothing was changed since), 'invalid', or 'not checked' (the extra is not installed). Whether the signer is
    to be trusted is for people to say: there is no list of them here. Raises OSError.
    """
    kind = _type_of(path)
    if kind is None or (kind in TYPES.values() and read_box(path, _BOX, 64) is None):
        return None
    if not installed():
        return {"state": "not checked", "problems": [f"install the extra: {INSTALL}"]} if kind in TYPES.values() else None
    with path.open("rb") as f:
        return _read(kind, f)


def _type_of(path: Path) -> str | None:
    with path.open("rb") as f:
        head = f.read(12)
    if head[4:8] == b"ftyp":
        return "video/quicktime" if head[8:10] == b"qt" else "video/mp4"
    return {b"\xff\xd8\xff": "image/jpeg", b"\x89PN": "image/png"}.get(head[:3])


def _read(kind: str, source: Any) -> dict[str, Any] | None:
    import c2pa

    source.seek(0)
    try:
        reader = c2pa.Reader(kind, source, context=c2pa.Context.from_dict(_SETTINGS))
        data = json.loads(reader.json())
    except c2pa.C2paError as e:
        text = " ".join(str(e).split())
        if "remote manifest" in text:  # its address is a stranger's: nobody asks there
            return {"state": "not checked", "problems": ["its manifest lies elsewhere, and nothing is fetched"]}
        return None if "ManifestNotFound" in text else {"state": "invalid", "problems": [text[:300]]}
    active = data.get("manifests", {}).get(data.get("active_manifest"), {})
    failed = data.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
    problems = [str(f.get("explanation") or f.get("code")) for f in failed if f.get("code") != UNTRUSTED]
    signer = active.get("signature_info", {})
    actions = [a for s in active.get("assertions", []) if s.get("label", "").startswith("c2pa.actions")
               for a in s.get("data", {}).get("actions", [])]  # fmt: skip
    return {
        "state": "invalid" if problems or data.get("validation_state") == "Invalid" else "valid",
        "signer": signer.get("common_name"), "issuer": signer.get("issuer"), "algorithm": signer.get("alg"),
        "digital_source_type": next((a["digitalSourceType"] for a in actions if "digitalSourceType" in a), None),
        "ingredients": [i.get("title") for i in active.get("ingredients", [])], "problems": problems,
    }  # fmt: skip
