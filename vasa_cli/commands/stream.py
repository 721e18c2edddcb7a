"""`vasa stream`: a talking face while the sound still comes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vasa_cli.commands import common, motion_flags
from vasa_cli.commands.options import option as _option
from vasa_cli.errors import EXIT_INTERRUPTED, UsageError
from vasa_cli.progress import LineReporter, Reporter
from vasa_cli.stream import LOOK_AHEAD_MS
from vasa_cli.stream.clock import PATIENCE
from vasa_cli.video import CRF_RANGE, DEFAULT_CRF

if TYPE_CHECKING:
    from vasa_cli.stream.run import OpenEngine, StreamRequest
    from vasa_cli.stream.source import SoundInput
    from vasa_cli.stream.summary import Summary

TIME = "Time"
Portrait = Annotated[Path, typer.Argument(help="A photo with a face, or a face file from `vasa encode`.", show_default=False)]
Input = Annotated[
    Path | None,
    _option("--input", "-i", help="A FIFO or a recording instead of standard input.", panel=common.INPUTS, show_default="stdin"),
]
Form = Annotated[
    str | None,
    _option(
        "--format", metavar="s16le|f32le", help="Raw samples; without it a WAV header is expected.", panel=common.INPUTS,
        show_default="WAV",
    ),
]  # fmt: skip
Rate = Annotated[int | None, _option("--rate", help="Samples a second of raw sound.", panel=common.INPUTS, show_default="16000")]
Channels = Annotated[int | None, _option("--channels", help="Channels of raw sound.", panel=common.INPUTS, show_default="1")]
Realtime = Annotated[bool, _option("--realtime", help="Let --input come at a microphone's pace.", panel=common.INPUTS)]
Output = Annotated[
    Path | None,
    _option("--output", "-o", help="A file that can be played while it grows.", panel=common.OUTPUT, show_default="stdout"),
]
Container = Annotated[
    str | None,
    _option(
        "--container", metavar="mp4|ts|mkv|y4m|rgb24", help="y4m and rgb24 are raw pictures without sound.",
        panel=common.OUTPUT, show_default="by the suffix of -o, else mp4",
    ),
]  # fmt: skip
Encoder = Annotated[
    str | None,
    _option(
        "--encoder", metavar="auto|x264|nvenc", help="auto: NVENC where an NVIDIA card encodes with it, x264 elsewhere.",
        panel=common.OUTPUT, show_default="auto",
    ),
]  # fmt: skip
Crf = Annotated[
    int | None,
    _option(
        "--crf", "--quality", min=CRF_RANGE[0], max=CRF_RANGE[1], help="Quality of H.264: less is better and larger.",
        panel=common.OUTPUT, show_default=str(DEFAULT_CRF),
    ),
]  # fmt: skip
Ground = Annotated[
    str | None,
    _option("--background", metavar="keep|COLOR|IMAGE", help="Behind the person.", panel=common.OUTPUT, show_default="keep"),
]
NoProvenance = Annotated[
    bool, _option("--no-provenance", help="Leave the AI-generated mark out of the stream.", panel=common.OUTPUT)
]
Control = Annotated[
    str | None,
    _option(
        "--control", metavar="FIFO|FD", panel=common.MOTION, show_default=False,
        help='Obey JSON lines from a FIFO or an open descriptor, such as {"gaze": [10, 0], "emotion": {"happy": 0.6}}; also '
        "distance, head, brows, blink, mouth, preset, blend (seconds), reset.",
    ),
]  # fmt: skip
Patience = Annotated[
    float | None,
    _option("--patience", help="Seconds that sound may be late before the face idles.", panel=TIME, show_default=str(PATIENCE)),
]
OnGap = Annotated[
    str | None,
    _option(
        "--on-gap", metavar="idle|wait", panel=TIME, show_default="idle",
        help="Late or missing sound: idle with a shut mouth, or stand still (for slow producers into files).",
    ),
]  # fmt: skip
OnSlow = Annotated[
    str | None,
    _option(
        "--on-slow", metavar="wait|repeat", panel=TIME, show_default="wait",
        help="A machine or reader that is too slow: let the sound wait, or repeat pictures to keep up. No sound is ever lost.",
    ),
]  # fmt: skip
LookAhead = Annotated[
    int | None,
    _option(
        "--look-ahead", metavar="MS", min=0, max=1000, panel=TIME, show_default=str(LOOK_AHEAD_MS),
        help="More sound that each frame waits for: lips that know what comes, later by as much.",
    ),
]  # fmt: skip
Dtype = Annotated[str | None, _option("--dtype", help="float32 or float16.", panel=common.RUN, show_default="float32")]
Report = Annotated[Path | None, _option("--report", help="Write the summary to this file, as JSON.", panel=common.RUN)]
AsJson = Annotated[bool, _option("--json", "-j", help="The summary as one JSON object, on stderr.", panel=common.RUN)]


@common.command
def stream(
    portrait: Portrait,
    input_path: Input = None,
    form: Form = None,
    rate: Rate = None,
    channels: Channels = None,
    realtime: Realtime = False,
    output: Output = None,
    container: Container = None,
    encoder: Encoder = None,
    crf: Crf = None,
    size: common.PictureSize = None,
    background: Ground = None,
    refine: common.Refine = None,
    label: common.Label = None,
    label_font: common.LabelFont = None,
    no_provenance: NoProvenance = False,
    overwrite: common.Overwrite = False,
    patience: Patience = None,
    on_gap: OnGap = None,
    on_slow: OnSlow = None,
    look_ahead: LookAhead = None,
    control: Control = None,
    preset: motion_flags.PresetName = None,
    seed: motion_flags.Seed = None,
    gaze: motion_flags.GazeFlag = None,
    distance: motion_flags.DistanceFlag = None,
    emotion: motion_flags.EmotionFlag = None,
    head: motion_flags.HeadFlag = None,
    brows: motion_flags.BrowsFlag = None,
    blink: motion_flags.BlinkFlag = None,
    mouth: motion_flags.MouthFlag = None,
    guidance: motion_flags.GuidanceFlag = None,
    style: motion_flags.StyleFlag = None,
    style_seed: motion_flags.StyleSeed = None,
    steps: motion_flags.Steps = None,
    speech: common.Speech = None,
    face: common.Face = "largest",
    crop: common.Crop = None,
    weights: common.Weights = None,
    device: common.Device = None,
    dtype: Dtype = None,
    threads: common.Threads = None,
    max_pixels: common.MaxPixels = None,
    max_duration: common.MaxDuration = None,
    cache_dir: common.CacheDir = None,
    no_cache: common.NoCache = False,
    dry_run: common.DryRun = False,
    report: Report = None,
    quiet: common.Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Let PORTRAIT speak while the sound still comes: sound on standard input, video on standard output.

    arecord -t wav -f S16_LE -r 16000 | vasa stream me.jpg | ffplay -

    Sound that is late makes the face idle; a reader that is slow makes the sound wait. Ctrl-C ends the file properly.
    """
    from vasa_cli.commands.render import check_dtype
    from vasa_cli.picture import picture_options
    from vasa_cli.record import parse_crop
    from vasa_cli.stream.encode import container_of
    from vasa_cli.stream.run import StreamRequest
    from vasa_cli.video.background import parse_background

    common.use_threads(threads)
    common.use_limits(max_pixels, max_duration)
    flags = motion_flags.control_flags(gaze, distance, emotion, head, brows, blink, mouth, guidance, style_seed)
    ground = parse_background(background) if background is not None else None
    picture = picture_options(None, size, ground, refine, label, label_font)
    request = StreamRequest(
        portrait,
        sound_input(input_path, form, rate, channels, realtime),
        output,
        container_of(output, container),
        motion_flags.motion_options(flags, preset, seed, weights, steps, device, style, speech),
        picture,
        policy_of(patience, on_gap, on_slow),
        encoder,
        DEFAULT_CRF if crf is None else crf,
        (LOOK_AHEAD_MS if look_ahead is None else look_ahead) / 1000,
        control,
        check_dtype(dtype),
        face,
        parse_crop(crop),
        not no_provenance,
        cache_dir,
        not no_cache,
        overwrite,
    )
    if dry_run:
        from vasa_cli.stream.plan import stream_plan

        common.emit_plan(stream_plan(request), as_json)
        return
    code = run(request, Reporter() if quiet else LineReporter(), report=report, as_json=as_json, quiet=quiet)
    if code:
        raise typer.Exit(code)


