"""Behaviours of sound that arrives bit by bit: the same as those of the whole recording, or late and smooth."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from test_behaviour import F, Talk, talk

from vasa_cli.motion.apply import Parts
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.behaviour.behave import NEEDED, Behaviour, BehaviourStream, EnlivenStream, behave, enliven, joined, part
from vasa_cli.motion.behaviour.style import MotionStyle, random_style
from vasa_cli.motion.controls import ControlCurves, Controls, Curve

NAMES = ("pose", "gaze", "face", "blink", "calm")
STYLES = [MotionStyle(), MotionStyle(pace=0.7), MotionStyle(pace=1.3), random_style(3), MotionStyle(darts=2.5, listening=2.0)]


@pytest.fixture(scope="module")
def basis() -> DynamicsBasis:
    return DynamicsBasis.load()


def stutter(frames: int, seed: int) -> Talk:
    """Clicks, stops within words and pauses of all lengths, under loudness and pitch that mean nothing."""
    rng = np.random.default_rng([seed, 7])
    features, active, t = rng.normal(0, 1, (frames, F)).astype(np.float32), np.zeros(frames, bool), int(rng.integers(0, 9))
    while t < frames:
        stop = t + int(rng.choice([1, 1, 2, 3, 5, 20, 40, 90]))
        active[t:stop] = True
        t = stop + int(rng.choice([1, 2, 4, 5, 6, 7, 8, 12, 30, 60, 140]))
    return Talk(features, active, np.zeros(0), np.zeros(0))


def sound(seed: int, frames: int = 900) -> Talk:
    if seed % 2:
        return stutter(frames, seed)
    said = talk(frames / 1500 + 0.1, seed, silence=4.0)
    return Talk(said.features[:frames], said.active[:frames], said.accents, said.ends)


def asked(frames: int, seed: int) -> ControlCurves:
    """Sizes that change all the time."""
    rng = np.random.default_rng(seed)
    times = tuple(np.arange(6) * frames / 150)
    sizes = {name: Curve(times, tuple((float(v),) for v in rng.uniform(0, 2, 6))) for name in ("head", "brows", "blink", "mouth")}
    return Controls.default().with_curves(**sizes).curves(frames, 25)


def blocks(frames: int, size: int) -> Iterator[slice]:
    edges = [*range(0, frames, size), frames]
    return (slice(a, b) for a, b in pairwise(edges))


def live(
    said: Talk, curves: ControlCurves, style: MotionStyle, basis: DynamicsBasis, size: int, beyond: int, seed: int = 0
) -> Behaviour:
    """Taken in blocks of `size`, with `beyond` frames known beyond each."""
    stream, pushed, out, frames = BehaviourStream(style, seed, basis), 0, [], len(said.active)
    for block in blocks(frames, size):
        new = slice(pushed, min(block.stop + beyond, frames))
        if new.stop > pushed:
            stream.push(said.features[new], said.active[new], part(curves, new))
            pushed = new.stop
        if pushed == frames:
            stream.finish()
        out.append(stream.take(block.stop - block.start))
    return joined(out)


@pytest.mark.parametrize("seed", range(10))
def test_blocks_of_any_size_give_what_the_whole_gives(basis: DynamicsBasis, seed: int) -> None:
    said, style = sound(seed, 900 - 37 * seed), STYLES[seed % len(STYLES)]
    curves = asked(len(said.active), seed)
    whole = behave(said.features, curves, style, seed, basis, said.active)
    for size in (1, 7, 50):
        made = live(said, curves, style, basis, size, NEEDED, seed)
        assert all(np.array_equal(getattr(whole, name), getattr(made, name)) for name in NAMES)
        assert made.prosody.accents == whole.prosody.accents and made.prosody.phrases == whole.prosody.phrases
        assert np.array_equal(made.prosody.silent_for, whole.prosody.silent_for)


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_motion_enlivened_in_blocks_is_that_of_the_whole(basis: DynamicsBasis, style: MotionStyle) -> None:
    said, rng, n = sound(4), np.random.default_rng(0), 900
    curves, follow = asked(n, 1), rng.normal(0, 0.5, 12).astype(np.float32)
    acts = behave(said.features, curves, style, 0, basis, said.active)
    parts = Parts(*(np.cumsum(rng.normal(0, 0.01, (n, k)), 0).astype(np.float32) for k in (6, basis.size)))
    whole = enliven(parts, acts, curves, style, basis, follow)
    for size in (1, 7, 50):
        stream, out, pushed = EnlivenStream(style, basis, follow), [], 0
        for block in blocks(n, size):
            new = slice(pushed, min(block.stop + stream.look_ahead, n))
            if new.stop > pushed:
                some = Behaviour(**{name: getattr(acts, name)[new] for name in NAMES}, prosody=acts.prosody)
                stream.push(Parts(parts.pose[new], parts.dynamics[new]), some, part(curves, new))
                pushed = new.stop
            if pushed == n:
                stream.finish()
            out.append(stream.take(block.stop - block.start))
        assert np.array_equal(whole.pose, np.concatenate([p.pose for p in out]))
        assert np.array_equal(whole.dynamics, np.concatenate([p.dynamics for p in out]))
