"""`vasa stream` as a library: a frozen request in, a summary out."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from vasa_cli.errors import InputError, UsageError, VasaError
from vasa_cli.files import check_input, check_output
from vasa_cli.picture import PictureOptions
from vasa_cli.progress import Reporter
from vasa_cli.requests import SPEECH, EncodeRequest, MotionOptions
from vasa_cli.stream import LOOK_AHEAD_MS
from vasa_cli.stream.clock import Policy
from vasa_cli.stream.control import LiveControls
from vasa_cli.stream.control_reader import ControlReader, open_control
from vasa_cli.stream.encode import RAW, Coding, choose_encoder, pixels_of
from vasa_cli.stream.engine import FPS, Engine
from vasa_cli.stream.pipes import Target, is_special
from vasa_cli.stream.session import Session, Stop
from vasa_cli.stream.sink import open_sink
from vasa_cli.stream.source import SoundInput, SoundSource
from vasa_cli.stream.summary import Summary
from vasa_cli.video import DEFAULT_CRF

if TYPE_CHECKING:
    from vasa_cli.motion.stream import MotionStream


@dataclass(frozen=True)
class StreamRequest:
    """output: None for the descriptor `fd`. control: a FIFO or a descriptor, as written. look_ahead: seconds."""

    portrait: Path
    sound: SoundInput = field(default_factory=SoundInput)
    output: Path | None = None
    container: str = "mp4"
    motion: MotionOptions = field(default_factory=MotionOptions)
    picture: PictureOptions = field(default_factory=PictureOptions)
    policy: Policy = field(default_factory=Policy)
    encoder: str | None = None
    crf: int = DEFAULT_CRF
    look_ahead: float = LOOK_AHEAD_MS / 1000
    control: str | None = None
    dtype: str = "float32"
    face: str = "largest"
    crop: tuple[int, int, int, int] | None = None
    provenance: bool = True
    cache_dir: Path | None = None
    use_cache: bool = True
    overwrite: bool = False
    fd: int = 1

    def encode_request(self) -> EncodeRequest:
        size = self.picture.encoded_for
        return EncodeRequest(self.portrait, None, self.face, self.crop, self.cache_dir, self.use_cache, size=size)


OpenEngine = Callable[[StreamRequest, LiveControls, Reporter], Engine]


def check_stream(request: StreamRequest, *, create: bool = True) -> None:
    """Combinations that cannot be right, inputs that are not there. Raises UsageError, InputError."""
    from vasa_cli.stream.source import is_fifo

    if request.motion.speech != SPEECH[0]:
        raise UsageError("--speech phonetics hears whole recordings: streams have the built-in network")
    if request.picture.alpha:
        raise UsageError("--background transparent: streams hold no transparency; give a colour such as #00b140 to key out")
    check_input(request.portrait, "portrait")
    sound, output = request.sound, request.output
    if sound.path is not None and not is_fifo(sound.path):
        check_input(sound.path, "recording")
    if output is not None:
        if sound.path is not None and output.exists() and sound.path.exists() and output.samefile(sound.path):
            raise UsageError(f"{output}: is also the input; choose another name with -o")
        if not is_special(output):
            check_output(output, overwrite=request.overwrite, create=create)
    if request.control == "0" and sound.path is None:
        raise UsageError("--control 0 and the sound both come from standard input: give the sound by --input")


def stream(
    request: StreamRequest, reporter: Reporter | None = None, stop: Stop | None = None, open_engine: OpenEngine | None = None
) -> Summary:
    """Sound in, video out, until the sound ends, `stop` is set or nobody reads. Raises any VasaError; a file that had begun is
    then left under its .part name, which the message tells."""
    from vasa_cli.device import memory_guard
    from vasa_cli.pipeline import steady

    reporter = reporter or Reporter()
    check_stream(request)
    encoder = "none" if request.container in RAW else choose_encoder(request.encoder)
    controls = LiveControls(request.motion.controls, FPS)
    with contextlib.ExitStack() as stack:
        if request.control is not None:
            reader = ControlReader(open_control(request.control), controls, reporter.note)
            stack.callback(reader.close)
        source = SoundSource(request.sound, reporter.note)
        source.open()
        stack.callback(source.close)
        stack.enter_context(steady())
        stack.enter_context(memory_guard(request.motion.device))
        engine = (open_engine or open_face_engine)(request, controls, reporter)
        stack.callback(engine.close)
        if request.control is not None:
            reader.start()
        summary = _run(request, source, engine, encoder, reporter, stop or Stop())
    return replace(summary, encoder=encoder, controls=controls.changes)


def _run(
    request: StreamRequest, source: SoundSource, engine: Engine, encoder: str, reporter: Reporter, stop: Stop
) -> Summary:  # fmt: skip
    form = source.form()
    if request.container in RAW:
        colours = "; their colours are BT.709, which y4m cannot say" if request.container == "y4m" else ""
        reporter.note(f"{request.container} holds no sound: the pictures go alone{colours}")
    coding = Coding(
        request.container, engine.size, engine.fps, form.rate, form.channels, encoder, request.crf,
        engine.pixels, request.provenance,
    )  # fmt: skip
    target = Target(request.output, request.fd)
    sink = open_sink(coding, target)
    try:
        summary = Session(source, engine, sink, request.policy, stop).run()
    except BaseException as e:
        sink.abort()
        left = target.left()
        if left is not None and isinstance(e, VasaError):
            raise type(e)(f"{e}; what was written until then is in {left}") from e
        if left is not None:
            reporter.note(f"what was written is in {left}")
        raise
    if summary.frames == 0:
        target.discard()
        if not summary.consumer_left and not stop.exit_code:
            raise InputError(f"{request.sound.name}: no sound came")
    return replace(summary, container=request.container, output=target.name)


@contextlib.contextmanager
def signals(stop: Stop) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM ends hearing, the second ends everything (KeyboardInterrupt). In the main thread."""

    def handle(number: int, frame: FrameType | None) -> None:
        again = stop.event.is_set() or not stop.graceful
        stop.exit_code = 128 + number
        stop.event.set()
        if again:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ---------------------------------------------------------------------------------------------------- the true engine


