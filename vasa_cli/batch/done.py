"""Whether a job is done and unchanged, and whether an output is ours to replace: by what the journal says, by the receipt beside
a video, by the seal in a face or motion file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vasa_cli import __version__
from vasa_cli.batch.job import Hashes, Job, job_key, output_size, plain
from vasa_cli.errors import VasaError
from vasa_cli.fingerprint import encode_digest, generate_digest
from vasa_cli.motion.behaviour.style import MotionStyle
from vasa_cli.requests import EncodeRequest, GenerateRequest, MotionOptions, RenderRequest
from vasa_cli.seal import sealed
from vasa_cli.video.formats import exists
from vasa_cli.video.receipt import read_receipt, receipt_path


def is_done(job: Job, line: dict[str, Any] | None, hashes: Hashes) -> bool:
    """Finished before with the very same inputs, options, weights and version, and its output is still there.

    line: the journal's last word on this job. Where it has none (the journal is gone, the batch died a moment too early, or
    `vasa render` made the video), the output itself decides.
    """
    if not exists(job.output):
        return False
    if line is not None and line.get("status") in ("done", "skipped"):
        size = line.get("size")
        return line.get("key") == job_key(job, hashes) and size in (None, output_size(job))
    return is_proven(job, hashes)


def is_proven(job: Job, hashes: Hashes) -> bool:
    """Whether the output itself says that it was made by just this job, and is whole."""
    return same_as_receipt(job, hashes) if isinstance(job.request, RenderRequest) else same_as_seal(job, hashes)


def is_ours_untouched(job: Job) -> bool:
    """Whether this tool made the output, from whatever, and nobody has changed a byte of it since: it may be made again."""
    if not isinstance(job.request, RenderRequest):
        return sealed(job.output) is not None
    try:
        made = read_receipt(receipt_path(job.output)).get("file_hash")
    except VasaError:
        return False
    return made is not None and made == _bytes_of(job)


def proven_hash(job: Job, hashes: Hashes) -> str | None:
    """`Outcome.frame_hash` of a job that `is_proven`."""
    if not isinstance(job.request, RenderRequest):
        return f"sha256:{hashes.of(job.output)}"
    try:
        found = read_receipt(receipt_path(job.output)).get("frame_hash")
        return found if isinstance(found, str) else None
    except VasaError:
        return None


def same_as_seal(job: Job, hashes: Hashes) -> bool:
    """Whether the seal of a face or motion file is that of just this job."""
    said, request = sealed(job.output), job.request
    try:
        if said is None or "request" not in said:
            return False
        if isinstance(request, EncodeRequest):
            return said["request"] == encode_digest(request, hashes)
        assert isinstance(request, GenerateRequest)
        if request.drive is None and request.motion.device not in ("auto", said.get("device")):
            return False
        return said["request"] == generate_digest(request, job.face, hashes)
    except VasaError:  # weights that are not there
        return False


def same_as_receipt(job: Job, hashes: Hashes) -> bool:
    """Whether the receipt beside a video says that it was made by just this job. False for jobs without receipts."""
    from vasa_cli.record import request_from

    request = job.request
    if not isinstance(request, RenderRequest):
        return False
    try:
        data = read_receipt(receipt_path(job.output))
        if data.get("tool", {}).get("version") != __version__:
            return False
        recorded = request_from(receipt_path(job.output), job.output, portrait=request.portrait, audio=request.audio).request
        style = data["inputs"].get("style", {}).get("sha256")
        signer = (data.get("signature") or {}).get("certificate_sha256")
    except (VasaError, KeyError, TypeError, AttributeError, OSError):  # none, damaged, or an input changed
        return False
    if style != hashes.of(request.motion.style_from):
        return False
    if request.motion.device not in ("auto", recorded.motion.device):
        return False
    if signer != (hashes.of(request.sign.cert) if request.sign is not None else None):
        return False
    if plain(_comparable(request, style), hashes) != plain(_comparable(recorded, style), hashes):
        return False
    return data.get("file_hash") in (None, _bytes_of(job))  # the receipt is of this very file, whole


def _bytes_of(job: Job) -> str:
    from vasa_cli.video.framehash import file_hash

    try:
        return file_hash(job.output)
    except OSError:
        return ""


def _comparable(request: RenderRequest, style: str | None) -> RenderRequest:
    """Only what a receipt keeps and what had an effect."""

    motion = replace(request.motion, device="auto", style_from=None)
    if style is not None:  # measured in a clip: its content was compared
        motion = replace(motion, controls=replace(motion.controls, style=MotionStyle()))
    if request.track is not None:  # a finished motion takes no part in any of this
        motion = MotionOptions(weights=motion.weights)
    elif request.drive is not None:
        motion = replace(motion, seed=0, steps=None)
    encoder = request.encoder if request.encoder != "auto" else "x264"
    return replace(request, motion=motion, encoder=encoder, sign=None)
