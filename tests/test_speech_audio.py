"""Reading recordings: what works, and how the rest fails."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vasa_cli.errors import InputError
from vasa_cli.speech.audio import RATE, load_speech, n_frames, resample, silences, write_wav


def tone(seconds: float, rate: int = RATE, hz: float = 440.0) -> np.ndarray:
    return (0.4 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize(
    ("samples", "rate", "fps", "frames"),
    [
        (16000, 16000, Fraction(25), 25),
        (16001, 16000, Fraction(25), 26),
        (1, 48000, Fraction(25), 1),
        (44100 * 3600, 44100, Fraction(30000, 1001), 107893),
        (0, 16000, Fraction(25), 0),
    ],
)
def test_frames_are_counted_in_integers(samples: int, rate: int, fps: Fraction, frames: int) -> None:
    assert n_frames(samples, rate, fps) == frames


def test_reads_wav_and_keeps_the_exact_length(tmp_path: Path) -> None:
    path = tmp_path / "höre mal 音.wav"
    write_wav(path, tone(0.7)[:11111])
    speech = load_speech(path)
    assert (speech.source_rate, speech.source_samples, len(speech.samples)) == (RATE, 11111, 11111)
    assert speech.samples.dtype == np.float32
    assert np.abs(speech.samples - tone(0.7)[:11111]).max() < 1e-3


def test_stereo_at_96_khz_becomes_mono_at_16(tmp_path: Path) -> None:
    import soundfile

    path = tmp_path / "wide.flac"
    left = tone(1.0, 96000, 300.0)
    soundfile.write(path, np.stack([left, 0 * left], axis=1), 96000, subtype="PCM_24")
    speech = load_speech(path)
    assert (speech.source_rate, speech.source_samples, len(speech.samples)) == (96000, 96000, 16000)
    assert np.abs(speech.samples - 0.5 * tone(1.0, RATE, 300.0))[500:-500].max() < 0.01


def test_a_tenth_of_a_second_and_a_single_sample(tmp_path: Path) -> None:
    for n in (1600, 1):
        write_wav(tmp_path / "short.wav", tone(0.2)[:n])
        assert len(load_speech(tmp_path / "short.wav").samples) == n


def test_reads_the_sound_of_other_containers_through_ffmpeg(tmp_path: Path) -> None:
    from vasa_cli.video.ffmpeg import find_ffmpeg

    write_wav(tmp_path / "a.wav", tone(1.0))
    for name in ("a b.mp4", "c.m4a"):
        command = [str(find_ffmpeg()), "-v", "error", "-i", str(tmp_path / "a.wav"), "-c:a", "aac", str(tmp_path / name)]
        subprocess.run(command, check=True)
        speech = load_speech(tmp_path / name)
        assert abs(speech.seconds - 1.0) < 0.15
        assert np.abs(speech.samples[4000:12000]).max() > 0.3


def test_resampling_is_the_same_every_time() -> None:
    sound = tone(1.0, 44100)
    assert np.array_equal(resample(sound, 44100), resample(sound.copy(), 44100))
    assert len(resample(sound[:44099], 44100)) == 16000


def test_clipping_never_leaves_the_range() -> None:
    assert np.abs(resample(np.sign(tone(0.5, 22050)) * 1.5, 22050)).max() <= 1.0


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.wav", b"", "empty"),
        ("text.wav", b"this is no sound at all, just words\n" * 20, "not a recording"),
        ("cut.wav", b"RIFF\x24\x00\x00\x00WAVEfmt ", "not a recording"),
        ("noise.mp3", bytes(range(7, 250)) * 40, "not a recording"),
        ("picture.wav", b"\x89PNG\r\n\x1a\n" + b"\x00" * 500, "no sound track"),
    ],
)
def test_what_is_no_sound_is_named_in_one_line(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_speech(path)
    message = str(caught.value)
    assert words in message
    assert name in message
    assert "\n" not in message
    assert caught.value.exit_code == 3


def test_missing_file_folder_and_header_without_sound(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_speech(tmp_path / "nowhere.wav")
    with pytest.raises(InputError, match="folder"):
        load_speech(tmp_path)
    write_wav(tmp_path / "zero.wav", np.zeros(0, np.float32))
    with pytest.raises(InputError, match=r"zero\.wav"):
        load_speech(tmp_path / "zero.wav")


def test_a_video_without_sound_says_so(tmp_path: Path) -> None:
    from vasa_cli.video.ffmpeg import find_ffmpeg

    path = tmp_path / "mute.mp4"
    source = "color=c=black:s=64x64:d=0.2:r=25"
    subprocess.run([str(find_ffmpeg()), "-v", "error", "-f", "lavfi", "-i", source, str(path)], check=True)
    with pytest.raises(InputError, match="sound"):
        load_speech(path)


def test_silences_are_found(tmp_path: Path) -> None:
    path = tmp_path / "gap.wav"
    write_wav(path, np.concatenate([tone(1.0), np.zeros(RATE // 2, np.float32), tone(1.0)]))
    found = silences(load_speech(path))
    assert len(found) == 1
    assert abs(found[0][0] - 1.0) < 0.05
    assert abs(found[0][1] - 1.5) < 0.05
    write_wav(path, np.zeros(RATE, np.float32))
    assert silences(load_speech(path)) == [(0.0, 1.0)]
