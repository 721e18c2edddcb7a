"""The `vasa` command: a Typer app whose commands live in `vasa_cli.commands`.

Results go to stdout, everything else to stderr; exit codes are those of `vasa_cli.errors`. Heavy modules (torch, numpy,
mediapipe) are imported inside commands only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from types import FrameType
from typing import Annotated

import typer

from vasa_cli import __version__
from vasa_cli.commands import batch, cache, doctor, encode, generate, inspect, presets, render, stream, verify
from vasa_cli.commands.common import DEBUG_ENV
from vasa_cli.errors import EXIT_INTERRUPTED

EPILOG = (
    "Exit codes: 0 done, 1 internal error, 2 usage or preset or manifest, 3 input unreadable, 4 no usable face, 5 weights, "
    "6 device or memory, 7 ffmpeg, 8 some batch jobs failed, 9 differs from its receipt, "
    "130 interrupted (a stream by SIGTERM: 143)."
)

app = typer.Typer(
    name="vasa",
    help="One portrait photo and one speech recording become a talking-face video.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("render")(render.render)
app.command("encode")(encode.encode)
app.command("generate")(generate.generate)
app.command("stream")(stream.stream)
app.command("batch")(batch.batch)
app.command("verify")(verify.verify)
app.command("inspect")(inspect.inspect)
app.add_typer(presets.app, name="presets")
app.add_typer(cache.app, name="cache")
app.command("doctor")(doctor.doctor)


def _version(value: bool) -> None:
    if value:
        print(f"vasa_cli {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error (may stand anywhere).")] = False,
) -> None:
    pass


class _Interrupts:
    """Handler of signals: the first is an interrupt like Ctrl-C; further ones are not heard while everything is being put away,
    as they would leave half of it."""

    patience = 10.0  # seconds

    def __init__(self) -> None:
        self._until = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if time.monotonic() >= self._until:
            self._until = time.monotonic() + self.patience
            raise KeyboardInterrupt

    def listen(self) -> None:
        """To Ctrl-C, SIGTERM and a terminal that closes; not to what we were started to ignore, as by nohup."""
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and (name == "SIGTERM" or signal.getsignal(number) != signal.SIG_IGN):
                signal.signal(number, self)


def _open_streams() -> None:
    """Started with `>&-` or `2>&-`: what is said goes nowhere, and no file of ours takes the stream's number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))  # noqa: SIM115


def main() -> None:
    """Entry point. SIGTERM and SIGHUP are interrupts like Ctrl-C: partial files are removed, exit code 130."""
    if "--debug" in sys.argv[1:]:
        os.environ[DEBUG_ENV] = "1"
        sys.argv = [sys.argv[0], *(a for a in sys.argv[1:] if a != "--debug")]
    # torch's threads spin while they wait, by default: on a busy machine that took twice the time, on an idle one no difference
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _open_streams()
    _Interrupts().listen()
    code: str | int | None = 0
    try:
        app(prog_name="vasa")
    except SystemExit as e:
        code = e.code
    except KeyboardInterrupt:
        print("vasa: interrupted", file=sys.stderr)
        code = EXIT_INTERRUPTED
    if code == EXIT_INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Python would forget the handler first, and die of one more Ctrl-C
    _leave(code)


def _leave(code: str | int | None) -> None:
    """End the process. Once torch is loaded at once: Python would take half a second to take everything apart, one by one."""
    if "torch" in sys.modules and not isinstance(code, str):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code or 0)
    sys.exit(code)
