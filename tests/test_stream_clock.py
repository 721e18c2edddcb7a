"""The clock of a stream and its policies, with invented time: nothing here sleeps."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from vasa_cli.stream.clock import CAUGHT_UP, DRIFT, PATIENCE, REPEAT_LAG, Policy, StreamClock

RATE, FRAME = 16000, 640
FPS = Fraction(25)


def clock(rate: int = RATE, start: float = 100.0, delay: float = 0.0, **policy: object) -> StreamClock:
    return StreamClock(Policy(**policy), rate, FPS, start, delay)  # type: ignore[arg-type]


def play(
    c: StreamClock, sound: Callable[[float], int], until: float, start: float = 100.0, step: float = 0.005
) -> list[tuple[float, int]]:
    """Run the clock in small steps; sound(t): samples that have arrived in all. -> (time, samples) of all silence inserted."""
    silences, given = [], 0
    for t in np.arange(start, until, step):
        now = float(t)
        new = sound(now) - given
        if new > 0:
            c.heard(new, now)
            given += new
        while count := c.missing(now):
            silences.append((now, count))
    return silences


def test_sound_in_time_is_left_alone() -> None:
    c = clock()
    jitter = np.random.default_rng(0).uniform(0, 0.2, 10_000)
    assert play(c, lambda t: int((t - 100 - jitter[int(t * 50) % 9999]) * 50) * 320, 140) == []
    assert c.idle_frames == 0


def test_a_gap_is_filled_frame_by_frame_and_the_clock_is_caught_up_with() -> None:
    """Two seconds of nothing in the middle: silence begins after the patience, then keeps pace with the clock, then sound goes on
    and finds the whole patience again."""
    c = clock()
    sound = [lambda t: t - 100, lambda t: 3.0, lambda t: t - 102]  # seconds
    phase = lambda t: 0 if t < 103 else 1 if t < 105 else 2  # noqa: E731
    silences = play(c, lambda t: int(sound[phase(t)](t) * RATE), 110)
    assert silences[0][0] == pytest.approx(103 + 0.04 + PATIENCE, abs=0.011)
    assert all(n <= FRAME for _, n in silences)
    assert sum(n for _, n in silences) == pytest.approx(2 * RATE, abs=FRAME)
    assert c.samples == pytest.approx(10 * RATE, abs=2 * FRAME)
    times = [t for t, _ in silences]
    assert max(times) < 105 and max(np.diff([t for t in times if t > 103.4])) < 0.05  # never a stall
    assert -0.05 < c.lag(110) < 0.05


def test_before_the_first_sound_the_face_idles_after_the_patience() -> None:
    c = clock()
    assert c.missing(100.3) == 0
    assert c.missing(100.35) == FRAME
    play(c, lambda t: 0, 102, start=100.36)
    assert c.idle_frames == pytest.approx(50, abs=1)


def test_waiting_for_slow_producers_inserts_nothing() -> None:
    c = clock(on_gap="wait")
    c.heard(1000, 100.02)
    assert c.waits(200.0) is None
    assert c.missing(5000.0) == 0
    c.heard(1000, 5000.0)
    assert -0.1 < c.lag(5000.0) <= 1e-6
    assert (c.idle_frames, c.samples) == (0, 2000)


def test_bursts_are_used_whole_and_run_ahead() -> None:
    c = clock()
    c.heard(RATE, 100.0)
    c.heard(30 * RATE, 100.5)
    assert c.lag(100.5) < -29
    assert c.missing(110.0) == 0
    assert c.whole_frames == 31 * 25


def test_our_own_delay_is_no_gap_in_the_sound() -> None:
    """A minute during which nobody read the pictures: the sound comes on at once, and what comes next is not late."""
    c = clock()
    c.heard(5 * RATE, 105.0)
    c.heard(RATE // 50, 165.0)
    assert c.waits(165.001) == pytest.approx(0.04 + PATIENCE, abs=0.03)
    assert c.missing(165.1) == 0
    c.heard(RATE // 5, 165.2)
    assert c.idle_frames == 0


def test_a_suspended_machine_does_not_pour_out_hours_of_idle_frames() -> None:
    c = clock()
    c.heard(RATE, 101.0)
    while c.missing(101.5):
        pass
    done = c.idle_frames
    while c.missing(4000.0):
        pass
    assert c.idle_frames - done <= 2


def test_clocks_of_two_machines_may_differ() -> None:
    """A microphone 900 ppm slow for ten minutes: 0.54 s in all, no silence inserted. One at half speed is late, and filled."""
    c = clock()
    assert play(c, lambda t: int((t - 100) * 0.9991 * RATE), 700, step=0.02) == []
    assert c.lag(700) < PATIENCE
    slow = clock()
    filled = play(slow, lambda t: int((t - 100) * 0.5 * RATE), 120)
    assert slow.samples == pytest.approx(20 * RATE, abs=(PATIENCE + 0.1 + 20 * DRIFT) * RATE)
    assert len(filled) > 100


@pytest.mark.parametrize("rate", [8000, 11025, 11127, 16000, 22050, 44100, 48000, 44101])
def test_frames_tile_the_samples_of_any_rate(rate: int) -> None:
    """The time line padded to whole frames is, at 16 kHz, exactly as many frames; silence always completes one."""
    from vasa_cli.speech.audio import n_frames

    rng = np.random.default_rng(rate)
    c = clock(rate)
    for _ in range(300):
        c.heard(int(rng.integers(1, rate // 10)), 100.0)
        before, whole = c.samples, c.whole_frames
        assert c.boundary(whole) <= before < c.boundary(whole + 1)
        padded = before + c.padding()
        assert padded in (c.boundary(whole), c.boundary(whole + 1))
        at_16k = -(-padded * 16000 // rate)
        assert n_frames(at_16k, 16000, FPS) == n_frames(before, rate, FPS) == whole + (padded > before)
    c.samples = c.boundary(7)
    assert c.padding() == 0
    assert c.to_next_frame() == c.boundary(8) - c.boundary(7)


def test_a_slow_machine_repeats_only_when_it_may_and_only_what_is_heard() -> None:
    waiting = clock(on_slow="wait")
    waiting.heard(10 * RATE, 110.0)
    assert waiting.repeats(0, 110.0) == 0
    c = clock(on_slow="repeat")
    for i in range(10):
        c.heard(RATE, 101.0 + i)
    assert c.repeats(250 - int((REPEAT_LAG - 0.1) * 25), 110.0) == 0
    assert c.repeats(200, 110.0) == pytest.approx((2 - CAUGHT_UP) * 25, abs=1)
    assert c.repeats(240, 110.0) > 0  # goes on until caught up
    assert c.repeats(248, 110.0) == 0
    assert c.repeats(240, 110.0) == 0  # and begins again only beyond the lag
    assert c.repeats(249, 120.0) == 1  # only one frame's sound is there


def test_the_look_ahead_is_no_lateness() -> None:
    c = clock(on_slow="repeat", delay=1.0)
    for i in range(10):
        c.heard(RATE, 101.0 + i)
    assert c.repeats(225, 110.0) == 0
    assert c.repeats(200, 110.0) > 0
