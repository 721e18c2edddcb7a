"""Behaviours of sound that arrives bit by bit: the same as those of the whole recording, or late and smooth."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator, Sequence
from itertools import cycle, pairwise

import numpy as np
import pytest
from test_behaviour import F, Talk, blink_starts, talk

from vasa_cli.motion.apply import Parts, smooth_track
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.behaviour.behave import NEEDED, Behaviour, BehaviourStream, EnlivenStream, behave, enliven, joined, part
from vasa_cli.motion.behaviour.lanes import PITCH, Lanes
from vasa_cli.motion.behaviour.style import MotionStyle, random_style
from vasa_cli.motion.controls import ControlCurves, Controls, Curve

NAMES = ("pose", "gaze", "face", "blink", "calm")
FOLLOW = np.linspace(-0.5, 0.5, 12).astype(np.float32)
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
    said: Talk, curves: ControlCurves, style: MotionStyle, basis: DynamicsBasis, size: int, beyond: Sequence[int], seed: int = 0
) -> Behaviour:
    """Taken in blocks of `size`, with `beyond` frames known beyond each (these in turn)."""
    stream, pushed, out, frames = BehaviourStream(style, seed, basis), 0, [], len(said.active)
    for block, more in zip(blocks(frames, size), cycle(beyond), strict=False):
        new = slice(pushed, min(block.stop + more, frames))
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
        made = live(said, curves, style, basis, size, [NEEDED], seed)
        assert all(np.array_equal(getattr(whole, name), getattr(made, name)) for name in NAMES)
        assert made.prosody.accents == whole.prosody.accents and made.prosody.phrases == whole.prosody.phrases
        assert np.array_equal(made.prosody.silent_for, whole.prosody.silent_for)


def enlivened(
    parts: Parts, acts: Behaviour, curves: ControlCurves, style: MotionStyle, basis: DynamicsBasis, size: int, beyond: int | None
) -> Parts:
    """Taken in blocks of `size`, with `beyond` frames known beyond each (None: as many as it takes)."""
    stream, out, pushed = EnlivenStream(style, basis, FOLLOW), [], 0
    for block in blocks(len(curves), size):
        new = slice(pushed, min(block.stop + (stream.look_ahead if beyond is None else beyond), len(curves)))
        if new.stop > pushed:
            some = Behaviour(**{name: getattr(acts, name)[new] for name in NAMES}, prosody=acts.prosody)
            stream.push(Parts(parts.pose[new], parts.dynamics[new]), some, part(curves, new))
            pushed = new.stop
        if pushed == len(curves):
            stream.finish()
        out.append(stream.take(block.stop - block.start))
    return Parts(np.concatenate([p.pose for p in out]), np.concatenate([p.dynamics for p in out]))


def wandering(frames: int, basis: DynamicsBasis) -> Parts:
    """A network's motion: slow turns and quick ones, smoothed as generated heads are."""
    rng = np.random.default_rng(0)
    walk = (np.cumsum(rng.normal(0, 0.01, (frames, k)), 0) + rng.normal(0, 0.05, (frames, k)) for k in (6, basis.size))
    return Parts(*(smooth_track(x.astype(np.float32), 6) for x in walk))


@pytest.mark.parametrize("style", STYLES, ids=lambda style: f"pace {style.pace}")
def test_motion_enlivened_in_blocks_is_that_of_the_whole(basis: DynamicsBasis, style: MotionStyle) -> None:
    said, curves = sound(4), asked(900, 1)
    acts, parts = behave(said.features, curves, style, 0, basis, said.active), wandering(900, basis)
    whole = enliven(parts, acts, curves, style, basis, FOLLOW)
    for size in (1, 7, 50):
        made = enlivened(parts, acts, curves, style, basis, size, None)
        assert np.array_equal(whole.pose, made.pose) and np.array_equal(whole.dynamics, made.dynamics)


@pytest.mark.parametrize(("pace", "size", "beyond"), [(0.7, 1, 0), (0.7, 5, 0), (0.75, 2, 3), (1.3, 5, 0), (1.3, 1, 2)])
def test_a_head_of_any_pace_stays_smooth_when_little_is_known(basis: DynamicsBasis, pace: float, size: int, beyond: int) -> None:
    said, curves, style = sound(4), Controls.default().curves(900, 25), MotionStyle(pace=pace)
    acts, parts = behave(said.features, curves, style, 0, basis, said.active), wandering(900, basis)
    whole = enliven(parts, acts, curves, style, basis, FOLLOW).pose
    made = enlivened(parts, acts, curves, style, basis, size, beyond).pose
    assert largest_step(made[:, :3]) < 1.3 * largest_step(whole[:, :3])
    assert np.abs(made - whole).mean() < 0.1 * whole.std()


def largest_step(x: np.ndarray) -> float:
    return float(np.abs(np.diff(x, axis=0)).max())


