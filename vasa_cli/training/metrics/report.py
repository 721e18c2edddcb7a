"""Scores as Markdown."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from collections.abc import Sequence as Many
from pathlib import Path

import numpy as np

from vasa_cli.training.metrics.rows import Scores

SPEECH = {
    "sync": "own-sync",
    "distance": "distance",
    "offset": "offset",
    "r": "lip r",
    "r_lag": "lip r, lag",
    "w": "width r",
    "w_lag": "width r, lag",
    "closures": "closures %",
    "silence": "silence %",
    "silence_motion": "silent motion %",
}
LIFE = {
    "capp": "own-CAPP",
    "voice": "head follows voice",
    "beat": "on beat",
    "delta_p": "ΔP °",
    "yaw": "yaw °",
    "pitch": "pitch °",
    "roll": "roll °",
    "head": "head std °",
    "jitter": "jitter °",
    "lip_jitter": "lip jitter",
    "frozen": "frozen %",
    "held": "head still %",
    "blink_rate": "blinks/min",
    "blink_duration": "blink s",
    "blink_doubles": "double %",
    "blink_bounds": "at phrase ends ×",
    "gaze": "gaze std °",
    "darts": "darts/min",
}
PERCENT = {"closures", "silence", "silence_motion", "frozen", "held", "blink_doubles"}
NAMES = {
    "real": "real",
    "real, other sound": "real, another clip's sound",
    "ours": "**ours**",
    "shuffled": "shuffled speech",
    "jaw": "loudness-driven jaw",
    "static": "static face",
    "rerendered": "real, re-rendered",
    "some": "real, the same clips",
    "still": "real mouth, head held, re-rendered",
    "ours_rerendered": "ours, re-rendered",
}


def cell(values: Many[float], percent: bool = False) -> str:
    """Mean, and lowest to highest where there are several seeds; a dash for nothing measured."""
    x = np.array([v for v in values if np.isfinite(v)]) * (100 if percent else 1)
    if not len(x):
        return "–"
    digits = 0 if np.abs(x).max() >= 100 else 1 if percent or np.abs(x).max() >= 20 else 3
    if len(x) == 1 or np.ptp(x) < 0.5 * 10**-digits:
        return f"{x.mean():.{digits}f}"
    return f"{x.mean():.{digits}f} ({x.min():.{digits}f} to {x.max():.{digits}f})"


def columns_table(sections: Mapping[str, Scores], columns: Mapping[str, str]) -> str:
    """One row for every way of making motion in every section; rows without any of the columns are left out."""
    lines = ["| clips | row | " + " | ".join(columns.values()) + " |", "|---|---|" + "---|" * len(columns)]
    for title, scores in sections.items():
        for row, values in scores.items():
            if any(k in values for k in columns):
                cells = (cell(values.get(k, ()), k in PERCENT) for k in columns)
                lines.append(f"| {title} | {NAMES.get(row, row)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def gap_share(scores: Scores, reference: Scores) -> float:
    """How much of the gap that real clips (`reference`) show between their own and other sound ours shows between its own and
    shuffled sound. own-sync confidences."""
    real = np.mean(reference["real"]["sync"]) - np.mean(reference["real, other sound"]["sync"])
    return float((np.mean(scores["ours"]["sync"]) - np.mean(scores["shuffled"]["sync"])) / real)


def gap_table(sections: Mapping[str, Scores], fallback: str) -> str:
    """`gap_share` of every section; sections without real clips are measured against those of `fallback`."""
    lines = ["| clips | ours − shuffled | real − other sound | share | bound |", "|---|---|---|---|---|"]
    for title, s in sections.items():
        own = "real" in s
        ref = s if own else sections[fallback]
        made = np.mean(s["ours"]["sync"]) - np.mean(s["shuffled"]["sync"])
        real = np.mean(ref["real"]["sync"]) - np.mean(ref["real, other sound"]["sync"])
        of = f"{real:.3f}" if own else f"{real:.3f} ({fallback})"
        lines.append(f"| {title} | {made:.3f} | {of} | {made / real:.2f} | 0.5 |")
    return "\n".join(lines)


def cache_folder() -> Path:
    """Where judges, tracked sequences and encoded faces are kept between runs (VASA_METRICS_CACHE, or a temporary folder)."""
    folder = Path(os.environ.get("VASA_METRICS_CACHE") or Path(tempfile.gettempdir()) / "vasa_metrics")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
