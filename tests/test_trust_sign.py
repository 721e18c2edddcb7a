"""`render --sign`: content credentials that c2pa's own reader accepts, in a file that plays and keeps its frames."""

from __future__ import annotations

import datetime
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import pytest
from conftest import Vasa, assert_fails_well

from vasa_cli.video.provenance import SOURCE_TYPE

c2pa = pytest.importorskip("c2pa", reason="the extra c2pa is not installed")
pytest.importorskip("cryptography", reason="the extra c2pa is not installed")
SMALL = ("--weights", "smoke", "--size", 256)


def chain(folder: Path, days: int = 30, *, usage: bool = True, kind: str = "p256") -> tuple[Path, Path]:
    """A root, and a signer's certificate that it vouches for: (chain, private key) in PEM files."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(text: str) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Throwaway"), x509.NameAttribute(NameOID.COMMON_NAME, text)]
        )

    def make(subject: str, key: Any, root: Any, ca: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        signs = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
        builder = (
            x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name("Root")).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=60))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
            .add_extension(signs, critical=True)
        )  # fmt: skip
        if not ca and usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        return builder.sign(root, hashes.SHA256())

    root = ec.generate_private_key(ec.SECP256R1())
    key: Any = {"p256": lambda: ec.generate_private_key(ec.SECP256R1()), "ed25519": ed25519.Ed25519PrivateKey.generate,
                "rsa": lambda: rsa.generate_private_key(65537, 2048)}[kind]()  # fmt: skip
    pem = serialization.Encoding.PEM
    both = (make("Signer", key, root, False), make("Root", root, root, True))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cert.pem").write_bytes(b"".join(c.public_bytes(pem) for c in both))
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    (folder / "old.pem").write_bytes(root.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, plain))
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="module")
def signed(vasa: Vasa, face: Path, astronaut: Path, speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a photo, a recording, a certificate, and the same video twice: a.mp4 unsigned, b.mp4 signed."""
    folder = tmp_path_factory.mktemp("signed")
    shutil.copy(astronaut, folder / "p.png")
    shutil.copy(speech, folder / "s.wav")
    chain(folder)
    for name, more in (("a.mp4", ()), ("b.mp4", ("--sign", "cert.pem", "key.pem"))):
        done = vasa("render", "p.png", "s.wav", "-o", name, *SMALL, *more, "--json", cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def receipt(folder: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((folder / f"{name}.json").read_text(encoding="utf-8")))


def test_c2pas_own_reader_accepts_it(signed: Path) -> None:
    with (signed / "b.mp4").open("rb") as f:
        reader = c2pa.Reader("video/mp4", f)
        assert reader.get_validation_state() in ("Valid", "Trusted")
        manifest = reader.get_active_manifest()
    assert manifest["signature_info"]["common_name"] == "Signer"
    assert [(i["title"], i["relationship"]) for i in manifest["ingredients"]] == [("p.png", "inputTo"), ("s.wav", "inputTo")]
    (actions,) = [a["data"]["actions"] for a in manifest["assertions"] if a["label"].startswith("c2pa.actions")]
    assert actions[0]["action"] == "c2pa.created"
    assert actions[0]["digitalSourceType"] == SOURCE_TYPE
    assert len(actions[0]["parameters"]["ingredients"]) == 2
    assert manifest["claim_generator_info"][0]["name"] == "vasa_cli"


def test_it_still_plays_and_keeps_its_frames(signed: Path) -> None:
    plain, other = receipt(signed, "a.mp4"), receipt(signed, "b.mp4")
    assert plain["frame_hash"] == other["frame_hash"] and plain["sound_hash"] == other["sound_hash"]
    assert plain["signature"] is None
    assert (other["signature"]["signer"], other["signature"]["algorithm"]) == ("Signer", "Es256")
    assert "key" not in json.dumps(other["signature"])
    with av.open(str(signed / "b.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == other["frames"]
        assert video.streams.audio[0].codec_context.name == "aac"
    with av.open(str(signed / "b.mp4")) as video:
        assert sum(f.samples for f in video.decode(audio=0)) > 0
    assert sorted(p.name for p in signed.glob("*.mp4*")) == ["a.mp4", "a.mp4.json", "b.mp4", "b.mp4.json"]  # nothing is left over


def test_inspect_and_verify_show_it(vasa: Vasa, signed: Path, tmp_path: Path) -> None:
    seen = json.loads(vasa("inspect", "b.mp4", "--json", cwd=signed).stdout)
    assert (seen["signature"]["state"], seen["signature"]["signer"]) == ("valid", "Signer")
    assert seen["signature"]["digital_source_type"] == seen["digital_source_type"] == SOURCE_TYPE
    assert seen["signature"]["ingredients"] == ["p.png", "s.wav"]
    assert "C2PA, valid, by Signer" in vasa("inspect", "b.mp4", cwd=signed).stdout
    assert json.loads(vasa("inspect", "a.mp4", "--json", cwd=signed).stdout)["signature"] is None
    assert "signature" in vasa("verify", "b.mp4", cwd=signed).stdout
    folder = Path(shutil.copytree(signed, tmp_path / "c"))
    data = (folder / "b.mp4").read_bytes()
    changed = data.replace(b"Iptc4xmpExt:DigitalSourceType", b"Iptc4xmpExt:DigitalSourceTypo")
    assert changed != data
    (folder / "b.mp4").write_bytes(changed)
    done = vasa("verify", "b.mp4", "--json", cwd=folder)
    assert done.returncode == 9
    assert json.loads(done.stdout)["videos"][0]["differs"] == ["mark", "signature", "file"]
    shutil.copy(folder / "a.mp4", folder / "b.mp4")  # the same frames, unsigned
    checks = json.loads(vasa("verify", "b.mp4", "--json", cwd=folder).stdout)["videos"][0]["checks"]
    assert [c["detail"] for c in checks if c["name"] == "signature"] == ["it is gone"]


def test_a_repetition_is_signed_when_asked(vasa: Vasa, signed: Path, tmp_path: Path) -> None:
    done = vasa("render", "--from", "b.mp4.json", "-o", tmp_path / "c.mp4", cwd=signed)
    assert done.returncode == 0 and "--sign" in done.stderr, done.stderr
    again = ("render", "--from", "b.mp4.json", "-o", tmp_path / "d.mov", "--sign", "cert.pem", "key.pem", "--json")
    done = vasa(*again, cwd=signed)
    assert json.loads(done.stdout)["reproduced"] is True
    assert json.loads(vasa("inspect", tmp_path / "d.mov", "--json").stdout)["signature"]["state"] == "valid"


def test_what_does_not_fit_is_said_before_any_work(vasa: Vasa, signed: Path, tmp_path: Path) -> None:
    expired, _ = chain(tmp_path / "expired", days=-1)
    useless, _ = chain(tmp_path / "useless", usage=False)
    chain(tmp_path / "other")
    (tmp_path / "junk.pem").write_text("no certificate\n")
    mine = (signed / "cert.pem", signed / "key.pem")
    cases: list[tuple[object, object, str, int, str]] = [
        (mine[0], tmp_path / "other" / "key.pem", "x.mp4", 3, "cert.pem"),
        (mine[0], signed / "old.pem", "x.mp4", 3, "pkcs8"),
        (expired, expired.with_name("key.pem"), "x.mp4", 3, "does not fit"),
        (useless, useless.with_name("key.pem"), "x.mp4", 3, "does not fit"),
        (tmp_path / "junk.pem", mine[1], "x.mp4", 3, "no certificate"),
        (tmp_path / "none.pem", mine[1], "x.mp4", 3, "no such certificate"),
        (*mine, "x.mkv", 2, ".mp4, .m4v, .mov"),
        (*mine, "frames/", 2, ".mp4, .m4v, .mov"),
    ]
    for cert, key, output, code, words in cases:
        done = vasa("render", "p.png", "s.wav", "-o", output, *SMALL, "--dry-run", "--sign", cert, key, cwd=signed)
        assert_fails_well(done, code, words)
    both = vasa("render", "p.png", "s.wav", "-o", "x.mp4", "--no-provenance", "--sign", *mine, cwd=signed)
    assert_fails_well(both, 2, "--no-provenance")


def test_inputs_that_are_not_what_their_names_say(vasa: Vasa, signed: Path, tmp_path: Path) -> None:
    """A JPEG that is called .png is a photo as any other; signing found it odd, and that only after the render."""
    from PIL import Image

    from vasa_cli.trust.sign import Signing, _manifest, _sign

    Image.open(signed / "p.png").convert("RGB").save(tmp_path / "p.png", "JPEG")
    shutil.copy(signed / "s.wav", tmp_path / "s.mp3")
    shutil.copy(signed / "p.png", tmp_path / "x.wav")
    (tmp_path / "y.mov").write_bytes(b"\0\0\0\x08ftyp\0\0\0\x01")
    mine = Signing(signed / "cert.pem", signed / "key.pem")
    inputs = [tmp_path / name for name in ("p.png", "s.mp3", "x.wav", "y.mov")]
    with (signed / "a.mp4").open("rb") as source, (tmp_path / "a.mp4").open("w+b") as target:
        _sign(mine, _manifest("a.mp4", inputs), inputs, "video/mp4", source, target)
    seen = json.loads(vasa("inspect", tmp_path / "a.mp4", "--json").stdout)["signature"]
    assert (seen["state"], seen["ingredients"]) == ("valid", ["p.png", "s.mp3", "x.wav", "y.mov"])


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_other_kinds_of_keys(tmp_path: Path, kind: str) -> None:
    from vasa_cli.trust.sign import Signing, check_signing

    assert check_signing(Signing(*chain(tmp_path, kind=kind)), Path("a.mp4"))["signer"] == "Signer"


def test_without_the_extra(signed: Path, environment: dict[str, str]) -> None:
    """One clear line where it is needed; where it is not, the state is told as not checked."""
    code = (
        "import sys, importlib.util as u; real = u.find_spec; "
        "u.find_spec = lambda name, *a: None if name == 'c2pa' else real(name, *a); from vasa_cli.cli import main; main()"
    )

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, cwd=signed, env=environment, capture_output=True, text=True, timeout=300)

    done = run("render", "p.png", "s.wav", "-o", "x.mp4", "--sign", "cert.pem", "key.pem")
    assert_fails_well(done, 2, "pip install", "c2pa")
    assert json.loads(run("inspect", "b.mp4", "--json").stdout)["signature"]["state"] == "not checked"
    done = run("verify", "b.mp4", "--json")
    assert (done.returncode, json.loads(done.stdout)["videos"][0]["unchecked"]) == (0, ["signature"])
    assert run("verify", "b.mp4", "--strict").returncode == 9


def test_a_manifest_that_lies_elsewhere_is_not_fetched(vasa: Vasa, signed: Path, tmp_path: Path) -> None:
    """A photo from a stranger names an address for its manifest: neither inspecting it nor signing with it asks there."""
    from crafted import Listener
    from PIL import Image

    from vasa_cli.trust.sign import Signing, _manifest, _sign, signature_of

    listener = Listener()
    place = f'dcterms:provenance="http://127.0.0.1:{listener.port}/m.c2pa"'
    xmp = (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'xmlns:dcterms="http://purl.org/dc/terms/" {place}/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )
    photo = tmp_path / "p.jpg"
    Image.open(signed / "p.png").convert("RGB").save(photo, xmp=xmp.encode())
    seen = json.loads(vasa("inspect", photo, "--json").stdout)["signature"]
    assert seen == {"state": "not checked", "problems": ["its manifest lies elsewhere, and nothing is fetched"]}
    mine = Signing(signed / "cert.pem", signed / "key.pem")
    with (signed / "a.mp4").open("rb") as source, (tmp_path / "a.mp4").open("w+b") as target:
        _sign(mine, _manifest("a.mp4", [photo]), [photo], "video/mp4", source, target)
    found = signature_of(tmp_path / "a.mp4")
    assert found is not None and found["state"] == "valid"
    assert listener.seen == 0
    fetching = c2pa.Context.from_dict({"version": 1, "verify": {"remote_manifest_fetch": True}})
    with pytest.raises(c2pa.C2paError), photo.open("rb") as f:
        c2pa.Reader("image/jpeg", f, context=fetching)
    assert listener.seen > 0  # it would have been heard
    listener.close()


def test_any_changed_byte_makes_it_invalid(signed: Path, tmp_path: Path) -> None:
    from vasa_cli.trust.sign import signature_of

    whole = (signed / "b.mp4").read_bytes()
    start = int.from_bytes(whole[:4], "big")  # C2PA leaves the first box, which only names the format, out of its hash
    for at in range(start + 500, len(whole), len(whole) // 12):
        (tmp_path / "b.mp4").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        found = signature_of(tmp_path / "b.mp4")
        assert found is not None and found["state"] == "invalid", at


# ---------------------------------------------------------------------------------------------------- batches


def batch(vasa: Vasa, folder: Path, *more: object) -> tuple[list[str], str]:
    """Statuses of the jobs a and b, and all that was said."""
    done = vasa("batch", "jobs.jsonl", *SMALL[:2], "--json", *more, cwd=folder)
    assert done.returncode == 0, done.stderr
    return [job["status"] for job in json.loads(done.stdout)["jobs"]], done.stdout + done.stderr


def test_a_batch_signs_and_goes_on_with_what_is_signed_by_the_same(vasa: Vasa, signed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("p.png", "s.wav"):
        shutil.copy(signed / name, folder)
    secret = tmp_path / "hidden place"
    mine, others = chain(secret / "mine"), chain(tmp_path / "others")
    rows = [{"id": "a", "portrait": "p.png", "audio": "s.wav", "size": 256}, {"id": "b", "portrait": "p.png", "audio": "s.wav",
            "size": 256, "output": "b.mkv", "sign": False}]  # fmt: skip
    (folder / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    sign = ("--sign", *mine)
    assert batch(vasa, folder)[0] == ["done", "done"]
    statuses, said = batch(vasa, folder, *sign, "--resume", "--jobs", 2, "--report", "r.html", "--junit", "j.xml")
    assert statuses == ["done", "skipped"]  # unsigned before; b was never to be signed
    assert batch(vasa, folder, *sign, "--resume")[0] == ["skipped", "skipped"]
    (folder / "jobs.jsonl.journal.jsonl").rename(folder / "first.jsonl")
    assert batch(vasa, folder, *sign, "--resume")[0] == ["skipped", "skipped"]  # by the receipt alone
    assert vasa("verify", "a.mp4", "b.mkv", cwd=folder).returncode == 0
    assert json.loads(vasa("inspect", "a.mp4", "--json", cwd=folder).stdout)["signature"]["state"] == "valid"
    statuses, _ = batch(vasa, folder, "--sign", *others, "--resume")
    assert statuses == ["done", "skipped"]  # another certificate
    for place in ("a.mp4.json", "first.jsonl", "jobs.jsonl.journal.jsonl", "r.html", "j.xml"):
        said += (folder / place).read_text(encoding="utf-8")
    assert "hidden place" not in said and "key.pem" not in said and "PRIVATE KEY" not in said
    left = {p.name for p in folder.iterdir()}
    assert left == {"p.png", "s.wav", "a.mp4", "a.mp4.json", "b.mkv", "b.mkv.json", "jobs.jsonl", "jobs.jsonl.journal.jsonl",
                    "first.jsonl", "r.html", "j.xml"}  # fmt: skip


def test_a_batch_that_cannot_be_signed_does_not_begin(vasa: Vasa, signed: Path, tmp_path: Path) -> None:
    mine = (signed / "cert.pem", signed / "key.pem")
    expired = chain(tmp_path / "expired", days=-1)
    row = {"id": "a", "portrait": str(signed / "p.png"), "audio": str(signed / "s.wav"), "size": 256}
    cases: list[tuple[dict[str, object], tuple[object, ...], int, str]] = [
        ({}, ("--sign", *expired), 3, "does not fit"),
        ({}, ("--sign", mine[0], tmp_path / "none.pem"), 3, "no such private key"),
        ({"output": "a.mkv"}, ("--sign", *mine), 2, "line 1, job 1: --sign: a.mkv"),
        ({"provenance": False}, ("--sign", *mine), 2, "line 1, job 1"),
        ({"sign": True}, (), 2, "line 1, job 1: sign: by whom?"),
    ]
    for more, flags, code, words in cases:
        (tmp_path / "jobs.jsonl").write_text(json.dumps({**row, **more}), encoding="utf-8")
        assert_fails_well(vasa("batch", "jobs.jsonl", *SMALL[:2], *flags, cwd=tmp_path), code, words)
        assert not list(tmp_path.glob("*.journal.jsonl")) and not list(tmp_path.glob("a.m*"))


def test_the_place_of_the_key_stays_out_of_journals(signed: Path, tmp_path: Path) -> None:
    """Also where the key goes away in the middle of a batch; and what a killed job left of a signature is removed."""
    import os

    from vasa_cli.batch.claim import clear_parts
    from vasa_cli.batch.manifest import Shared, read_manifest
    from vasa_cli.batch.perform import Workshop, perform
    from vasa_cli.progress import Reporter
    from vasa_cli.trust.sign import Signing

    shutil.copy(signed / "cert.pem", tmp_path / "cert.pem")
    (tmp_path / "jobs.jsonl").write_text(json.dumps({"portrait": str(signed / "p.png"), "audio": str(signed / "s.wav")}))
    shared = Shared(weights="smoke", sign=Signing(tmp_path / "cert.pem", tmp_path / "vault" / "key.pem"))
    outcome = perform(read_manifest(str(tmp_path / "jobs.jsonl"), shared)[0], Reporter(), Workshop())
    assert (outcome.status, outcome.exit_code) == ("failed", 3)
    assert outcome.error is not None and "vault" not in outcome.error and "the private key: no such private key" in outcome.error
    stray = tmp_path / f"a.mp4.part-{os.getpid()}.sealed"
    stray.write_bytes(b"half")
    clear_parts(tmp_path / "a.mp4", os.getpid())
    assert not stray.exists()