@pytest.mark.parametrize("beyond", [[0], [1], [2], [4], [8], [0, 5, 1, 3, 0, 8]], ids=str)
@pytest.mark.parametrize("style", [MotionStyle(), MotionStyle(pace=0.7), MotionStyle(pace=1.3)], ids=lambda s: f"pace {s.pace}")
def test_what_is_known_late_begins_late_and_smoothly(basis: DynamicsBasis, style: MotionStyle, beyond: list[int]) -> None:
    said = talk(2.5, 1, silence=6.0)
    curves = Controls.default().curves(len(said.active), 25)
    whole = behave(said.features, curves, style, 0, basis, said.active)
    brows = basis.blocks["brows"]
    for size in (1, 3):
        made = live(said, curves, style, basis, size, beyond)
        assert largest_step(made.pose[:, :3]) < 1.3 * largest_step(whole.pose[:, :3])
        assert largest_step(made.pose[:, 3:]) < 1.3 * largest_step(whole.pose[:, 3:])
        assert largest_step(made.face[:, brows]) < 1.3 * largest_step(whole.face[:, brows])
        assert largest_step(made.blink) < 1.3 * largest_step(whole.blink)
        assert made.prosody.phrases == whole.prosody.phrases
        assert made.pose.std() > 0.8 * whole.pose.std() and made.face.std() > 0.8 * whole.face.std()
        assert 0.75 < len(blink_starts(made.blink)) / len(blink_starts(whole.blink)) < 1.33


@pytest.mark.parametrize("beyond", [2, 3, 5])
def test_nods_stay_with_the_accents_when_little_is_known(basis: DynamicsBasis, beyond: int) -> None:
    """The head goes down fastest within two frames of when it does with all look-ahead."""
    said = talk(6.0, 2)
    curves = Controls.default().curves(len(said.active), 25)

    def fastest(acts: Behaviour) -> int:
        down = np.diff(acts.pose[:, 1])
        return int(np.argmax(np.mean([down[k - 5 : k + 15] for k in said.accents], 0)))

    whole = behave(said.features, curves, MotionStyle(), 0, basis, said.active)
    assert abs(fastest(live(said, curves, MotionStyle(), basis, 1, [beyond])) - fastest(whole)) <= 2


def test_a_stroke_that_is_late_begins_at_rest() -> None:
    lanes = Lanes()
    knots = [(0.0, 0.0), (5.0, 1.0), (20.0, 0.0)]
    lanes.stroke(PITCH, -2, knots)  # nothing was taken: the recording begins in its midst
    first = lanes.take(30)[:, PITCH]
    lanes.stroke(PITCH, 22, knots)
    second = lanes.take(30)[:, PITCH]
    assert first[0] > 0.2 and np.abs(first[18:]).max() == 0
    assert 0 < second[0] < 0.1 and second[4] == 1.0 and np.abs(second[19:]).max() == 0


def test_without_look_ahead_speech_is_heard_a_frame_late_and_clicks_are_none(basis: DynamicsBasis) -> None:
    active = np.zeros(200, bool)
    active[50] = active[80:120] = active[124:150] = True
    said = Talk(np.zeros((200, F), np.float32), active, np.zeros(0), np.zeros(0))
    heard = live(said, asked(200, 0), MotionStyle(), basis, 1, [0]).prosody
    assert heard.phrases == ((80, 150),)  # as they were; they were heard a little later:
    assert heard.speaking[81:155].all() and not heard.speaking[155:].any() and not heard.speaking[:81].any()
    assert heard.silent_for[154:158].tolist() == [0, 6, 7, 8]


def test_an_hour_takes_the_memory_of_a_minute_and_little_time(basis: DynamicsBasis) -> None:
    """A minute of sound again and again; sizes of a frame are those of live use: two frames at a time, three known beyond."""
    said, style = talk(1.0, silence=4.0), MotionStyle(pace=1.3)
    curves = Controls.default().curves(1500, 25)
    pieces = [(said.features[b], said.active[b], part(curves, b)) for b in blocks(1500, 2)]
    parts = [Parts(p.pose[i : i + 2], p.dynamics[i : i + 2]) for p in [wandering(1500, basis)] for i in range(0, 1500, 2)]
    acts, alive = BehaviourStream(style, 0, basis), EnlivenStream(style, basis, FOLLOW)
    acts.push(*pieces[0])
    acts.push(*pieces[1])
    used, peaks = 0.0, []
    for _ in range(10):
        tracemalloc.start()
        for piece, move in zip(pieces, parts, strict=True):
            start = time.thread_time()
            acts.push(*piece)
            alive.push(move, acts.take(2), piece[2])
            alive.take(2)
            used += time.thread_time() - start
        peaks.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert max(peaks[3:]) < peaks[2] + 20_000  # bytes kept of a minute
    assert used / 15000 < 0.6e-3  # seconds a frame, all memory being traced; 0.1e-3 without


def test_wrong_lengths_are_refused(basis: DynamicsBasis) -> None:
    said, stream = sound(0, 40), BehaviourStream(MotionStyle(), 0, basis)
    with pytest.raises(ValueError, match="40 frames of features"):
        stream.push(said.features, said.active[:9], asked(40, 0))
    stream.push(said.features, said.active, asked(40, 0))
    with pytest.raises(ValueError, match="41 frames of 40"):
        stream.take(41)
    stream.finish()
    with pytest.raises(ValueError, match="over: True"):
        stream.push(said.features, said.active, asked(40, 0))
    assert len(stream.take(40).pose) == 40 and len(stream.take(0).pose) == 0
    with pytest.raises(ValueError, match="1 frames of 0"):
        EnlivenStream(MotionStyle(), basis, FOLLOW).take(1)
