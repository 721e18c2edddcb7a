"""Sources of mouths other than tracked faces: the rig's curves and the lips that a teacher told."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vasa_cli.training.motion_data import Sequence
from vasa_cli.training.motion_rig import OPEN, WIDE, rig_mouths
from vasa_cli.training.motion_taught import fit_mouths, pieces


def test_rig_curves_become_mouths_that_open_and_purse(tmp_path: Path) -> None:
    names = ["jaw_unused", *dict.fromkeys([*OPEN, *WIDE])]
    (tmp_path / "channel_names.txt").write_text("\n".join(names) + "\n")
    weights = np.zeros((300, len(names)))
    t = np.arange(300) / 30
    weights[:, names.index("mouth_stretch_c")] = np.maximum(np.sin(2 * np.pi * t), 0)
    weights[:, names.index("mouth_pucker_l")] = weights[:, names.index("mouth_pucker_r")] = np.maximum(np.sin(3 * t), 0)
    np.savez(tmp_path / "a.npz", weights=weights, fps=np.float64(30))
    rng = np.random.default_rng(0)
    lips = np.abs(rng.standard_normal((500, 2))) * [0.05, 0.02]
    truth = rng.standard_normal((2, 4))
    mouths = lips @ truth
    made = rig_mouths(tmp_path, mouths, lips)["a"]
    assert len(made) == 250  # 30 to 25 fps
    back = made @ np.linalg.pinv(truth)  # opening and width again
    jaw = np.maximum(np.sin(2 * np.pi * np.arange(250) / 25), 0)
    pucker = np.maximum(np.sin(3 * np.arange(250) / 25), 0)
    assert np.corrcoef(back[:, 0], jaw)[0, 1] > 0.95
    assert np.corrcoef(back[:, 1], pucker)[0, 1] < -0.95
    assert back[:, 0].min() > -1e-4


def test_told_lips_are_fitted_on_the_training_clips_by_name(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = ["a", "b", "c"]
    told = {n: rng.standard_normal((40, 12)) for n in names}
    (tmp_path / "teach_lips").mkdir()
    data = np.concatenate([told[n] for n in names]).astype(np.float32)
    np.savez(tmp_path / "teach_lips" / "grid.npz", data=data, lens=np.array([40, 40, 40]))
    assert np.allclose(pieces(tmp_path / "teach_lips" / "grid.npz")[1], told["b"], atol=1e-6)
    truth = rng.standard_normal((13, 5))

    def clip(name: str) -> Sequence:
        z = np.concatenate([told[name], np.ones((40, 1))], 1) @ truth
        return Sequence(name, "grid_s1", np.zeros((40, 6)), np.concatenate([np.zeros((40, 3)), z], 1), np.zeros((40, 2)), None)

    slope = fit_mouths(tmp_path, [clip("a"), clip("c")], names, slice(3, 8))
    assert np.allclose(slope, truth, atol=1e-3)
