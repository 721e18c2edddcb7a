"""Live control: what a line may say, curves that never jump, and the descriptor the lines come from."""

from __future__ import annotations

import json
import os
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vasa_cli.errors import InputError, UsageError
from vasa_cli.motion.controls import EMOTIONS, Controls, Curve
from vasa_cli.motion.presets import load_preset
from vasa_cli.stream.control import BLEND, LiveControls, parse_change
from vasa_cli.stream.control_reader import LINE_LIMIT, ControlReader, open_control

FPS = Fraction(25)


def live(**curves: Curve) -> LiveControls:
    return LiveControls(Controls.default().with_curves(**curves), FPS)


def drawn(controls: LiveControls, lines: dict[int, dict[str, Any]], frames: int, ahead: int = 12, block: int = 2) -> np.ndarray:
    """Gaze yaw of frames as a caller sees it that draws `block` frames at a time and looks `ahead`.  (frames,)"""
    out: list[float] = []
    for first in range(0, frames, block):
        for at, line in lines.items():
            if first <= at < first + block:
                controls.line(json.dumps(line))
        out += controls.curves(first, first + block + ahead).gaze[:block, 0].tolist()
    return np.array(out)


# ---------------------------------------------------------------------------------------------------- lines


def test_what_a_line_may_say() -> None:
    change = parse_change('{"gaze": [10, -3.5], "distance": 1.2, "emotion": {"happy": 0.6}, "head": 0.5, "blend": 0.8}')
    assert {k: v.values for k, v in change.curves.items()} == {
        "gaze": ((10.0, -3.5),),
        "distance": ((1.2,),),
        "emotion": (tuple(0.6 if e == "happy" else 0.0 for e in EMOTIONS),),
        "head": ((0.5,),),
    }
    assert change.blend == 0.8
    assert parse_change('{"gaze": {"yaw": 4}}').curves["gaze"].values == ((4.0, 0.0),)
    assert parse_change('{"reset": true}').reset
    preset = parse_change('{"preset": "friendly", "mouth": 0.5}')
    expected = load_preset("friendly").spec.to_controls()
    assert preset.curves["emotion"] == expected.emotion and preset.curves["mouth"].values == ((0.5,),)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("gaze 10", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1, 2]", "expected an object"),
        ('{"gaz": [1, 2]}', "did you mean gaze"),
        ('{"gaze": [10]}', "yaw, pitch"),
        ('{"gaze": [31, 0]}', "-30 to 30"),
        ('{"gaze": [NaN, 0]}', "out of range"),
        ('{"gaze": [{"t": 0, "yaw": 1}]}', "yaw, pitch"),
        ('{"head": [{"t": 0, "value": 1}]}', "keyframes"),
        ('{"head": 2.5}', "0 to 2"),
        ('{"head": "loud"}', "head"),
        ('{"head": null}', "one value"),
        ('{"distance": 0.1}', "0.6 to 1.8"),
        ('{"emotion": {"hapy": 1}}', "did you mean happy"),
        ('{"emotion": "happy"}', "happy: 0.6"),
        ('{"preset": "frendly"}', "did you mean friendly"),
        ('{"preset": 3}', "a name or a file"),
        ('{"blend": -1}', "0 to 60 seconds"),
        ('{"blend": true}', "0 to 60 seconds"),
        ('{"reset": 1}', "expected true"),
        ('{"style": {"nods": 1}}', "unknown word style"),
        ('{"head": 1' + 400 * "0" + "}", "head"),
        ('{"head": 1' + 5000 * "0" + "}", "not JSON"),
    ],
)
def test_a_bad_line_is_one_line_and_changes_nothing(line: str, word: str) -> None:
    controls = live()
    before = controls.curves(0, 5)
    with pytest.raises(UsageError) as caught:
        controls.line(line)
    assert word in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 300
    np.testing.assert_array_equal(controls.curves(1, 6).gaze, before.gaze)
    assert controls.changes == 0


# ---------------------------------------------------------------------------------------------------- curves


def test_without_lines_the_curves_are_those_of_render() -> None:
    preset = Curve((0.0, 1.0, 2.5), ((0.0, 0.0), (12.0, 3.0), (-5.0, 0.0)))
    controls = live(gaze=preset)
    whole = controls.start.curves(100, FPS)
    for first in range(0, 96, 3):
        part = controls.curves(first, first + 4)
        assert len(part) == 4
        for name in ("gaze", "distance", "emotion", "head", "mouth"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[first : first + 4])


def test_a_change_eases_in_from_the_next_frame_and_arrives_in_time() -> None:
    yaw = drawn(live(), {20: {"gaze": [20, 0]}}, 60)
    assert (yaw[:20] == 0).all() and yaw[20] > 0
    assert yaw[20 + round(BLEND * 25) - 1] == pytest.approx(20)
    steps = np.diff(yaw)
    assert (steps >= -1e-6).all() and steps.max() < 20 / (BLEND * 25) * 1.6


def test_changes_amid_a_blend_keep_value_and_velocity() -> None:
    """Whatever comes when, the second difference stays that of a blend: no jump, no kink."""
    lines = {
        10: {"gaze": [20, 0]},
        14: {"gaze": [-20, 0]},
        18: {"reset": True},
        21: {"gaze": [9, 0], "blend": 1.0},
        40: {"preset": "friendly"},
    }
    yaw = drawn(live(), lines, 80, block=1)
    smooth = drawn(live(), {10: {"gaze": [20, 0]}}, 80, block=1)
    assert np.abs(np.diff(yaw)).max() < 2.5 * np.abs(np.diff(smooth)).max()
    assert np.abs(np.diff(yaw, n=2)).max() < 4 * np.abs(np.diff(smooth, n=2)).max()


