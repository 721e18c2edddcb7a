"""Look at everything that VASA needs and name the one command that mends what is missing.

Uses the standard library alone in this process; packages are imported in a child: a broken one cannot take the doctor along.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PIP = "python -m pip install"
REINSTALL = f"{PIP} --force-reinstall --no-deps .  (in the checkout)"
CHILD_TIMEOUT = 120  # seconds; a first import of torch from a cold disk takes its time

# module -> the distribution that brings it
PACKAGES = {
    "numpy": "numpy", "PIL": "pillow", "safetensors": "safetensors", "pydantic": "pydantic", "yaml": "pyyaml", "rich": "rich",
    "platformdirs": "platformdirs", "soundfile": "soundfile", "soxr": "soxr",
    "ffmpeg": "ffmpeg-python", "imageio_ffmpeg": "imageio-ffmpeg",
}  # fmt: skip

_TORCH = """
import json, torch
cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
mps = torch.backends.mps.is_available()
print(json.dumps({"version": torch.__version__, "cuda": cuda, "mps": mps}))
"""
_MEDIAPIPE = """
import json, cv2
import mediapipe.python.solutions.face_mesh
from importlib.metadata import version
print(json.dumps({"version": version("mediapipe"), "opencv": cv2.__version__}))
"""
_LIGHT = """
import importlib, json, sys
out = {}
for name in sys.argv[1:]:
    try:
        out[name] = {"version": str(getattr(importlib.import_module(name), "__version__", ""))}
    except BaseException as e:
        out[name] = {"error": type(e).__name__ + ": " + str(e).splitlines()[0] if str(e) else type(e).__name__}
