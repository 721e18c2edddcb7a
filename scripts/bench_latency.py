"""How long until the first frame? From a cold start, in a warm process, and from sound in to frame out through real pipes."""

from __future__ import annotations

import struct
import subprocess
import sys
import threading
import time
from typing import IO, Any

import numpy as np
from bench_common import FPS, Bench, environment, p95, vasa
from results import table

CHUNK = 640  # samples of 16 kHz: 40 ms, as a sound card brings them
RATE = 16000


def latency(bench: Bench) -> str:
    """Cold start of `render`; an engine that is warm; `stream`, paced like a microphone."""
    rows = [cold(bench), *warm(bench), *streamed(bench, 1.6 if bench.quick else 20.0)]
    return table(["first frame and every frame", "runs", "median ms", "95 % ms", "least ms", "most ms"], rows)


def row(label: str, seconds: list[float]) -> list[object]:
    ordered = sorted(seconds)
    middle = ordered[len(ordered) // 2]
    return [label, len(ordered), *(f"{1e3 * x:.0f}" for x in (middle, p95(ordered), ordered[0], ordered[-1]))]


def cold(bench: Bench) -> list[object]:
    """Process start to the first frame in the encoder's pipe, cached face, a minute of sound."""
    seconds = 1.0 if bench.quick else 60.0
    vasa(bench, "render", bench.photo, bench.speech(0.2), "-o", bench.folder / "w.mp4", "--overwrite", "-q")
    seen = []
    for _ in range(1 if bench.quick else 5):
        started = _first_only(bench, seconds)
        seen.append(started)
    return row("cold `vasa render` of a minute, cached face: process start to the first frame written", seen)


_FIRST = """
import sys, time
from vasa_cli import cli
from vasa_cli.runtime import process_start
from vasa_cli.video import writer
real = writer.VideoWriter.write
def write(self, frames):
    real(self, frames)
    print(self.first_at - process_start(), flush=True)
    raise KeyboardInterrupt
writer.VideoWriter.write = write
sys.argv[0] = "vasa"
cli.main()
"""


def _first_only(bench: Bench, seconds: float) -> float:
    """The real command, interrupted when its first frame is written."""
    arguments = ["render", bench.photo, bench.speech(seconds), "-o", bench.folder / "c.mp4", "--overwrite", "-q"]
    command = [sys.executable, "-c", _FIRST, *map(str, arguments), "--weights", bench.weights, "--device", bench.device]
    done = subprocess.run(command, env=environment(bench), capture_output=True, text=True)
    if done.returncode != 130:
        raise RuntimeError(done.stderr[-500:])
    return float(done.stdout)


def warm(bench: Bench) -> list[list[object]]:
    """Computing alone, no waiting: everything is loaded, a session begins, its sound is at hand. First frame: from the first
    sample to the first frame; further: what each 40 ms of sound costs, frames drawn."""
    from vasa_cli.device import reuse_memory
    from vasa_cli.pipeline import MotionOptions, steady
    from vasa_cli.progress import Reporter
    from vasa_cli.speech.audio import load_speech
    from vasa_cli.stream.control import LiveControls
    from vasa_cli.stream.run import StreamRequest, open_face_engine

    reuse_memory()
    samples = np.tile(load_speech(bench.speech(4.0)).samples, 3)
    firsts: list[float] = []
    turns: list[float] = []
    request = StreamRequest(
        bench.photo, motion=MotionOptions(weights=bench.weights, device=bench.device), cache_dir=bench.cache
    )  # fmt: skip
    with steady():
        for number in range(2 if bench.quick else 8):
            engine = open_face_engine(request, LiveControls(request.motion.controls, engine_fps()), Reporter())
            first, each = _session(engine, samples, 30 if bench.quick else 150)
            engine.close()
            if number:  # the first one warms up
                firsts.append(first)
                turns += each
    return [
        row("warm process, computing alone: first sample to first frame", firsts),
        row("warm process, computing alone: each further 40 ms of sound", turns),
    ]


def engine_fps() -> Any:
    from vasa_cli.stream.engine import FPS as fps

    return fps


def _session(engine: Any, samples: np.ndarray, chunks: int) -> tuple[float, list[float]]:
    """(seconds of work until the first frame, seconds of each later turn)."""
    first, turns, spent = None, [], 0.0
    for i in range(chunks):
        start = time.perf_counter()
        engine.hear(samples[i * CHUNK : (i + 1) * CHUNK])
        frames = sum(len(block) for block in engine.draw())
        taken = time.perf_counter() - start
        if first is None:
            spent += taken
            first = spent if frames else None
        else:
            turns.append(taken)
    assert first is not None
    return first, turns


def streamed(bench: Bench, seconds: float) -> list[list[object]]:
    """The real command through pipes: 40 ms of sound at a time at a microphone's pace in, fragments of MP4 out. A frame's latency
    counts from when the last of its own 40 ms was written to when the frame could be read; the first second is the start."""
    from vasa_cli.speech.audio import load_speech

    pcm = (np.resize(load_speech(bench.speech(4.0)).samples, round(seconds * RATE)) * 32767).astype("<i2")
    command = [sys.executable, "-m", "vasa_cli", "stream", bench.photo, "--format", "s16le", "--rate", RATE, "-q"]
    command += ["--weights", bench.weights, "--device", bench.device, "--container", "mp4", "--on-gap", "wait"]
    process = subprocess.Popen(
        [str(word) for word in command], env=environment(bench), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    written: list[float] = []
    warmed = 0.0 if bench.quick else 10.0  # a microphone that is plugged in once the engine is up
    feeder = threading.Thread(target=_feed, args=(process.stdin, pcm, written, warmed))
    feeder.start()
    arrived = frame_times(process.stdout)
    feeder.join()
    errors = process.stderr.read().decode() if process.stderr else ""
    if process.wait():
        raise RuntimeError(errors[-500:])
    late = [at - written[min(i, len(written) - 1)] for i, at in enumerate(arrived)]
    missing = len(written) - len(arrived)
    label = f"`vasa stream`, pipes, {seconds:g} s paced: sound of a frame complete to frame out ({missing} frames missing)"
    skip = 0 if bench.quick else FPS
    return [row("`vasa stream`: the first frame, from its sound complete", late[:1]), row(label, late[skip:])]


def _feed(pipe: IO[bytes], pcm: np.ndarray, written: list[float], wait: float) -> None:
    """Write 40 ms of sound every 40 ms, noting when."""
    time.sleep(wait)
    start = time.perf_counter()
    for i in range(0, len(pcm), CHUNK):
        due = start + (i + CHUNK) / RATE
        time.sleep(max(0.0, due - time.perf_counter()))
        pipe.write(pcm[i : i + CHUNK].tobytes())
        pipe.flush()
        written.append(time.perf_counter())
    pipe.close()


def frame_times(pipe: IO[bytes]) -> list[float]:
    """When each video frame of a fragmented MP4 had come whole (ISO/IEC 14496-12: moof tells how many samples of which track the
    following mdat holds)."""
    times: list[float] = []
    pending, video = 0, None
    while len(head := pipe.read(8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        body = pipe.read(size - 8)
        if kind == b"moov":
            video = _video_track(body)
        elif kind == b"moof":
            pending = _samples(body, video)
        elif kind == b"mdat":
            times += [time.perf_counter()] * pending
            pending = 0
    return times


def _boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 0
    while at + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        found.append((kind, data[at + 8 : at + size]))
        at += max(size, 8)
    return found


def _video_track(moov: bytes) -> int:
    """The identifier of the track whose handler is `vide`."""
    for kind, trak in _boxes(moov):
        if kind == b"trak":
            parts = dict(_boxes(trak))
            if dict(_boxes(parts[b"mdia"]))[b"hdlr"][8:12] == b"vide":
                wide = parts[b"tkhd"][0] == 1
                return int(struct.unpack(">I", parts[b"tkhd"][20:24] if wide else parts[b"tkhd"][12:16])[0])
    raise ValueError("no video track")


def _samples(moof: bytes, track: int | None) -> int:
    """Samples of this track in a fragment."""
    count = 0
    for kind, traf in _boxes(moof):
        if kind == b"traf":
            parts = _boxes(traf)
            if struct.unpack(">I", dict(parts)[b"tfhd"][4:8])[0] == track:
                count += sum(struct.unpack(">I", body[4:8])[0] for name, body in parts if name == b"trun")
    return count
