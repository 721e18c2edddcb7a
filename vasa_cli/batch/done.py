"""Whether a job is done and unchanged: by the receipt beside its output, and by what the journal says of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vasa_cli import __version__
from vasa_cli.batch.job import Hashes, Job, job_key, output_size, plain
from vasa_cli.errors import VasaError
from vasa_cli.motion.behaviour.style import MotionStyle
from vasa_cli.requests import MotionOptions, RenderRequest
from vasa_cli.video.formats import exists
from vasa_cli.video.receipt import read_receipt, receipt_path


def is_done(job: Job, line: dict[str, Any] | None, hashes: Hashes) -> bool:
    """Finished before with the very same inputs, options, weights and version, and its output is still there.

    line: the journal's last word on this job. Where it has none (the journal is gone, the batch died a moment too early, or
    `vasa render` made the video), the receipt decides.
    """
    if not exists(job.output):
        return False
    if line is not None and line.get("status") in ("done", "skipped"):
        size = line.get("size")
        return line.get("key") == job_key(job, hashes) and size in (None, output_size(job))
    return same_as_receipt(job, hashes)


def same_as_receipt(job: Job, hashes: Hashes) -> bool:
    """Whether the receipt beside the output says that it was made by just this job. False for jobs without receipts."""
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
    except (VasaError, KeyError, TypeError, AttributeError, OSError):  # none, damaged, or an input changed
        return False
    if style != hashes.of(request.motion.style_from):
        return False
    if request.motion.device not in ("auto", recorded.motion.device):
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
    return replace(request, motion=motion, encoder=encoder)
