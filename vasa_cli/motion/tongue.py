"""How high the tongue's tip is, heard in the speech: lips and jaw do not say whether it touches the teeth (l, n, th, t, d)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vasa_cli.weights import registry

FLOOR, GAIN = 0.12, 2.1  # of the probe's output: what it says between such sounds, and what brings clear ones to 1


def with_neighbours(features: np.ndarray) -> np.ndarray:
    """(T, F) -> (T, 3 F + 1): each frame with the ones before and after it, and 1."""
    padded = np.pad(features, ((1, 1), (0, 0)), mode="edge")
    return np.concatenate([padded[:-2], padded[1:-1], padded[2:], np.ones((len(features), 1), features.dtype)], 1)


@dataclass(frozen=True)
class TongueProbe:
    """A linear probe of the speech features (`training.tongue_probe`): weights (3 F + 1,)."""

    weights: np.ndarray

    @classmethod
    def load(cls) -> TongueProbe:
        """Raises WeightsError."""
        return cls(registry.load_tensors("tongue")[0]["probe"].astype(np.float32))

    def __call__(self, features: np.ndarray) -> np.ndarray | None:
        """Speech features (T, F) at 25 fps -> (T,) float32: 0 the tongue lies low, 1 its tip is at the upper teeth; None for
        features of another kind than the probe's. Looks 2 frames ahead."""
        rows = with_neighbours(np.asarray(features, np.float32))
        if rows.shape[1] != len(self.weights):
            return None
        padded = np.pad(rows @ self.weights, 1, mode="edge")
        calm = 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]
        return np.asarray(np.clip((calm - FLOOR) * GAIN, 0, 1), np.float32)


def tongue_track(features: np.ndarray) -> np.ndarray | None:
    """`TongueProbe` on a whole recording."""
    return TongueProbe.load()(features)
