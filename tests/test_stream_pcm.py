"""Sound as bytes: sample formats, WAV streams of unknown length, pieces that end anywhere."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from vasa_cli.errors import InputError
from vasa_cli.stream.pcm import PcmDecoder, PcmFormat, WavReader, check_format

SOUND = np.linspace(-0.9, 0.9, 400, dtype=np.float32).reshape(-1, 2)  # (200, 2)


def chunk(kind: bytes, body: bytes, size: int | None = None) -> bytes:
    return kind + struct.pack("<I", len(body) if size is None else size) + body


def fmt(code: int = 1, channels: int = 2, rate: int = 44100, bits: int = 16, more: bytes = b"") -> bytes:
    align = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", code, channels, rate, rate * align, align, bits) + more)


def wav(body: bytes, *, size: int | None = None, head: bytes = b"", tail: bytes = b"", form: bytes | None = None) -> bytes:
    inner = b"WAVE" + head + (fmt() if form is None else form) + chunk(b"data", body, size) + tail
    return b"RIFF" + struct.pack("<I", len(inner)) + inner


def read(data: bytes, step: int) -> tuple[PcmFormat | None, bytes]:
    reader, out = WavReader("x.wav"), b""
    for start in range(0, len(data), step):
        out += reader.push(data[start : start + step])
    return reader.form, out + reader.finish()


BODY = (SOUND * 32767).astype("<i2").tobytes()


@pytest.mark.parametrize("step", [1, 7, 43, 44, 45, 10_000])
@pytest.mark.parametrize("size", [None, 0, 0xFFFFFFFF, 0x7FFFF000, 100, 101])
def test_any_wav_stream_gives_all_its_sound(step: int, size: int | None) -> None:
    """Sizes of writers that did not know, honest ones, too small ones; headers cut at any byte."""
    form, sound = read(wav(BODY, size=size), step)
    assert form == PcmFormat("s16le", 44100, 2)
    assert sound == BODY


@pytest.mark.parametrize("step", [1, 13, 10_000])
def test_chunks_around_the_sound_are_no_sound(step: int) -> None:
    data = wav(BODY, head=chunk(b"JUNK", b"a" * 28) + chunk(b"bext", b"b" * 603 + b"\0"), tail=chunk(b"LIST", b"INFOISFT1234"))
    assert read(data, step) == (PcmFormat("s16le", 44100, 2), BODY)
    odd = wav(b"\x80" * 7, form=fmt(bits=8, channels=1), tail=b"\0" + chunk(b"id3 ", b"x" * 20))
    assert read(odd, step) == (PcmFormat("u8", 44100, 1), b"\x80" * 7)


def test_every_kind_of_sample_gives_the_same_sound() -> None:
    """Compared with what libsndfile wrote."""
    import soundfile

    for subtype, code, tolerance in (
        ("PCM_U8", "u8", 2 / 128),
        ("PCM_16", "s16le", 1e-4),
        ("PCM_24", "s24le", 1e-6),
        ("PCM_32", "s32le", 1e-6),
        ("FLOAT", "f32le", 1e-7),
        ("DOUBLE", "f64le", 1e-7),
    ):
        for container in ("WAV", "WAVEX"):
            file = io.BytesIO()
            soundfile.write(file, SOUND, 8000, subtype=subtype, format=container)
            form, data = read(file.getvalue(), 997)
            assert form == PcmFormat(code, 8000, 2)
            decoder = PcmDecoder(form)
            parts = [decoder.push(data[i : i + 5]) for i in range(0, len(data), 5)]
            assert all(p.dtype == np.float32 and p.shape[1] == 2 for p in parts)
            np.testing.assert_allclose(np.concatenate(parts), SOUND, atol=tolerance)


def test_a_sample_cut_in_two_is_joined_and_the_last_rest_waits() -> None:
    decoder = PcmDecoder(PcmFormat("s16le", 16000, 2))
    parts = [decoder.push(BODY[i : i + 3]) for i in range(0, len(BODY) - 1, 3)]
    whole = (np.frombuffer(BODY, "<i2").reshape(-1, 2) / 32768).astype(np.float32)
    np.testing.assert_array_equal(np.concatenate([*parts, decoder.push(BODY[-1:])])[: len(whole)], whole)


def test_floats_that_are_no_numbers_become_silence() -> None:
    data = np.array([0.5, np.nan, np.inf, -np.inf, -0.5], "<f4").tobytes()
    assert PcmDecoder(PcmFormat("f32le", 16000, 1)).push(data)[:, 0].tolist() == [0.5, 0, 0, 0, -0.5]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "no sound"),
        (b"RIFF\0\0\0\0WA", "within the WAV header"),
        (b"ID3\x04\0\0\0", "no WAV header"),
        (b"RIFF\0\0\0\0AVI LIST", "not WAV"),
        (wav(BODY, form=fmt(code=7, bits=8)), "code 7"),
        (wav(BODY, form=fmt(rate=0)), "0 Hz"),
        (wav(BODY, form=fmt(channels=99)), "99 channels"),
        (wav(BODY, form=b""), "without a format"),
        (b"RIFF\0\0\0\0WAVE" + chunk(b"JUNK", b"", 1 << 30), "first megabyte"),
    ],
)
def test_what_is_no_wav_is_said_in_one_line(data: bytes, word: str) -> None:
    with pytest.raises(InputError, match=word) as caught:
        read(data, 5)
    assert "x.wav" in str(caught.value) and "\n" not in str(caught.value)


def test_formats_outside_the_sensible_are_refused() -> None:
    for form in (PcmFormat("s16le", 100, 1), PcmFormat("s16le", 16000, 0), PcmFormat("s16le", 10**7, 2)):
        with pytest.raises(InputError, match="allowed"):
            check_format(form, "--rate")