def sound_input(path: Path | None, form: str | None, rate: int | None, channels: int | None, realtime: bool) -> SoundInput:
    """Raises UsageError, InputError."""
    from vasa_cli.stream.pcm import RAW_FORMATS, PcmFormat, check_format
    from vasa_cli.stream.source import SoundInput

    if form is not None and form not in RAW_FORMATS:
        raise UsageError(f"--format {form!r}: known are {', '.join(RAW_FORMATS)}; WAV needs none")
    if form is None and (rate is not None or channels is not None):
        raise UsageError("--rate and --channels describe raw sound: say --format s16le or f32le too; a WAV header tells them")
    if realtime and path is None:
        raise UsageError("--realtime paces a recording: name it with --input")
    raw = None if form is None else check_format(PcmFormat(form, rate or 16000, channels or 1), "--format")
    return SoundInput(path, raw, realtime)


def policy_of(patience: float | None, on_gap: str | None, on_slow: str | None) -> Any:
    """Raises UsageError."""
    from vasa_cli.stream.clock import ON_GAP, ON_SLOW, PATIENCE_RANGE, Policy

    low, high = PATIENCE_RANGE
    patience = PATIENCE if patience is None else patience
    if not low <= patience <= high:
        raise UsageError(f"--patience {patience:g}: allowed is {low:g} to {high:g} seconds")
    for name, value, known in (("--on-gap", on_gap, ON_GAP), ("--on-slow", on_slow, ON_SLOW)):
        if value is not None and value not in known:
            raise UsageError(f"{name} {value!r}: known are {', '.join(known)}")
    return Policy(patience, on_gap or ON_GAP[0], on_slow or ON_SLOW[0])


