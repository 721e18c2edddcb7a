"""Speech features and controls of a whole recording in, motion track out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from vasa_cli.motion.behaviour.style import MotionStyle
from vasa_cli.motion.controls import CURVE_COLUMNS, ControlCurves
from vasa_cli.motion.model import MotionModel
from vasa_cli.motion.rolling import Rolling
from vasa_cli.motion.stream import MotionStream
from vasa_cli.motion.track import MotionTrack, joined
from vasa_cli.motion.windows import Online


def generate_motion(
    features: np.ndarray,
    curves: ControlCurves,
    *,
    seed: int,
    weights: str = "default",
    steps: int | None = None,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
    guidance: Mapping[str, float] | None = None,
    style: MotionStyle | None = None,
    model: MotionModel | None = None,
    online: Online | None = None,
    ahead: np.ndarray | None = None,
) -> MotionTrack:
    """Speech features (T, F) at 25 fps and controls sampled at the same T frames -> MotionTrack of T frames.

    The same seed, weights, features and controls give the same track; `steps` overrides the number of network evaluations a
    window, `guidance` ("audio", "gaze", "distance", "emotion": 0..4) the strengths stored with the weights; `style` is the
    manner (None: the default one); `model` is used instead of loading `weights`. online: as a live stream would make it, whose
    speech comes frame by frame; ahead (T, m, F): what was anticipated when frame t had come. progress is called with frames done
    and all. Raises WeightsError when weights are missing or do not fit the features, DeviceError when the device cannot be used,
    ValueError on unequal lengths.
    """
    total = len(features)
    if total != len(curves) or total == 0:
        raise ValueError(f"features and controls must have the same length of at least 1 frame, got {total} and {len(curves)}")
    stream = MotionStream(
        seed=seed, weights=weights, device=device, steps=steps, guidance=guidance, style=style, model=model, online=online
    )
    rows, blocks = Rolling(CURVE_COLUMNS), []
    rows.append(curves.rows())

    def controls(start: int, stop: int) -> ControlCurves:
        return ControlCurves.of_rows(rows.rows(start, stop))

    step = stream.windows.size if online is None else 1
    for start in range(0, total, step):
        stream.push(features[start : start + step], None if ahead is None else ahead[start])
        last = start + step >= total
        for block in stream.finish(controls) if last else stream.take(controls):
            blocks.append(block)
            if progress:
                progress(stream.done, total)
    return joined(blocks)
