"""A file from a stranger never makes a program of ours open another address: ten crafted files under harmless names, in every
place where a file can be given, and a listener that must see nobody."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import Vasa, assert_fails_well
from crafted import CRAFTED, Listener, hls

from vasa_cli.batch.report import poster
from vasa_cli.errors import EncoderError, InputError
from vasa_cli.portrait.pixels import read_photo
from vasa_cli.speech.audio import SpeechReader, load_speech
from vasa_cli.stream.source import SoundInput, SoundSource
from vasa_cli.trust.inspect import inspect
from vasa_cli.trust.marks import tags_of
from vasa_cli.video.background import parse_background
from vasa_cli.video.clip import ClipInfo, probe, read_frames, write_sound
from vasa_cli.video.ffmpeg import PROTOCOLS, READABLE, find_ffmpeg
from vasa_cli.video.framehash import frame_hash, sound_hash
from vasa_cli.video.writer import VideoWriter


@pytest.fixture
def listener() -> Iterator[Listener]:
    it = Listener()
    yield it
    it.close()


def _heard(path: Path) -> None:
    source = SoundSource(SoundInput(path))
    source.open()
    try:
        source.form()
        while not source.ended:
            source.get(1 << 16, 1.0)
    finally:
        source.close()


def _muxed(path: Path) -> None:
    with VideoWriter(path.with_name("out.mp4"), (64, 64), Fraction(25), 2, path) as writer:
        writer.write(np.zeros((2, 64, 64, 3), np.uint8))


def _clip(path: Path) -> ClipInfo:
    return ClipInfo(path, Fraction(25), (64, 64), 10, 0.1)


def _nothing_heard(path: Path) -> None:
    if sound_hash(path) is None:
        raise EncoderError("no sound")


def _none_of(found: object, path: Path) -> None:
    if not found:
        raise InputError(f"{path}: nothing was read")


PLACES: dict[str, Callable[[Path], object]] = {
    "portrait.jpg": read_photo,
    "audio.mp3": SpeechReader,
    "audio.wav": load_speech,
    "drive.mp4": probe,
    "frames.mp4": lambda p: list(read_frames(_clip(p))),
    "sound.mp4": lambda p: write_sound(_clip(p), p.with_suffix(".wav")),
    "background.png": lambda p: parse_background(str(p)).picture(64, 64),
    "stream.wav": _heard,
    "mux.wav": _muxed,
    "verify.mp4": lambda p: frame_hash(p, (64, 64)),
    "verify.mov": _nothing_heard,
    "inspect.mp4": inspect,
    "tags.mkv": lambda p: _none_of(tags_of(p) and None, p),  # an AVI has some
    "poster.mp4": lambda p: _none_of(poster(p, 0.0), p),
}


@pytest.mark.parametrize("kind", CRAFTED)
def test_nothing_else_is_opened(kind: str, listener: Listener, tmp_path: Path) -> None:
    for name, use in PLACES.items():
        path = tmp_path / name
        path.write_bytes(CRAFTED[kind](listener.port))
        if kind == "mov":  # its own bytes are taken for the samples: the reference is passed over
            with contextlib.suppress(InputError, EncoderError):
                use(path)
            continue
        with pytest.raises((InputError, EncoderError)) as failed:
            use(path)
        assert "\n" not in str(failed.value), name
    assert listener.seen == 0


def test_the_listener_would_hear_it(listener: Listener, tmp_path: Path) -> None:
    """The same playlist does reach the listener where ffmpeg may use the network: the test above can fail."""
    path = tmp_path / "a.m3u8"
    path.write_bytes(hls(listener.port))
    bare = [str(find_ffmpeg()), "-v", "quiet", "-nostdin"]
    rest = ["-i", str(path), "-f", "null", "-"]
    subprocess.run([*bare, "-protocol_whitelist", "file,http,tcp", *rest], stdin=subprocess.DEVNULL, timeout=60)
    assert listener.seen > 0
    before = listener.seen
    done = subprocess.run([*bare, "-protocol_whitelist", PROTOCOLS, "-format_whitelist", READABLE, *rest], timeout=60)
    assert done.returncode != 0 and listener.seen == before


def test_no_other_file_is_read(tone: Callable[..., Path], tmp_path: Path) -> None:
    """A concat script that is called recording reads the file beside it, if it is allowed to."""
    tone("secret.wav")
    path = tmp_path / "innocent.mp3"
    path.write_text("ffconcat version 1.0\nfile secret.wav\n")
    bare = [str(find_ffmpeg()), "-v", "quiet", "-nostdin", "-i", str(path), "-f", "null", "-"]
    assert subprocess.run(bare, stdin=subprocess.DEVNULL, timeout=60).returncode == 0  # ffmpeg alone does
    with pytest.raises(InputError, match=r"innocent\.mp3"):
        SpeechReader(path)


def test_every_call_of_ffmpeg_is_restricted(monkeypatch: pytest.MonkeyPatch, speech: Path, tmp_path: Path) -> None:
    """Whatever opens a file for ffmpeg says so: commands are seen as they start, over reading, writing and hashing."""
    import subprocess as real

    seen: list[list[str]] = []
    start = real.Popen.__init__

    def spy(self: object, command: list[str], *args: object, **kwargs: object) -> None:
        seen.append(list(map(str, command)))
        start(self, command, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(real.Popen, "__init__", spy)
    out = tmp_path / "a.mp4"
    with VideoWriter(out, (64, 64), Fraction(25), 4, speech) as writer:
        writer.write(np.zeros((4, 64, 64, 3), np.uint8))
    clip = probe(out)
    assert len(list(read_frames(clip))) == 4
    write_sound(clip, tmp_path / "a.wav")
    load_speech(out)
    _heard(out)
    assert sound_hash(out)
    opened = [c for c in seen if any(w.startswith("file:") and c[i - 1] == "-i" for i, w in enumerate(c))]
    assert len(opened) >= 8
    for command in opened:
        for i, word in enumerate(command):
            if word.startswith("file:") and command[i - 1] == "-i":
                before = command[:i]
                assert {"-protocol_whitelist", "-format_whitelist", "-max_pixels"} <= set(before), command


def test_the_command_says_it_in_one_line(vasa: Vasa, listener: Listener, face: Path, speech: Path, tmp_path: Path) -> None:
    for name in ("a.jpg", "a.mp3", "a.mp4"):
        (tmp_path / name).write_bytes(CRAFTED["hls"](listener.port))
    out = tmp_path / "out" / "a.mp4"
    shared = ("-o", out, "--weights", "smoke", "--size", 256)
    assert_fails_well(vasa("render", tmp_path / "a.jpg", speech, *shared), 3, "a.jpg")
    assert_fails_well(vasa("render", face, tmp_path / "a.mp3", *shared), 3, "a.mp3")
    assert_fails_well(vasa("render", face, "--drive", tmp_path / "a.mp4", "-o", out), 3, "a.mp4")
    assert_fails_well(vasa("render", face, speech, "--style", tmp_path / "a.mp4", *shared), 3, "a.mp4")
    assert_fails_well(vasa("render", face, speech, "--background", tmp_path / "a.jpg", *shared), 3, "a.jpg")
    assert listener.seen == 0
    assert not out.parent.exists() or not list(out.parent.iterdir())
