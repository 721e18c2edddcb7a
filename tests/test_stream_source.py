"""Sound that comes in: pipes, FIFOs, files; in any pieces, paced or not, and bounded."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vasa_cli.errors import InputError
from vasa_cli.stream.pcm import PcmFormat
from vasa_cli.stream.source import BUFFER_SECONDS, SoundBuffer, SoundInput, SoundSource

RATE = 16000


def drain(source: SoundSource) -> np.ndarray:
    out = []
    while not source.ended:
        piece = source.get(10**9, 0.2)
        if piece is not None:
            out.append(piece.samples)
    return np.concatenate(out) if out else np.zeros((0, 1), np.float32)


def through_a_fifo(tmp_path: Path, write: Callable[[io.BufferedWriter], None], sound: dict[str, object]) -> SoundSource:
    fifo = tmp_path / "in.wav"
    os.mkfifo(fifo)

    def run() -> None:
        with fifo.open("wb", buffering=0) as f:
            write(f)  # type: ignore[arg-type]

    source = SoundSource(SoundInput(fifo, **sound))  # type: ignore[arg-type]
    source.open()
    threading.Thread(target=run, daemon=True).start()
    return source


def wav_bytes(samples: np.ndarray, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def noise(seconds: float, channels: int = 1, rate: int = RATE) -> np.ndarray:
    return np.random.default_rng(1).uniform(-0.5, 0.5, (round(seconds * rate), channels)).astype(np.float32)


def test_a_wav_stream_in_odd_pieces(tmp_path: Path) -> None:
    sound = noise(0.5, 2, 44100)
    data = wav_bytes(sound, 44100)

    def write(f: io.BufferedWriter) -> None:
        for start in range(0, len(data), 4999):
            f.write(data[start : start + 4999])
            time.sleep(0.001)

    source = through_a_fifo(tmp_path, write, {})
    assert source.form() == PcmFormat("s16le", 44100, 2)
    np.testing.assert_allclose(drain(source), sound, atol=1e-4)
    source.close()


def test_raw_sound_is_known_before_it_comes(tmp_path: Path) -> None:
    form = PcmFormat("f32le", 48000, 1)
    sound = noise(0.2, 1, 48000)
    source = through_a_fifo(tmp_path, lambda f: f.write(sound.astype("<f4").tobytes() + b"\1\2"), {"form": form})
    assert source.form() == form
    np.testing.assert_array_equal(drain(source), sound)
    source.close()


@pytest.mark.parametrize(("name", "subtype"), [("x.flac", "PCM_16"), ("x.ogg", "VORBIS"), ("x.wav", "PCM_24")])
def test_any_recording_is_decoded_while_it_is_read(tmp_path: Path, name: str, subtype: str) -> None:
    sound = noise(1.0, 2, 44100) * np.hanning(44100)[:, None].astype(np.float32)
    soundfile.write(tmp_path / name, sound, 44100, subtype=subtype)
    source = SoundSource(SoundInput(tmp_path / name))
    source.open()
    assert (source.form().rate, source.form().channels) == (44100, 2)
    got = drain(source)
    assert len(got) == pytest.approx(44100, abs=2000 if subtype == "VORBIS" else 0)
    if subtype != "VORBIS":
        np.testing.assert_allclose(got, sound, atol=1e-4)
    source.close()


def test_a_paced_file_comes_like_a_microphone(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", noise(0.5), RATE)
    source = SoundSource(SoundInput(tmp_path / "x.wav", realtime=True))
    source.open()
    source.form()
    time.sleep(0.1)
    assert source.get(10**9, 0) is None  # nobody hears yet
    start = time.monotonic()
    source.go()
    while not source.ended:
        piece = source.get(10**9, 0.2)
        if piece is not None:
            assert len(piece.samples) <= RATE // 50
    assert time.monotonic() - start >= 0.49
    source.close()


def test_the_buffer_makes_its_producer_wait() -> None:
    read, write = os.pipe()
    source = SoundSource(SoundInput(form=PcmFormat("s16le", RATE, 1)))
    source._open_fd = lambda: read  # type: ignore[method-assign]
    source.open()
    os.set_blocking(write, False)
    sent, quiet = 0, 0
    while quiet < 20:
        try:
            sent += os.write(write, b"\0" * 32000)
            quiet = 0
        except BlockingIOError:
            quiet += 1
            time.sleep(0.01)
    assert sent < (BUFFER_SECONDS + 6) * RATE * 2  # and what the pipe and one read hold
    os.close(write)
    assert len(drain(source)) == sent // 2  # nothing was lost
    source.close()


def test_pieces_are_cut_and_keep_their_arrival() -> None:
    buffer = SoundBuffer()
    buffer.put(np.arange(10, dtype=np.float32)[:, None])
    first, rest = buffer.get(4, 0), buffer.get(100, 0)
    assert first is not None and rest is not None
    assert first.samples[:, 0].tolist() == [0, 1, 2, 3] and len(rest.samples) == 6
    assert first.arrival == rest.arrival
    assert buffer.get(1, 0) is None and not buffer.ended
    buffer.end()
    assert buffer.ended


def test_closing_frees_a_producer_that_waits() -> None:
    buffer = SoundBuffer()
    buffer.bound(10)
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(buffer.put(np.zeros((20, 1), np.float32))))
    thread.start()
    buffer.close()
    thread.join(5)
    assert results == [False]


@pytest.mark.parametrize(
    ("data", "word"),
    [(b"", "no sound came"), (b"RIFF1234WAVEfm", "within the WAV header"), (b"fLaC" + b"\0" * 50, "no WAV header")],
)
def test_streams_that_are_none(tmp_path: Path, data: bytes, word: str) -> None:
    source = through_a_fifo(tmp_path, lambda f: f.write(data), {})
    with pytest.raises(InputError, match=word):
        source.form()
    source.close()


def test_files_that_are_no_recordings(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such recording"):
        SoundSource(SoundInput(tmp_path / "absent.wav")).open()
    (tmp_path / "text.wav").write_text("hello " * 100)
    source = SoundSource(SoundInput(tmp_path / "text.wav"))
    source.open()
    with pytest.raises(InputError, match="decoded"):
        source.form()
    source.close()
