"""What commands share: the options they have in common, and the one place where errors become exit codes."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from vasa_cli.commands.options import option as _option
from vasa_cli.commands.options import preset_names, words
from vasa_cli.errors import EXIT_INTERRUPTED, UsageError, VasaError
from vasa_cli.limits import DURATION_ENV, PIXELS_ENV, raise_limits
from vasa_cli.words import one_line, to_json

DEBUG_ENV = "VASA_DEBUG"
CACHE_ENV = "VASA_CACHE_DIR"
THREADS_ENV = "VASA_THREADS"

F = TypeVar("F", bound=Callable[..., Any])

INPUTS, MOTION, OUTPUT, RUN = "Inputs", "Motion and controls", "Output", "Running"

OutputPath = Annotated[Path | None, _option("--output", "-o", help="Where the result goes.", panel=OUTPUT, show_default=False)]
Fit = Annotated[
    str | None,
    _option(
        "--fit",
        metavar="crop|full",
        help="crop: a square around head and shoulders; full: the head moves in the whole photo, at the photo's own size.",
        panel=OUTPUT,
        show_default="crop",
    ),
]
PictureSize = Annotated[
    int | None, _option("--size", help="Side of the crop in pixels, even, 256..1024.", panel=OUTPUT, show_default="512")
]
Refine = Annotated[
    bool | None,
    _option(
        "--refine/--no-refine",
        help="Let a small trained network go over mouth and eyes; needs its weights (scripts/train_refiner.py).",
        panel=OUTPUT,
        show_default="no-refine",
    ),
]
Label = Annotated[
    str | None,
    _option(
        "--disclosure-label",
        metavar="TEXT",
        help="Burn this caption into the lower left corner, such as 'AI-generated'; without it nothing is burned in.",
        panel=OUTPUT,
        show_default=False,
    ),
]
LabelFont = Annotated[
    Path | None,
    _option(
        "--disclosure-font",
        help="TrueType font for the caption, for letters that the fonts which come along do not have.",
        panel=OUTPUT,
        show_default=False,
    ),
]
Overwrite = Annotated[bool, _option("--overwrite", help="Replace an output that exists.", panel=OUTPUT)]
AsJson = Annotated[bool, _option("--json", "-j", help="Print one JSON object instead of the path.", panel=RUN)]
Quiet = Annotated[bool, _option("--quiet", "-q", help="No progress and no notes; errors only.", panel=RUN)]
DryRun = Annotated[bool, _option("--dry-run", "-n", help="Check everything, say what would happen, write nothing.", panel=RUN)]
Face = Annotated[str, _option("--face", help="Which face, if several: largest, left, right or an index from 0.", panel=INPUTS)]
Crop = Annotated[
    str | None,
    _option(
        "--crop",
        metavar="X,Y,W,H",
        help="Take the face from this part of the photo, in pixels.",
        panel=INPUTS,
        show_default=False,
    ),
]
CacheDir = Annotated[
    Path | None,
    _option("--cache-dir", help="Folder of encoded faces.", panel=RUN, envvar=CACHE_ENV, show_default="the user's cache folder"),
]
NoCache = Annotated[bool, _option("--no-cache", help="Encode the photo afresh and keep nothing.", panel=RUN)]
PresetName = Annotated[
    str | None,
    _option(
        "--preset", "-p", metavar="NAME|FILE", help="Preset by name, or a YAML file.", panel=MOTION, show_default="neutral",
        autocompletion=preset_names,
    ),
]  # fmt: skip
Seed = Annotated[
    int | None,
    _option("--seed", "-s", help="Another number, another performance.", panel=MOTION, min=0, max=2**31 - 1, show_default="0"),
]
GazeFlag = Annotated[
    str | None,
    _option(
        "--gaze",
        metavar="YAW,PITCH",
        help="Gaze in degrees: right of the picture -30..30, up -25..25.",
        panel=MOTION,
        show_default=False,
    ),
]
DistanceFlag = Annotated[
    float | None,
    _option("--distance", help="Head distance 0.6..1.8; 1 is as in the photo, less is nearer.", panel=MOTION, show_default=False),
]
EmotionFlag = Annotated[
    list[str] | None,
    _option(
        "--emotion",
        "-e",
        metavar="NAME=W",
        help="Weight 0..1, repeatable: happy, sad, angry, surprised, afraid, disgusted, contempt.",
        panel=MOTION,
        show_default=False,
    ),
]
HeadFlag = Annotated[float | None, _option("--head", help="Size of head movement, 0..2.", panel=MOTION, show_default=False)]
BrowsFlag = Annotated[float | None, _option("--brows", help="Size of brow movement, 0..2.", panel=MOTION, show_default=False)]
BlinkFlag = Annotated[float | None, _option("--blink", help="Blinking, 0..2.", panel=MOTION, show_default=False)]
MouthFlag = Annotated[float | None, _option("--mouth", help="Size of mouth movement, 0..2.", panel=MOTION, show_default=False)]
GuidanceFlag = Annotated[
    list[str] | None,
    _option(
        "--guidance",
        metavar="NAME=L,...",
        help="How strongly the motion keeps to audio, gaze, distance, emotion: 0..4 each, such as audio=0.5,gaze=1.0.",
        panel=MOTION,
        show_default="the model's own",
    ),
]
StyleFlag = Annotated[
    Path | None,
    _option(
        "--style",
        metavar="CLIP|MOTION",
        help="Move in the manner of the person in this video clip, or of this motion file.",
        panel=MOTION,
        show_default=False,
    ),
]
StyleSeed = Annotated[
    int | None,
    _option(
        "--style-seed",
        help="A manner drawn at random: another number, another person.",
        panel=MOTION,
        min=0,
        max=2**31 - 1,
        show_default=False,
    ),
]
Steps = Annotated[
    int | None,
    _option("--steps", help="Sampler steps of the motion model.", panel=MOTION, min=1, max=1000, show_default="the model's own"),
]
DriveClip = Annotated[
    Path | None,
    _option(
        "--drive",
        help="Play the motion of the face in this video clip; without AUDIO the clip's own sound is kept.",
        panel=INPUTS,
        show_default=False,
    ),
]
DriveMode = Annotated[
    str | None,
    _option(
        "--drive-mode",
        metavar="relative|absolute",
        help="relative: the driver's motion around their own rest, for any face; absolute: as it is, for a photo of the driver.",
        panel=MOTION,
        show_default="relative",
    ),
]
Weights = Annotated[
    str | None,
    _option(
        "--weights", help="default, or smoke: tiny and fast, for testing set-ups.", panel=RUN, show_default="default",
        autocompletion=words("default", "smoke"),
    ),
]  # fmt: skip
Speech = Annotated[
    str | None,
    _option(
        "--speech",
        metavar="builtin|phonetics",
        help="phonetics: a speech recogniser listens beside the shipped network (pip install 'vasa-cli\\[phonetics]').",
        panel=MOTION,
        show_default="builtin",
    ),
]
Device = Annotated[
    str | None,
    _option(
        "--device", help="auto, cpu, cuda, cuda:N or mps.", panel=RUN, show_default="auto",
        autocompletion=words("auto", "cpu", "cuda", "mps"),
    ),
]  # fmt: skip
Threads = Annotated[
    int | None,
    _option(
        "--threads",
        help="How many threads compute; the frames are the same with any number.",
        panel=RUN,
        min=1,
        envvar=THREADS_ENV,
        show_default="the cores there are",
    ),
]
MaxPixels = Annotated[
    int | None,
    _option(
        "--max-pixels",
        help="Refuse photos and clips with more pixels: what decodes to gigabytes is a trap or a mistake.",
        panel=RUN,
        min=1,
        max=2**31 - 1,
        envvar=PIXELS_ENV,
        show_default="120 million",
    ),
]
MaxDuration = Annotated[
    float | None,
    _option(
        "--max-duration",
        metavar="SECONDS",
        help="Refuse recordings and clips that last longer.",
        panel=RUN,
        min=0.001,
        max=2592000,
        envvar=DURATION_ENV,
        show_default="6 hours",
    ),
]
Encoder = Annotated[
    str | None,
    _option(
        "--encoder",
        metavar="auto|x264|nvenc",
        help="Encoder of H.264: x264 gives the same file anywhere; nvenc is an NVIDIA card's own and spares the processor.",
        panel=OUTPUT,
        show_default="x264",
    ),
]


def command(function: F) -> F:
    """Wrap a command: expected errors become one line and their exit code, the unexpected one line and exit 1, Ctrl-C 130."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except KeyboardInterrupt:
            _say("interrupted")
            code = EXIT_INTERRUPTED
        except VasaError as e:
            _show_traceback()
            _say(f"error: {one_line(str(e))}")
            code = e.exit_code
        except BrokenPipeError:
            for stream in (sys.stdout, sys.stderr):  # the reader of one of them has gone; nothing more to say to it
                try:
                    stream.flush()
                except OSError:
                    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            code = 1
        except (typer.Exit, typer.Abort):
            raise
        except Exception as e:
            _show_traceback()
            _say(f"internal error: {type(e).__name__}: {one_line(str(e))}; run with --debug for the traceback")
            code = 1
        raise typer.Exit(code)

    return guarded  # type: ignore[return-value]


