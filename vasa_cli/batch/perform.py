"""The job function: does one job, wherever it is called (here, in a worker of the pool, on another machine)."""

from __future__ import annotations

import errno
import gc
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vasa_cli import pipeline
from vasa_cli.batch.claim import Claim, claimed
from vasa_cli.batch.done import is_proven, proven_hash
from vasa_cli.batch.job import Hashes, Job, Outcome, job_key, output_size
from vasa_cli.errors import DeviceError, EncoderError, MemoryShortage, VasaError
from vasa_cli.files import sha256_file
from vasa_cli.progress import Reporter
from vasa_cli.requests import EncodeRequest, GenerateRequest, RenderRequest
from vasa_cli.video.formats import exists

if TYPE_CHECKING:
    from vasa_cli.portrait.latent import FaceLatent

HALVINGS = 3  # of the frames drawn at once on a graphics card, before the processor takes over
_SCARCE = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY)


class JobTimeout(VasaError):
    """The job took longer than --timeout: this machine did not manage it."""

    exit_code = DeviceError.exit_code


class Workshop:
    """What stays between jobs of one process: loaded models, hashes of inputs."""

    def __init__(self) -> None:
        self.models = pipeline.Models()
        self.hashes = Hashes()

    def forget(self) -> None:
        """Give memory back that the next attempt may need."""
        self.models = pipeline.Models()
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()


def perform(job: Job, reporter: Reporter, shop: Workshop, attempt: int = 1) -> Outcome:
    """Do the job; every failure becomes its Outcome, only KeyboardInterrupt and the like go through."""
    start = time.perf_counter()
    failed = Outcome(job.id, "failed", str(job.output), job.task, exit_code=1, attempts=attempt)
    try:
        failed = replace(failed, key=job_key(job, shop.hashes))
        with claimed(job.target) as claim:
            outcome = _claimed(job, claim, failed, reporter, shop)
    except VasaError as e:
        outcome = replace(failed, error=_line(_told(e, job)), exit_code=e.exit_code, transient=is_transient(e))
    except Exception as e:  # a defect in one job must not end the others
        outcome = replace(failed, error=f"internal error: {type(e).__name__}: {_line(_told(e, job))}")
    return replace(outcome, seconds=round(time.perf_counter() - start, 3))


def _claimed(job: Job, claim: Claim, failed: Outcome, reporter: Reporter, shop: Workshop) -> Outcome:
    """The job, while nobody else makes its output."""
    assert failed.key is not None
    there, overwrite = exists(job.output), job.request.overwrite
    waited = claim.waited_for == failed.key
    if there and ((waited and not overwrite) or ((waited or not overwrite) and is_proven(job, shop.hashes))):
        note, made_hash = "another run made it meanwhile", proven_hash(job, shop.hashes)
        return replace(failed, status="skipped", exit_code=0, size=output_size(job), frame_hash=made_hash, note=note)
    if not there or overwrite or claim.left:
        claim.sign(failed.key)
        job = replace(job, request=replace(job.request, overwrite=overwrite or claim.left))
    made = _with_less(job, reporter, shop)
    return replace(failed, status="done", exit_code=0, size=output_size(job), **made)


def _with_less(job: Job, reporter: Reporter, shop: Workshop) -> dict[str, Any]:
    """Where a graphics card's memory runs out: fewer frames at once, then the processor if the device was left to us."""
    first: MemoryShortage | None = None
    for request, what in _ladder(job):
        if first is not None:
            reporter.note(f"{first}; trying again {what}")
            shop.forget()
        try:
            made = make(replace(job, request=request), reporter, shop)
            return {**made, "note": f"out of memory at first; done {what}"} if first is not None else made
        except MemoryShortage as e:
            first = e.with_traceback(None)  # or its frames would keep what fills the memory
    shop.forget()
    assert first is not None
    raise first


def _ladder(job: Job) -> Iterator[tuple[Any, str]]:
    """Requests that need less and less memory, and how to call them. Lazily: the device is looked at only after a failure."""
    request = job.request
    yield request, "as asked"
    if not isinstance(request, RenderRequest):
        return
    from vasa_cli.device import resolve_device

    if resolve_device(request.motion.device) == "cpu":
        return
    for halvings in range(1, HALVINGS + 1):
        yield replace(request, halvings=halvings), f"with 1/{2**halvings} of the frames at once"
    if request.motion.device == "auto":
        yield replace(request, motion=replace(request.motion, device="cpu")), "on the processor"


def make(job: Job, reporter: Reporter, shop: Workshop) -> dict[str, Any]:
    """Fields of the Outcome that the work itself gives. Raises VasaError."""
    request = job.request
    if isinstance(request, RenderRequest):
        result = pipeline.render(request, reporter, shop.models)
        return {"frame_hash": result.frame_hash, "frames": result.frames, "encoded": not result.cache_hit}
    with pipeline.steady():
        if isinstance(request, EncodeRequest):
            encoded = not pipeline.encode(request, reporter).cache_hit
            return {"frame_hash": _file_hash(job), "encoded": encoded}
        assert isinstance(request, GenerateRequest)
        pipeline.check_output(job.output, overwrite=request.overwrite)
        face: FaceLatent | None = None
        encoded = False
        if job.face is not None:
            looked = pipeline.encode(job.face, reporter)
            face, encoded = looked.face, not looked.cache_hit
    track = pipeline.generate(request, reporter, shop.models, face, job.face).track
    return {"frame_hash": _file_hash(job), "frames": len(track), "encoded": encoded}


def _file_hash(job: Job) -> str:
    return f"sha256:{sha256_file(job.output)}"


def is_transient(error: BaseException) -> bool:
    """Whether the same job may well succeed a little later: memory ran out, or ffmpeg could not be started for want of it."""
    if isinstance(error, MemoryShortage):
        return True
    cause = error.__cause__
    scarce = isinstance(cause, OSError) and cause.errno in _SCARCE
    return isinstance(error, EncoderError) and (scarce or str(error).startswith("ffmpeg was killed"))


def _told(error: Exception, job: Job) -> str:
    """What it says, with the batch's own flag, and without the place of the private key: it goes into journals and reports that
    others read."""
    sign = job.request.sign if isinstance(job.request, RenderRequest) else None
    text = str(error).replace("choose another folder with -o", "choose another folder with --output-dir")
    return text if sign is None else text.replace(str(sign.key), "the private key")


def _line(text: str) -> str:
    return " ".join(text.split())


class JobReporter(Reporter):
    """Hands on what a job says, not more often than can be read. say: called with a kind and its fields."""

    def __init__(self, say: Callable[..., None], every: float = 0.2) -> None:
        self.say, self.every = say, every
        self._last = 0.0

    def note(self, text: str) -> None:
        self.say("note", text=text)

    def stage(self, label: str, unit: str = "frames") -> Any:
        return _Stage(self, label)

    def update(self, label: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done >= total or now - self._last >= self.every:
            self._last = now
            self.say("progress", stage=label, done=done, total=total)


class _Stage:
    def __init__(self, reporter: JobReporter, label: str) -> None:
        self.reporter, self.label = reporter, label

    def __enter__(self) -> Callable[[int, int], None]:
        return lambda done, total: self.reporter.update(self.label, done, total)

    def __exit__(self, *error: object) -> None:
        return None
