"""Fit the skin's shading (folds of expressions) on video clips: vasa_cli/weights/shading.safetensors and docs/results_shading.md.

    python scripts/train_shading.py ../shared/data/video

About one minute. The table holds every clip out once: what the folds learned from the others bring on it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from results import machine, table

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="folder of .mp4 clips, one face each")
    options = parser.parse_args()
    from vasa_cli.motion.basis import DynamicsBasis
    from vasa_cli.training import shading_fit as sf

    basis = DynamicsBasis.load()
    plane = sf.Plane.of(basis)
    skin = plane.skin(basis)
    clips = [sf.unwarp(p, basis, plane) for p in sorted(options.clips.glob("*.mp4"))]
    if not clips:
        sys.exit(f"{options.clips}: no .mp4 clips there")
    rows: list[list[object]] = []
    for clip in clips:
        folds = sf.fit([c for c in clips if c is not clip], basis, skin)
        rows.append([clip.name, len(clip.z), *(sf.gain(clip, folds * s, basis, skin) for s in (0.25, sf.STRENGTH, 1.0))])
        print(rows[-1], flush=True)
    rows.append(["mean", "", *(float(np.mean([r[i] for r in rows])) for i in (2, 3, 4))])  # type: ignore[misc]
    save(sf.fit(clips, basis, skin) * sf.STRENGTH)
    text = (
        "# Shading: what expression folds bring on people they were not fitted on\n\n"
        f"Written by `scripts/train_shading.py`; do not edit. {machine()}.\n"
        "The first frame, unwarped onto the mean face, stands for all others of its clip: dB of squared error won on\n"
        f"the skin by shading it, at a quarter, at {sf.STRENGTH:g} (shipped) and at all of the fitted strength.\n\n"
    )
    out = ROOT / "docs" / "results_shading.md"
    out.write_text(text + table(["clip held out", "frames", "0.25", f"{sf.STRENGTH:g}", "1"], rows) + "\n", encoding="utf-8")


def save(folds: np.ndarray) -> None:
    """Write the weights and their checksum."""
    from safetensors.numpy import save_file

    from vasa_cli.motion.basis import DynamicsBasis
    from vasa_cli.training import shading_fit as sf
    from vasa_cli.weights import registry

    basis = DynamicsBasis.load()
    plane = sf.Plane.of(basis)
    tensors = {
        "folds": folds.astype(np.float16),
        "normals": sf.mean_normals(basis, plane).astype(np.float16),
        "skin": sf.soft(plane.skin(basis)).astype(np.float16),
        "centre": plane.centre.astype(np.float32),
        "std": basis.std.astype(np.float32),
        "used": sf.used_dynamics(basis).astype(np.int32),
    }
    path = Path(registry.__file__).parent / registry.file_name("shading")
    save_file(tensors, str(path), metadata={"format": "vasa-shading/1", "half": repr(plane.half)})
    print(path.name, registry.record("shading")[:12], path.stat().st_size // 1024, "KiB")


if __name__ == "__main__":
    main()