def open_face_engine(request: StreamRequest, controls: LiveControls, reporter: Reporter) -> Engine:
    """Everything loaded and warm. Raises FaceError, WeightsError, DeviceError."""
    from vasa_cli import pipeline
    from vasa_cli.device import drawing, resolve_device
    from vasa_cli.picture import Picture, check_face, soft_note
    from vasa_cli.runtime import Models
    from vasa_cli.stream.drawers import open_drawers
    from vasa_cli.stream.engine import FaceEngine
    from vasa_cli.video.formats import format_of

    device, models = resolve_device(request.motion.device), Models()
    face = pipeline.encode(request.encode_request(), reporter).face
    check_face(face, request.picture, request.portrait.name)
    if note := soft_note(face, request.picture):
        reporter.note(note)
    pixels = pixels_of(request.container)
    picture = Picture(face, request.picture, format_of(Path("x.mp4")), models, device, request.dtype, pixels)
    for line in picture.notes:
        reporter.note(line)
    hands = open_drawers(picture, drawing(device))  # before all that a copy of this process does not need
    try:
        speech, motion = models.speech(request.motion.weights), _motion(request, device, reporter)
        engine = FaceEngine(speech, motion, picture, hands, controls)  # type: ignore[arg-type]
        engine.warm_up()
    except BaseException:
        hands.close()
        raise
    return engine


def _motion(request: StreamRequest, device: str, reporter: Reporter) -> MotionStream:
    from vasa_cli.drive import style_from
    from vasa_cli.motion.stream import MotionStream
    from vasa_cli.motion.windows import Online

    options = request.motion
    style = options.controls.style if options.style_from is None else style_from(options.style_from, reporter)
    online = replace(Online(), look=round(request.look_ahead * FPS))
    if options.steps is not None:
        online = replace(online, steps=options.steps)
    return MotionStream(
        seed=options.seed, weights=options.weights, device=device, steps=options.steps, guidance=dict(options.controls.guidance),
        style=style, online=online,
    )  # fmt: skip
