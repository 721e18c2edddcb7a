"""Lips that meet: where the speech says p, b or m, the lips are shut, whatever a mean mouth would do.

A network that predicts lips from sound leaves them ajar where it is unsure; a viewer sees nothing sooner. So a small probe of
the speech features (`training.closure_probe`) says where bilabials are, and the opening that the motion model gives is taken
back there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.emotion import lip_gap
from vasa_cli.motion.silence import VoiceActivity
from vasa_cli.weights import registry

UNSURE, SURE = -2.0, 0.0  # the probe's logit at which lips begin to close, and are shut (measured: see the motion model card)
PRESS = 0.003  # IOD by which shut lips press each other


@dataclass(frozen=True)
class ClosureProbe:
    """Hears where bilabials are: statistics of the features (F,) and a small network over them."""

    mean: np.ndarray
    std: np.ndarray
    network: VoiceActivity

    @classmethod
    def load(cls) -> ClosureProbe:
        """Raises WeightsError."""
        tensors = {name: np.asarray(rows, np.float32) for name, rows in registry.load_tensors("closure")[0].items()}
        network = VoiceActivity(*(tensors[name] for name in ("weights1", "bias1", "weights2", "bias2")))
        return cls(tensors["mean"], tensors["std"], network)

    def __call__(self, features: np.ndarray) -> np.ndarray | None:
        """Speech features (T, F) at 25 fps -> (T,) float32 0..1: how shut the lips must be; None for features of another kind
        than the probe's. Looks 4 frames ahead."""
        if features.shape[1] != len(self.mean) or not len(features):
            return None
        logit = self.network(np.clip((features - self.mean) / self.std, -5, 5).astype(np.float32))
        wanted = np.clip((logit - UNSURE) / (SURE - UNSURE), 0, 1)
        return np.asarray(np.convolve(np.pad(wanted, 1, mode="edge"), [0.2, 0.6, 0.2], mode="valid"), np.float32)


def closing(features: np.ndarray) -> np.ndarray | None:
    """`ClosureProbe` on a whole recording."""
    return ClosureProbe.load()(features)


def shut_lips(z: np.ndarray, closed: np.ndarray | None, basis: DynamicsBasis) -> np.ndarray:
    """z (T, K) with the lips' opening taken back by closed (T,) 0..1, along the mean opening of the mouth; never opened."""
    if closed is None or not len(basis.mouth_open_direction):
        return z
    gap = lip_gap(z, basis)  # (T,)
    wanted = np.minimum(gap, gap * (1 - closed) - PRESS * closed)
    way = float(lip_gap(basis.mouth_open_direction[None], basis)[0])
    return np.asarray(z + ((wanted - gap) / way)[:, None] * basis.mouth_open_direction, np.float32)
