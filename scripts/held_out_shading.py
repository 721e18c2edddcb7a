"""Shading as it would be had a clip never been seen: the shipped folds were fitted on the very clips that are evaluated."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np


def shading_without(clip: str, clips: Path, cache: Path) -> AbstractContextManager[object]:
    """While the context lasts, new decoders shade by folds fitted on all clips of the folder but this one. The unwarped clips
    are kept in `cache`."""
    from vasa_cli.decoder.shading import ShadingModel
    from vasa_cli.motion.basis import DynamicsBasis
    from vasa_cli.training import shading_fit as sf

    basis = DynamicsBasis.load()
    plane = sf.Plane.of(basis)
    seen = []
    for path in sorted(clips.glob("*.mp4")):
        file = cache / f"shade-{path.stem}-{path.stat().st_size}.npz"
        if not file.is_file():
            one = sf.unwarp(path, basis, plane)
            np.savez(file, luma=one.luma, z=one.z)
        if path.stem != clip:
            z = np.load(file)
            seen.append(sf.ShadeClip(path.stem, z["luma"], z["z"]))
    folds = sf.fit(seen, basis, plane.skin(basis)) * sf.STRENGTH
    model = replace(ShadingModel.load(), folds=folds)
    return mock.patch.object(ShadingModel, "load", return_value=model)
