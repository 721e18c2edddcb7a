"""The probe that hears bilabials: labels from phones, and that it learns what is there to be heard."""

from __future__ import annotations

import numpy as np

from vasa_cli.training.closure_probe import bilabial_frames, fit_closure, judge
from vasa_cli.training.phones import Phone


def test_labels_mark_bilabials_only() -> None:
    phones = [Phone("ah", 0.0, 0.2), Phone("m", 0.2, 0.32), Phone("t", 0.32, 0.4), Phone("p", 0.4, 0.44)]
    assert bilabial_frames(phones, 12).tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 0]


def test_the_probe_learns_what_the_features_say() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(36):
        y = np.repeat(rng.random(30) < 0.15, 4).astype(np.float32)
        x = rng.standard_normal((120, 6)).astype(np.float32)
        x[:, 2] += 3 * y
        rows.append((x, y, 1.0))
    probe = fit_closure(rows, steps=200, log=False)
    precision, recall = judge(probe, rows[:6], 0.0)
    assert precision > 0.6 and recall > 0.8
    shuffled = [(x[::-1].copy(), y, w) for x, y, w in rows[:6]]
    assert judge(probe, shuffled, 0.0)[0] < 0.5