def test_frames_seen_ahead_may_change_but_drawn_ones_never() -> None:
    """However far the caller looks ahead and however it groups frames, what is drawn has no jump."""
    for ahead, block in ((0, 1), (50, 1), (50, 10), (3, 7)):
        yaw = drawn(live(), {33: {"gaze": [10, 0]}}, 100, ahead, block)
        assert np.abs(np.diff(yaw)).max() < 10 / (BLEND * 25) * 1.6
        assert yaw[-1] == pytest.approx(10)


def test_committed_frames_are_final() -> None:
    controls = live()
    controls.commit(50)
    controls.line('{"head": 0, "blend": 0}')
    head = controls.curves(0, 60).head
    assert (head[:50] == 1).all() and (head[50:] == 0).all()
    assert (controls.curves(40, 52).head == head[40:52]).all()  # asked again: the same


def test_a_preset_plays_its_keyframes_from_the_change_on_and_reset_goes_back(tmp_path: Path) -> None:
    path = tmp_path / "look.yaml"
    path.write_text("gaze: [{t: 0, yaw: 5}, {t: 1, yaw: 15}]\nemotion: {happy: 0.5}\n")
    start = Curve((0.0, 4.0), ((0.0, 0.0), (8.0, 0.0)))
    controls = live(gaze=start)
    yaw = drawn(controls, {25: {"preset": str(path)}, 75: {"reset": True}}, 120, block=1)
    np.testing.assert_allclose(yaw[51:75], 15, atol=1e-4)
    np.testing.assert_allclose(yaw[90:], controls.start.curves(120, FPS).gaze[90:, 0], atol=1e-4)
    assert controls.curves(119, 120).emotion[0, 0] == pytest.approx(0, abs=1e-6)


def test_values_stay_in_range_when_a_blend_overshoots() -> None:
    controls = live()
    seen = []
    for frame in range(60):
        if frame % 4 == 0:
            controls.line(json.dumps({"head": 2.0 if frame % 8 else 0.0, "distance": 1.8 if frame % 8 else 0.6}))
        curves = controls.curves(frame, frame + 1)
        seen.append((float(curves.head[0]), float(curves.distance[0])))
    head, distance = np.array(seen).T
    assert (head >= 0).all() and (head <= 2).all() and (distance >= 0.6 - 1e-6).all() and (distance <= 1.8 + 1e-6).all()


def test_a_blend_alone_is_for_all_later_lines_and_blend_0_is_at_once() -> None:
    controls = live()
    controls.curves(0, 1)
    controls.line('{"blend": 0}')
    controls.line('{"gaze": [7, 0]}')
    assert controls.curves(1, 2).gaze[0, 0] == 7


def test_hours_of_changes_keep_memory_constant() -> None:
    controls = live()
    for frame in range(0, 20_000, 50):
        controls.line('{"head": %g}' % (frame % 3 / 2))
        controls.curves(frame, frame + 2)
    assert len(controls._aims["head"]) < 60


# ---------------------------------------------------------------------------------------------------- descriptors


def wait_for(condition: Any, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    assert condition()


def test_writers_come_and_go_on_a_fifo(tmp_path: Path) -> None:
    fifo = tmp_path / "controls"
    os.mkfifo(fifo)
    controls, warnings = live(), []  # type: ignore[var-annotated]
    reader = ControlReader(open_control(str(fifo)), controls, warnings.append)
    reader.start()
    for i, text in enumerate(('{"gaze": [5, 0]}\n', 'nonsense\n{"head": 0.5}\n', '{"mouth"', ": 0.2}\n\n")):
        fifo.write_text(text)
        if i != 2:
            wait_for(lambda n=i: controls.changes >= (1, 2, 2, 3)[n])
    reader.close()
    assert controls.changes == 3
    assert len(warnings) == 1 and "nonsense" in warnings[0]


def test_a_descriptor_is_read_to_its_end_and_its_last_line_counts() -> None:
    read, write = os.pipe()
    controls, warnings = live(), []  # type: ignore[var-annotated]
    reader = ControlReader(open_control(str(read)), controls, warnings.append)
    reader.start()
    os.write(write, b'{"gaze": [5, 0]}')
    os.close(write)
    wait_for(lambda: controls.changes == 1)
    reader.close()
    assert warnings == []


def test_endless_lines_are_ignored_once() -> None:
    controls, warnings = live(), []  # type: ignore[var-annotated]
    reader = ControlReader(-1, controls, warnings.append)
    for _ in range(5):
        reader.feed(b"x" * LINE_LIMIT)
    reader.feed(b'yyy\n{"head": 0}\n')
    assert controls.changes == 1 and len(warnings) == 1


def test_places_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such open descriptor"):
        open_control("987")
    with pytest.raises(InputError, match="mkfifo"):
        open_control(str(tmp_path / "absent"))


def test_lines_and_curves_from_two_threads() -> None:
    controls = live()
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            controls.line('{"gaze": [3, 1], "emotion": {"sad": 1}}')
            time.sleep(0.001)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for frame in range(100):
            assert len(controls.curves(frame, frame + 3)) == 3
    finally:
        stop.set()
        thread.join()
