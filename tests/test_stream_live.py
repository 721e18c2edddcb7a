"""Streams in time, through real pipes and with a cheap engine: paced sound, bursts, gaps, slow readers and machines, control."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from fake_stream import SIDE, FakeEngine

from vasa_cli.errors import EncoderError, InputError, UsageError
from vasa_cli.progress import Reporter
from vasa_cli.stream.clock import Policy
from vasa_cli.stream.pcm import PcmFormat
from vasa_cli.stream.run import StreamRequest, stream
from vasa_cli.stream.session import Stop
from vasa_cli.stream.source import SoundInput
from vasa_cli.stream.summary import Summary

RATE = 16000
FRAME = RATE // 25
PICTURE = len(b"FRAME\n") + SIDE * SIDE * 3 // 2
Write = Callable[[io.FileIO], None]


class Notes(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def portrait(tmp_path: Path) -> Path:
    path = tmp_path / "portrait.png"
    path.write_bytes(b"never looked at by the fake engine")
    return path


class Run:
    """A stream fed through a FIFO by `write`, in this process."""

    def __init__(self, folder: Path, write: Write, *, cost: float = 0.0, look: int = 2, **more: Any) -> None:
        self.fifo, self.out = folder / "in.pcm", folder / more.pop("name", "out.y4m")
        os.mkfifo(self.fifo)
        self.notes, self.engine, stop = Notes(), None, more.pop("stop", None)
        container = self.out.suffix[1:]
        output = None if "fd" in more else self.out
        sound = SoundInput(self.fifo, more.pop("form", PcmFormat("s16le", RATE, 1)))
        request = StreamRequest(folder / "portrait.png", sound, output, container, encoder="x264", **more)

        def run() -> None:
            with contextlib.suppress(BrokenPipeError), self.fifo.open("wb", buffering=0) as f:
                write(f)

        def engine(request: Any, controls: Any, reporter: Any) -> FakeEngine:
            self.engine = FakeEngine(controls, cost=cost, look=look)
            threading.Thread(target=run, daemon=True).start()
            return self.engine

        start = time.monotonic()
        self.summary: Summary = stream(request, self.notes, stop, engine)
        self.seconds = time.monotonic() - start

    @property
    def bright(self) -> np.ndarray:
        """Brightness of all frames of a y4m output."""
        return brightness(self.out.read_bytes())


def brightness(data: bytes) -> np.ndarray:
    body = data[data.index(b"\n") + 1 :]
    assert len(body) % PICTURE == 0
    return np.frombuffer(body, np.uint8).reshape(-1, PICTURE)[:, 6 : 6 + SIDE * SIDE].mean(1) > 100


def sound(frames: int, clicks: tuple[int, ...] = ()) -> bytes:
    """Silence of so many frames, with loud ones."""
    out = np.zeros((frames, FRAME), "<i2")
    out[list(clicks)] = 30000
    return out.tobytes()


def paced(f: io.FileIO, data: bytes, step: float = 0.02, speed: float = 1.0) -> None:
    start, size = time.monotonic(), int(step * RATE) * 2
    for i in range(0, len(data), size):
        time.sleep(max(0.0, start + (i + size) / 2 / RATE / speed - time.monotonic()))
        f.write(data[i : i + size])


# ---------------------------------------------------------------------------------------------------- sound in time


def test_a_microphone(tmp_path: Path, portrait: Path) -> None:
    done = Run(tmp_path, lambda f: paced(f, sound(40, (10, 30))))
    assert (done.summary.frames, done.summary.frames_idle, done.summary.frames_repeated) == (40, 0, 0)
    assert np.flatnonzero(done.bright).tolist() == [10, 30]
    median = done.summary.latency(0.5)
    assert median is not None and 0.07 < median < 0.5  # two frames of look-ahead
    assert any("no sound" in line for line in done.notes.lines)


def test_bursts_lose_nothing(tmp_path: Path, portrait: Path) -> None:
    def write(f: io.FileIO) -> None:
        for part in range(4):
            f.write(sound(10, (part,)))
            time.sleep(0.4)

    done = Run(tmp_path, write, policy=Policy(patience=1.0))
    assert np.flatnonzero(done.bright).tolist() == [0, 11, 22, 33]
    assert (done.summary.frames, done.summary.frames_idle) == (40, 0)


def test_a_recording_at_once_is_as_fast_as_the_machine(tmp_path: Path, portrait: Path) -> None:
    clicks = tuple(range(0, 2000, 97))
    done = Run(tmp_path, lambda f: f.write(sound(2000, clicks)) and None)
    assert np.flatnonzero(done.bright).tolist() == list(clicks)
    assert done.seconds < 40 and done.summary.frames_idle == 0


def test_a_gap_is_idled_through_and_the_sound_goes_on(tmp_path: Path, portrait: Path) -> None:
    """1.5 s of nothing: frames keep leaving, dark ones, and what comes later is whole; pictures and sound stay as long.
    (On a busy machine the stream itself may begin late, and then finds a shorter gap.)"""

    def write(f: io.FileIO) -> None:
        paced(f, sound(10, (5,)))
        time.sleep(1.5)
        paced(f, sound(10, (2, 3)))

    done = Run(tmp_path, write, name="out.mkv", policy=Policy(patience=0.2))
    idle = done.summary.frames_idle
    assert 5 <= idle <= 42
    assert done.summary.frames == 20 + idle
    with av.open(str(done.out)) as file:
        lit = [k for k, p in enumerate(file.decode(video=0)) if p.to_ndarray(format="gray").mean() > 100]
    assert lit == [5, 12 + idle, 13 + idle]
    with av.open(str(done.out)) as file:
        loud = np.concatenate([np.abs(b.to_ndarray()[0]) for b in file.decode(audio=0)])[: done.summary.frames * FRAME]
    heard = np.flatnonzero(loud.reshape(-1, FRAME).mean(1) > 0.4)
    assert heard.tolist() == lit


def test_frames_keep_leaving_in_a_gap(tmp_path: Path, portrait: Path) -> None:
    read, write_end = os.pipe()
    times: list[float] = []

    def look() -> None:
        while os.read(read, PICTURE):
            times.append(time.monotonic())

    reader = threading.Thread(target=look)
    reader.start()

    def write(f: io.FileIO) -> None:
        paced(f, sound(5))
        time.sleep(1.0)

    done = Run(tmp_path, write, fd=write_end, policy=Policy(patience=0.2))
    os.close(write_end)
    reader.join()
    os.close(read)
    assert done.summary.frames_idle > 5
    assert max(np.diff(times)) < 0.2 + 0.04 + 0.25  # the patience once, then one each 40 ms; the rest is for a busy machine


def test_a_slow_producer_can_be_waited_for(tmp_path: Path, portrait: Path) -> None:
    def write(f: io.FileIO) -> None:
        for part in range(3):
            f.write(sound(10, (part,))[: FRAME * 2 * 10 - 776])
            time.sleep(0.5)

    done = Run(tmp_path, write, policy=Policy(on_gap="wait"))
    assert done.summary.frames_idle == 0
    assert done.summary.frames == 29 and done.bright.sum() >= 3  # 3 x 9.4 frames of sound


def test_the_last_frame_is_completed(tmp_path: Path, portrait: Path) -> None:
    done = Run(tmp_path, lambda f: f.write(sound(7) + b"\0\0" * 100) and None, name="out.mp4")
    assert done.summary.frames == 8
    with av.open(str(done.out)) as file:
        assert sum(b.samples for b in file.decode(audio=0)) >= 8 * FRAME


def test_no_sound_at_all_is_an_error_and_leaves_nothing(tmp_path: Path, portrait: Path) -> None:
    with pytest.raises(InputError, match="no sound"):
        Run(tmp_path, lambda f: None)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.pcm", "portrait.png"]


# ---------------------------------------------------------------------------------------------------- slow readers and machines


def test_a_reader_that_stops_makes_the_sound_wait_and_loses_nothing(tmp_path: Path, portrait: Path) -> None:
    read, write_end = os.pipe()
    data: list[bytes] = []
    gone = threading.Event()
    held: list[bool] = []

    def look() -> None:
        time.sleep(1.2)
        held.append(not gone.is_set())
        while block := os.read(read, 1 << 16):
            data.append(block)

    reader = threading.Thread(target=look)
    reader.start()
    clicks = tuple(range(3, 1500, 50))

    def write(f: io.FileIO) -> None:
        f.write(sound(1500, clicks))
        gone.set()

    done = Run(tmp_path, write, fd=write_end)
    os.close(write_end)
    reader.join()
    os.close(read)
    assert held == [True]  # a minute of sound did not disappear into a buffer
    assert (done.summary.frames, done.summary.frames_idle, done.summary.frames_repeated) == (1500, 0, 0)
    assert np.flatnonzero(brightness(b"".join(data))).tolist() == list(clicks)


def test_a_slow_machine_repeats_pictures_when_asked(tmp_path: Path, portrait: Path) -> None:
    """Each picture takes twice its time: with --on-slow repeat the stream keeps up with the clock, every frame is there."""
    done = Run(tmp_path, lambda f: paced(f, sound(75)), cost=0.08, policy=Policy(on_slow="repeat"))
    assert done.summary.frames == 75
    assert done.summary.frames_repeated >= 10
    assert done.engine is not None and done.engine.skipped == done.summary.frames_repeated
    p95 = done.summary.latency(0.95)
    assert p95 is not None and p95 < 1.2
    assert done.seconds < 5


def test_a_slow_machine_otherwise_draws_everything(tmp_path: Path, portrait: Path) -> None:
    done = Run(tmp_path, lambda f: paced(f, sound(25, (4, 20)), speed=2), cost=0.06)
    assert (done.summary.frames, done.summary.frames_repeated) == (25, 0)
    assert np.flatnonzero(done.bright).tolist() == [4, 20]


def test_a_reader_that_leaves_ends_the_stream_quietly(tmp_path: Path, portrait: Path) -> None:
    for name in ("out.y4m", "out.ts"):
        read, write_end = os.pipe()
        threading.Thread(target=lambda fd=read: (os.read(fd, 100), os.close(fd)), daemon=True).start()
        folder = tmp_path / name
        folder.mkdir()
        (folder / "portrait.png").write_bytes(b"x")
        done = Run(folder, lambda f: paced(f, sound(250)), fd=write_end, name=name)
        os.close(write_end)
        assert done.summary.consumer_left and done.seconds < 8


def test_a_fifo_can_be_the_output(tmp_path: Path, portrait: Path) -> None:
    """It stays what it is; its reader gets the stream and its end."""
    place, data = tmp_path / "out.ts", list[bytes]()
    os.mkfifo(place)
    reader = threading.Thread(target=lambda: data.append(place.read_bytes()))
    reader.start()
    done = Run(tmp_path, lambda f: paced(f, sound(10)), name="out.ts")
    reader.join(10)
    assert done.summary.frames >= 10 and place.is_fifo()
    assert len(data[0]) > 188 * 10 and data[0][0] == data[0][188] == 0x47
    assert not any(".part" in p.name for p in tmp_path.iterdir())


def test_an_engine_that_fails_leaves_its_part_and_says_so(tmp_path: Path, portrait: Path) -> None:
    class Broken(FakeEngine):
        def hear(self, samples: np.ndarray) -> None:
            super().hear(samples)
            if len(self.heard) > 20 * FRAME:
                raise EncoderError("broken")

    (tmp_path / "in.raw").write_bytes(sound(100))
    request = StreamRequest(portrait, SoundInput(tmp_path / "in.raw", PcmFormat("s16le", RATE, 1), True), tmp_path / "o.mp4")
    with pytest.raises(EncoderError, match=r"broken; what was written until then is in .*o\.mp4\.part"):
        stream(request, None, None, lambda r, c, n: Broken(c))
    assert not (tmp_path / "o.mp4").exists()


def test_being_stopped_finishes_what_was_heard(tmp_path: Path, portrait: Path) -> None:
    stop = Stop()

    def write(f: io.FileIO) -> None:
        paced(f, sound(20))
        stop.event.set()
        paced(f, sound(200))

    done = Run(tmp_path, write, stop=stop, name="out.mp4")
    assert 18 <= done.summary.frames <= 24
    with av.open(str(done.out)) as file:
        assert sum(1 for _ in file.decode(video=0)) == done.summary.frames


# ---------------------------------------------------------------------------------------------------- control


@pytest.mark.parametrize("kind", ["fifo", "descriptor"])
def test_controls_change_the_pictures_while_they_leave(tmp_path: Path, portrait: Path, kind: str) -> None:
    place, end = tmp_path / "control", -1
    os.mkfifo(place)
    read, end = os.pipe()

    def say(line: str) -> None:
        if kind == "fifo":
            place.write_text(line)
        else:
            os.write(end, line.encode())

    def write(f: io.FileIO) -> None:
        paced(f, sound(15))
        say('{"head": 9}\n{"head": 0, "blend": 0.2}\n')
        paced(f, sound(20))
        say('{"reset": true}\n')
        paced(f, sound(20))

    done = Run(tmp_path, write, control=str(place) if kind == "fifo" else str(read))
    os.close(end)
    body = done.out.read_bytes()
    frames = np.frombuffer(body[body.index(b"\n") + 1 :], np.uint8).reshape(-1, PICTURE)
    head = (frames[:, 6 + SIDE * SIDE].astype(float) - 128) / 50
    assert (head[:11] == 1).all() and head[25:33].max() < 0.05 and head[-3:].min() > 0.95
    assert np.abs(np.diff(head)).max() < 0.4
    assert done.summary.controls == 2
    assert sum("0 to 2" in line for line in done.notes.lines) == 1


# ---------------------------------------------------------------------------------------------------- what cannot be right


def test_requests_that_cannot_be_right(tmp_path: Path, portrait: Path) -> None:
    from vasa_cli.picture import picture_options
    from vasa_cli.requests import MotionOptions
    from vasa_cli.video.background import parse_background

    clear = picture_options(None, None, parse_background("transparent"))
    (tmp_path / "a.raw").write_bytes(sound(3))
    raw = SoundInput(tmp_path / "a.raw", PcmFormat("s16le", RATE, 1))
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"picture": clear}, UsageError, "transparency"),
        ({"motion": MotionOptions(speech="phonetics")}, UsageError, "whole recordings"),
        ({"control": "0", "sound": SoundInput()}, UsageError, "standard input"),
        ({"control": str(tmp_path / "absent")}, InputError, "mkfifo"),
        ({"sound": SoundInput(tmp_path / "absent.wav")}, InputError, "no such recording"),
        ({"output": portrait}, UsageError, "exists already"),
        ({"output": tmp_path / "a.raw", "overwrite": True}, UsageError, "also the input"),
    ]
    for more, kind, words in cases:
        with pytest.raises(kind, match=words):
            stream(StreamRequest(portrait, **{"sound": raw, "output": tmp_path / "o.mp4", **more}), None, None, None)
