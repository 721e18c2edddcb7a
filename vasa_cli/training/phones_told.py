"""Two teachers of lips at once: what a regressor on whisper's view of the sound says, and what the aligned phones say.

On the seven stranger clips (one lag each) whisper's lips follow the tracked opening and width with r .573 and .556, the phones'
with .622 and .510, their mean with .646 and .589: whisper hears how strongly something is said, phones say exactly when.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from vasa_cli.training.motion_data import Sequence
from vasa_cli.training.motion_taught import pieces
from vasa_cli.training.phones import Phone
from vasa_cli.training.phones_lips import LipModel, LipRules, close

CONTEXT = 4  # frames each way
RIDGE = 100.0


@dataclass(frozen=True)
class ToldLips:
    """Ridge regression from nine frames of whisper's projected states to mouth numbers: slope (9 D + 1, M)."""

    slope: np.ndarray

    def mouth(self, states: np.ndarray) -> np.ndarray:
        """states (T, D) at 25 fps as `speech_corpus.Projection` gives them -> (T, M)."""
        return np.asarray(surroundings(states) @ self.slope, np.float32)


def surroundings(states: np.ndarray, reach: int = CONTEXT) -> np.ndarray:
    """(T, D) -> (T, (2 * reach + 1) * D + 1): each frame's neighbours side by side, and a 1."""
    padded = np.pad(states, ((reach, reach), (0, 0)), mode="edge")
    rows = [padded[k : k + len(states)] for k in range(2 * reach + 1)]
    return np.concatenate([*rows, np.ones((len(states), 1))], 1).astype(np.float32)


def fit_told(root: Path, grid: list[Sequence], names: list[str], mouth: slice) -> ToldLips:
    """Fit on GRID's training clips. root: the speech encoder's corpus; names: all GRID clips in sorted order."""
    from vasa_cli.training.speech_corpus import Projection

    project, states = Projection(root), pieces(root / "teach_whisper" / "grid.npz")
    a: np.ndarray | float = 0.0
    b: np.ndarray | float = 0.0
    for clip in grid:
        x = surroundings(project("whisper", states[names.index(clip.name)], len(clip.dynamics)))
        a, b = a + x.T @ x, b + x.T @ clip.dynamics[:, mouth]
    matrix = np.asarray(a)
    return ToldLips(np.linalg.solve(matrix + RIDGE * np.eye(len(matrix)), np.asarray(b)).astype(np.float32))


def both_teachers(told: np.ndarray, phones: list[Phone], model: LipModel, share: float = 0.5) -> np.ndarray:
    """Mean of told lips (T, M) and the phones' lips (their share), closed where bilabials and labiodentals are."""
    said = model.predict(phones, len(told))
    return close((1 - share) * told + share * said, phones, model.opening, model.open_direction, LipRules())


def teller(root: Path, told: ToldLips, model: LipModel) -> Callable[[str, np.ndarray, list[Phone]], np.ndarray]:
    """Mouths for `phones_talks.write_talks` of pieces of the corpus, named `file#piece`, that whisper has heard."""
    from vasa_cli.training.phones_talks import frames_of
    from vasa_cli.training.speech_corpus import Projection

    project = Projection(root)

    @lru_cache(maxsize=1)
    def states_of(name: str) -> dict[int, np.ndarray]:
        return pieces(root / "teach_whisper" / f"{name}.npz")

    def mouth(voice: str, samples: np.ndarray, phones: list[Phone]) -> np.ndarray:
        name, _, piece = voice.rpartition("#")
        states = project("whisper", states_of(name)[int(piece)], frames_of(samples))
        return both_teachers(told.mouth(states), phones, model)

    return mouth
