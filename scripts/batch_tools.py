"""Small batches to try things with: a portrait, short recordings, a manifest, and what is left in a folder afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SPEECH = ROOT / "vasa_cli" / "assets" / "demo_speech.flac"
PRESETS = ("neutral", "friendly", "serious", "sad")


def make_inputs(folder: Path, portrait: Path | None, seconds: float, photos: int = 1) -> None:
    """`photos` portraits p0.png... (one face, other pixels) and s.wav, words of the demo recording, in `folder`."""
    import numpy as np
    import soundfile
    from PIL import Image, ImageEnhance

    folder.mkdir(parents=True, exist_ok=True)
    if portrait is not None and portrait.suffix == ".safetensors":
        shutil.copy(portrait, folder / "p0.safetensors")
    else:
        picture = Image.open(portrait).convert("RGB") if portrait is not None else _astronaut()
        for i in range(photos):
            ImageEnhance.Brightness(picture).enhance(1 - 0.02 * i).save(folder / f"p{i}.png")
    samples, rate = soundfile.read(SPEECH)
    start = int(0.4 * rate)
    wanted = round(seconds * rate)
    while len(samples) - start < wanted:
        samples = np.concatenate([samples, samples[start:]])
    soundfile.write(folder / "s.wav", samples[start : start + wanted], rate)


def _astronaut():  # type: ignore[no-untyped-def]  # a PIL image
    from PIL import Image
    from skimage import data

    return Image.fromarray(data.astronaut())


def rows(folder: Path, count: int, size: int, photos: int = 1) -> list[dict[str, object]]:
    """`count` jobs, all different: by their ids' seeds, and by presets."""
    suffix = "safetensors" if (folder / "p0.safetensors").exists() else "png"
    return [
        {
            "id": f"job{i:03d}", "portrait": f"p{i % photos}.{suffix}", "audio": "s.wav", "size": size,
            "preset": PRESETS[i % len(PRESETS)],
        }
        for i in range(count)
    ]  # fmt: skip


def write_manifest(path: Path, jobs: list[dict[str, object]]) -> Path:
    path.write_text("\n".join(map(json.dumps, jobs)) + "\n")
    return path


def command(manifest: Path, out: Path, *more: object) -> list[str]:
    return [sys.executable, "-m", "vasa_cli", "batch", str(manifest), "--output-dir", str(out), *map(str, more)]


def environment(cache: Path) -> dict[str, str]:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "VASA_CACHE_DIR": str(cache), "PYTHONPATH": os.pathsep.join(paths), "NO_COLOR": "1"}


def run(words: list[str], env: dict[str, str]) -> dict[str, object]:
    """Run a batch with --json to its end; its summary. Raises RuntimeError with what it said."""
    done = subprocess.run([*words, "--json", "--quiet"], env=env, capture_output=True, text=True)
    if done.returncode not in (0, 8):
        raise RuntimeError(f"exit {done.returncode}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def hashes_of(folder: Path) -> dict[str, str]:
    """Job to the hash of the frames in its file, decoded now. Also: the receipts say the same. Raises RuntimeError."""
    from vasa_cli.video.framehash import frame_hash

    found = {}
    for video in sorted(folder.glob("*.mp4")):
        receipt = json.loads(Path(f"{video}.json").read_text())
        found[video.stem] = f"sha256:{frame_hash(video, tuple(receipt['size'])).sha256}"
        if receipt["frame_hash"] != found[video.stem]:
            raise RuntimeError(f"{video}: its frames are not those of its receipt")
    return found


def stray_files(folder: Path, ids: list[str]) -> list[str]:
    """Names in the output folder that no job accounts for."""
    wanted = {f"{name}.mp4" for name in ids} | {f"{name}.mp4.json" for name in ids}
    return sorted(p.name for p in folder.iterdir() if p.name not in wanted)