def run(
    request: StreamRequest, reporter: Reporter, *, report: Path | None = None, as_json: bool = False, quiet: bool = False,
    open_engine: OpenEngine | None = None,
) -> int:  # fmt: skip
    """Stream, say how it went, and give the exit code: 0, or what the signal that ended it asks."""
    from dataclasses import replace

    from vasa_cli.files import check_output, whole_file
    from vasa_cli.stream.pipes import check_stdout, take_stdout
    from vasa_cli.stream.run import signals
    from vasa_cli.stream.run import stream as run_stream
    from vasa_cli.stream.session import Stop

    if report is not None:
        check_output(report, overwrite=True)
    if request.output is None:
        check_stdout()
        request = replace(request, fd=take_stdout())
    stop = Stop()
    with signals(stop):
        try:
            summary = run_stream(request, reporter, stop, open_engine)
        except KeyboardInterrupt:
            print("vasa: interrupted", file=sys.stderr, flush=True)
            return stop.exit_code or EXIT_INTERRUPTED
    if report is not None:
        with whole_file(report) as part:
            part.write_text(json.dumps(summary.to_json(), ensure_ascii=False) + "\n", encoding="utf-8")
    _say(summary, as_json=as_json, quiet=quiet)
    return stop.exit_code


def _say(summary: Summary, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        print(json.dumps(summary.to_json(), ensure_ascii=False), file=sys.stderr, flush=True)
    elif not quiet:
        print(summary.line(), file=sys.stderr, flush=True)