def _show_traceback() -> None:
    if os.environ.get(DEBUG_ENV):
        import traceback

        traceback.print_exc()


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # a terminal that was closed, or a reader that has gone: the exit code still says it
        print(f"vasa: {text}", file=sys.stderr, flush=True)


def emit(data: dict[str, Any], plain: str, as_json: bool) -> None:
    """The result, and nothing else, on stdout."""
    print(to_json(data) if as_json else plain, flush=True)


def emit_plan(plan: dict[str, Any], as_json: bool) -> None:
    emit({"dry_run": True, **plan}, "\n".join(f"{key.replace('_', ' ')}: {value}" for key, value in plan.items()), as_json)


use_limits = raise_limits


def use_threads(count: int | None) -> None:
    """Let `device.threads` say so many, here and in processes started from here."""
    if count is not None:
        os.environ[THREADS_ENV] = str(count)


def control_flags(
    gaze: str | None, distance: float | None, emotion: list[str] | None,
    head: float | None, brows: float | None, blink: float | None, mouth: float | None,
    guidance: list[str] | None = None, style_seed: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The control flags that were given, in the preset schema."""
    from vasa_cli.motion.presets import parse_emotions, parse_gaze, parse_guidance

    flags: dict[str, Any] = {"distance": distance, "head": head, "brows": brows, "blink": blink, "mouth": mouth}
    if gaze is not None:
        flags["gaze"] = parse_gaze(gaze)
    if emotion:
        flags["emotion"] = parse_emotions(emotion)
    if guidance:
        flags["guidance"] = parse_guidance(guidance)
    if style_seed is not None:
        flags["style"] = {"seed": style_seed}
    return {key: value for key, value in flags.items() if value is not None}


def drive_options(clip: Path | None, mode: str | None, **generated: Any) -> Any:
    """Drive from the command line, or None. Raises UsageError."""
    from vasa_cli.drive import Drive

    if clip is None:
        if mode is not None:
            raise UsageError("--drive-mode says how a clip drives: name the clip with --drive")
        return None
    given = [f"--{name.replace('_', '-')}" for name, value in generated.items() if value not in (None, [])]
    if given:
        raise UsageError(f"--drive measures its motion: {', '.join(given)} belongs to generated motion")
    return Drive(clip, mode or "relative")


def check_weights(name: str | None) -> str:
    if name is None:
        return "default"
    if name not in ("default", "smoke"):
        raise UsageError(f"--weights {name!r}: known are default, smoke")
    return name


def motion_options(
    flags: dict[str, Any], preset: str | None, seed: int | None, weights: str | None, steps: int | None, device: str | None,
    style: Path | None = None, speech: str | None = None,
) -> Any:  # fmt: skip
    """MotionOptions from the command line: flag > preset > default."""
    from vasa_cli.files import check_input
    from vasa_cli.motion.presets import DEFAULT_PRESET, load_preset, resolve_controls
    from vasa_cli.pipeline import MotionOptions
    from vasa_cli.requests import SPEECH, check_speech

    if style is not None and "style" in flags:
        raise UsageError("--style and --style-seed both bring a manner: leave one out")
    if style is not None:
        check_input(style, "style clip")
    loaded = load_preset(preset if preset is not None else DEFAULT_PRESET)
    controls = resolve_controls(loaded, flags)
    heard = check_speech(speech or SPEECH[0])
    return MotionOptions(
        controls, loaded.name, seed or 0, check_weights(weights), steps, device or "auto", style, heard, loaded.path
    )
