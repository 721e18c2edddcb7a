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
from vasa_cli.commands.options import words
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


def check_weights(name: str | None) -> str:
    if name is None:
        return "default"
    if name not in ("default", "smoke"):
        raise UsageError(f"--weights {name!r}: known are default, smoke")
    return name