print(json.dumps(out))
"""


@dataclass(frozen=True)
class Check:
    """One line of the report. status: 'ok', 'missing' (VASA cannot work) or 'warning' (it can, with less)."""

    name: str
    status: str
    detail: str
    fix: str | None = None
    exit_code: int = 0


def examine() -> list[Check]:
    checks: list[Check] = []
    for part in (_python, _packages, _torch, _mediapipe, _ffmpeg, _weights, _presets, _cache, _temp, _machine):
        checks += _safely(part)
    return checks


def verdict(checks: list[Check]) -> int:
    """0 when usable; else the exit code that the first missing thing would cause, the general 1 before the special ones."""
    codes = [c.exit_code for c in checks if c.status == "missing"]
    return min(codes) if codes else 0


def as_json(checks: list[Check]) -> dict[str, Any]:
    return {"usable": verdict(checks) == 0, "exit_code": verdict(checks), "checks": [asdict(c) for c in checks]}


def _safely(part: Callable[[], list[Check]]) -> list[Check]:
    try:
        return part()
    except Exception as e:  # the doctor reports; it does not fall ill
        return [Check(part.__name__.lstrip("_"), "missing", f"{type(e).__name__}: {' '.join(str(e).split())[:200]}", None, 1)]


def _child(code: str, *arguments: str) -> tuple[dict[str, Any] | None, str]:
    """Run code in a child; its last line as JSON, or None and the last line of its complaint."""
    env = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=CHILD_TIMEOUT,
            env=env,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as e:
        return None, f"{type(e).__name__}: {e}"
    try:
        return json.loads(done.stdout.strip().splitlines()[-1]), ""
    except (IndexError, ValueError):
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        ended = f"ended by signal {-done.returncode}" if done.returncode < 0 else f"exit {done.returncode}"
        return None, (lines[-1].strip() if lines else ended)[:300]


def _python() -> list[Check]:
    version = platform.python_version()
    if (3, 10) <= sys.version_info[:2] <= (3, 12):
        return [Check("python", "ok", version)]
    return [
        Check(
            "python",
            "missing",
            f"{version}; 3.10 to 3.12 is needed",
            "python3.12 -m venv .venv  (then install vasa_cli there)",
            1,
        )
    ]


def _packages() -> list[Check]:
    found, complaint = _child(_LIGHT, *PACKAGES)
    if found is None:
        return [Check("packages", "missing", complaint, REINSTALL, 1)]
    bad = {name: entry["error"] for name, entry in found.items() if "error" in entry}
    checks = [Check(name, "missing", error, mend_import(name, error), 1) for name, error in bad.items()]
    good = [f"{name} {entry['version']}".strip() for name, entry in found.items() if "error" not in entry]
    return checks + ([Check("packages", "ok", ", ".join(good))] if good else [])


def mend_import(module: str, error: str) -> str:
    """The one command for a failed import."""
    library = re.search(r"(lib[\w+-]+\.so[.\d]*)", error)
    if library and library[1].startswith(("libGL", "libgthread", "libglib")):
        version = _installed("opencv-contrib-python") or "4.11.0.86"
        headless = f"opencv-contrib-python-headless=={version}"
        return f"python -m pip uninstall -y opencv-contrib-python && {PIP} --no-deps --force-reinstall {headless}"
    if library:
        packages = {"libsndfile": "libsndfile1", "libEGL": "libegl1", "libGLES": "libgles2", "libportaudio": "libportaudio2"}
        package = next((p for prefix, p in packages.items() if library[1].startswith(prefix)), library[1].split(".so")[0])
        return f"apt-get install -y {package}"
    dist = PACKAGES.get(module, module)
    pinned = {"mediapipe": "mediapipe==0.10.21", "cv2": "opencv-contrib-python-headless==4.11.0.86", "numpy": '"numpy<2"'}.get(
        module, dist
    )
    return f"{PIP} {pinned}" if "No module named" in error else f"{PIP} --force-reinstall --no-deps {pinned}"


def _installed(dist: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(dist)
    except PackageNotFoundError:
        return None


def _torch() -> list[Check]:
    from vasa_cli.device import threads
    from vasa_cli.errors import UsageError

    found, complaint = _child(_TORCH)
    if found is None:
        return [Check("torch", "missing", complaint, mend_import("torch", complaint), 1)]
    try:
        cpu = f"cpu ({threads()} threads)"
    except UsageError as e:
        return [Check("threads", "missing", str(e), "unset VASA_THREADS", 2)]
    devices = [
        *(f"cuda ({name})" for name in found["cuda"]),
        *(["mps"] if found["mps"] else []),
        cpu,
    ]
    return [Check("torch", "ok", f"{found['version']}; devices: {', '.join(devices)}")]


def _mediapipe() -> list[Check]:
    found, complaint = _child(_MEDIAPIPE)
    if found is None:
        wanted = "cv2" if "cv2" in complaint else "mediapipe"
        detail = f"{complaint} (only `vasa encode` of new photos needs it; face files and cached faces render without)"
        return [Check("mediapipe", "missing", detail, mend_import(wanted, complaint), 1)]
    return [Check("mediapipe", "ok", f"{found['version']}, opencv {found['opencv']}")]


def _ffmpeg() -> list[Check]:
    from vasa_cli.errors import EncoderError
    from vasa_cli.video.ffmpeg import MEND, OPTIONAL, find_ffmpeg, missing_encoders, version
    from vasa_cli.video.nvenc import working_nvenc

    try:
        path = find_ffmpeg()
    except EncoderError as e:
        return [
            Check(
                "ffmpeg", "missing", str(e).split("; run:")[0], "unset VASA_FFMPEG" if os.environ.get("VASA_FFMPEG") else MEND, 7
            )
        ]
    lacks = missing_encoders(path)
    if lacks:
        return [Check("ffmpeg", "missing", f"{path} lacks {' and '.join(lacks)}", "unset VASA_FFMPEG", 7)]
    checks = [Check("ffmpeg", "ok", f"{version(path)} with libx264 and aac, {path}")]
    without = missing_encoders(path, tuple(OPTIONAL))
    if without:
        what = ", ".join(f"{name} (for {OPTIONAL[name]})" for name in without)
        fix = (
            "unset VASA_FFMPEG"
            if os.environ.get("VASA_FFMPEG")
            else "export VASA_FFMPEG=$(python -c 'import imageio_ffmpeg as i; print(i.get_ffmpeg_exe())')"
        )
        checks.append(Check("ffmpeg formats", "warning", f"lacks {what}", fix))
    else:
        checks.append(Check("ffmpeg formats", "ok", ", ".join(OPTIONAL)))
    nvenc = "works" if working_nvenc(path) else "does not work here (it needs an NVIDIA card); x264 encodes"
    return [*checks, Check("nvenc", "ok", nvenc)]


def _weights() -> list[Check]:
    from vasa_cli.errors import WeightsError
    from vasa_cli.weights.registry import NAMES, PARTS, sha256_of

    checks = []
    for name in NAMES:
        try:
            hashes = [f"{part} {sha256_of(part, name)[:8]}" for part in PARTS]
            checks.append(Check(f"weights {name}", "ok", ", ".join(hashes)))
        except WeightsError as e:
            checks.append(Check(f"weights {name}", "missing", str(e), REINSTALL, 5))
    return checks


def _presets() -> list[Check]:
    try:
        from vasa_cli.motion.presets import preset_dir, read_preset, shipped
    except ImportError as e:
        return [Check("presets", "missing", f"cannot be read: {e}", mend_import("pydantic", str(e)), 1)]
    names = [read_preset(path).name for path in shipped().values()]
    if not names:
        return [Check("presets", "missing", f"none in {preset_dir()}", REINSTALL, 2)]
    return [Check("presets", "ok", ", ".join(names))]


def cache_folder() -> Path:
    if chosen := os.environ.get("VASA_CACHE_DIR"):
        return Path(chosen)
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("vasa")) / "faces"


def _cache() -> list[Check]:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as e:
        detail = f"{folder} cannot be written ({e.strerror or e}); photos are encoded anew each time"
        return [Check("cache", "warning", detail, "export VASA_CACHE_DIR=/tmp/vasa-cache")]
    return [Check("cache", "ok", str(folder))]


def _temp() -> list[Check]:
    try:
        with tempfile.TemporaryFile():
            return [Check("temporary folder", "ok", tempfile.gettempdir())]
    except OSError as e:
        return [
            Check(
                "temporary folder",
                "warning",
                f"none can be written ({e.strerror or e})",
                "export TMPDIR=/path/to/a/writable/folder",
            )
        ]


def _machine() -> list[Check]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB memory"
    return [Check("machine", "ok", f"{platform.system()} {platform.machine()}, {cores} cores{memory}")]
