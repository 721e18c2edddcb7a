"""Features as the sound arrives: the same rows as for the whole, whatever the blocks; and what is told of the next rows."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from vasa_cli.errors import InputError
from vasa_cli.speech.ahead import AHEAD, KNOWN, simulate_ahead
from vasa_cli.speech.audio import RATE, SpeechReader, load_speech, n_frames, resample
from vasa_cli.speech.features import SpeechEncoder
from vasa_cli.speech.mel import follow_level, mel_power_db, normalise, pad_whole
from vasa_cli.speech.stream import FeatureStream, Resampler

FINAL = 2840  # samples from a frame's start to the moment when its row leaves
DEMO = Path(__file__).resolve().parents[1] / "vasa_cli" / "assets" / "demo_speech.flac"


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    """Five seconds of speech with a second of nothing in between."""
    said = load_speech(DEMO).samples
    return np.concatenate([said[: 3 * RATE], np.zeros(RATE, np.float32), said[3 * RATE : 4 * RATE]])


@pytest.fixture(scope="module", params=["default", "smoke"])
def encoder(request: pytest.FixtureRequest) -> SpeechEncoder:
    return SpeechEncoder.from_weights(request.param)


def streamed(encoder: SpeechEncoder, sound: np.ndarray, block: int) -> np.ndarray:
    stream = FeatureStream(encoder)
    rows = [stream.push(sound[i : i + block]) for i in range(0, len(sound), block)]
    return np.concatenate([np.zeros((0, encoder.size), np.float32), *rows, stream.finish()])


def by_the_whole(encoder: SpeechEncoder, sound: np.ndarray) -> np.ndarray:
    """The phonetic columns and loudness by the network's own forward pass over everything at once."""
    frames = n_frames(len(sound), RATE, 25)
    mel = mel_power_db(pad_whole(torch.from_numpy(sound), 4 * frames))
    with torch.inference_mode():
        hidden = encoder.student.hidden(normalise(mel, follow_level(mel))[None])[0]
        return encoder.phonetic(hidden).numpy()


def test_the_stream_says_what_the_network_says_of_the_whole(encoder: SpeechEncoder, sound: np.ndarray) -> None:
    whole = by_the_whole(encoder, sound)
    assert np.abs(encoder.features(sound)[:, : encoder.phonetic_size] - whole).max() < 1e-4


@pytest.mark.parametrize("block", [97, 640, 1280, 1333, 16000, 160000])
def test_blocks_of_any_size_give_the_same_rows(encoder: SpeechEncoder, sound: np.ndarray, block: int) -> None:
    got, whole = streamed(encoder, sound, block), encoder.features(sound)
    assert got.shape == whole.shape
    assert np.abs(got - whole).max() < 2e-4


@pytest.mark.parametrize("samples", [0, 1, 639, 640, 641, 2000])
def test_short_sounds_and_single_samples(encoder: SpeechEncoder, sound: np.ndarray, samples: int) -> None:
    said = sound[8000 : 8000 + samples]
    for block in (1, 7000):
        got = streamed(encoder, said, block)
        assert got.shape == (n_frames(samples, RATE, 25), encoder.size)
        assert np.abs(got - encoder.features(said)).max(initial=0.0) < 2e-4


def test_a_row_leaves_as_soon_as_it_is_final_and_not_before(encoder: SpeechEncoder, sound: np.ndarray) -> None:
    stream = FeatureStream(encoder)
    assert len(stream.push(sound[: FINAL - 1])) == 0
    assert len(stream.push(sound[FINAL - 1 : FINAL])) == 1
    assert len(stream.push(sound[FINAL : FINAL + 639])) == 0
    assert len(stream.push(sound[FINAL + 639 : FINAL + 640 * 7])) == 7
    assert len(stream.push(sound[:0])) == 0


def test_nothing_can_follow_the_end(encoder: SpeechEncoder, sound: np.ndarray) -> None:
    stream = FeatureStream(encoder)
    stream.push(sound[:9000])
    stream.finish()
    assert len(stream.finish()) == 0
    assert len(stream.ahead()) == 0
    with pytest.raises(ValueError, match="finished"):
        stream.push(sound[:1])


def test_silence_is_still_and_leaves_no_trace(encoder: SpeechEncoder) -> None:
    stream = FeatureStream(encoder)
    rows = np.concatenate([stream.push(np.zeros(1280, np.float32)) for _ in range(80)])
    assert np.isfinite(rows).all()
    assert np.abs(np.diff(rows[60:], axis=0)).max() < 1e-4
    assert np.sqrt(np.mean(np.square(stream.ahead() - rows[-1]))) < 0.2


def numbers_held(stream: FeatureStream) -> int:
    """Numbers in the stream's memories."""
    student = stream._student
    states = [
        student.stem1.rows,
        student.stem2.rows,
        *(b.conv.rows for b in student.blocks),
        *(b.waiting for b in student.blocks),
    ]
    own = [v for v in vars(stream).values() if isinstance(v, torch.Tensor)]
    return sum(t.untyped_storage().nbytes() // 4 for t in (*states, *own))


def test_memory_does_not_grow_in_twenty_minutes(sound: np.ndarray) -> None:
    encoder = SpeechEncoder.from_weights("smoke")
    stream = FeatureStream(encoder)
    held, rows = [], 0
    for _ in range(240):  # 5 s each
        rows += len(stream.push(sound))
        held.append(numbers_held(stream))
    assert rows == (1200 * RATE - FINAL) // 640 + 1
    assert max(held) <= held[0] + 4096
    assert max(held) < 60_000


def test_a_push_of_80_ms_is_cheap(sound: np.ndarray) -> None:
    encoder = SpeechEncoder.from_weights("default")
    stream = FeatureStream(encoder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        stream.push(sound[:RATE])
        spent = []
        for i in range(RATE, len(sound) - 1280, 1280):
            began = time.process_time()
            stream.push(sound[i : i + 1280])
            spent.append(time.process_time() - began)
    finally:
        torch.set_num_threads(threads)
    assert np.median(spent) < 0.020  # 4 to 5 ms on an idle core; a fifth of real time on a bad one


@pytest.mark.parametrize("heard", [1, 2, 3, 4])
def test_the_simulation_tells_what_the_stream_tells(encoder: SpeechEncoder, sound: np.ndarray, heard: int) -> None:
    simulated = simulate_ahead(encoder, sound, heard)
    assert simulated.shape == (n_frames(len(sound), RATE, 25), AHEAD, encoder.size)
    stream = FeatureStream(encoder)
    first = FINAL + 160 * (heard - 1)
    assert len(stream.push(sound[:first])) == 1
    for t in range(100):
        assert np.abs(stream.ahead() - simulated[t]).max() < 2e-4
        assert len(stream.push(sound[first + 640 * t : first + 640 * (t + 1)])) == 1


def test_what_is_told_ahead_is_near_what_comes(sound: np.ndarray) -> None:
    encoder = SpeechEncoder.from_weights("default")
    told, whole = simulate_ahead(encoder, sound), encoder.features(sound)
    share = []
    for m in range(1, AHEAD + 1):
        real = whole[m:]
        error = np.square(real - told[:-m, m - 1])[:, : encoder.phonetic_size].sum()
        share.append(1 - error / np.square(real - real.mean(0))[:, : encoder.phonetic_size].sum())
        if m <= KNOWN:
            assert np.abs(real - told[:-m, m - 1])[:-5, encoder.phonetic_size :].max() < 1e-3
    assert share[0] > 0.95
    assert share[1] > 0.8
    assert share == sorted(share, reverse=True)


def test_the_answer_rests_on_what_is_known_when_it_is_asked_for(encoder: SpeechEncoder, sound: np.ndarray) -> None:
    simulated = simulate_ahead(encoder, sound, 3)
    stream = FeatureStream(encoder)
    stream.push(sound[:FINAL])
    at = FINAL + 480
    stream.push(sound[FINAL:at])
    for t in range(1, 20):
        stream.ahead()  # so that the next row is made together with those after it
        assert len(stream.push(sound[at : at + 160])) == 1
        assert len(stream.push(sound[at + 160 : at + 480])) == 0  # two rows of mel more
        answer = stream.ahead()
        assert np.abs(answer - simulated[t]).max() < 2e-4
        stream.push(sound[at + 480 : at + 640])
        assert np.array_equal(stream.ahead(), answer)
        at += 640


def test_asking_ahead_changes_nothing(encoder: SpeechEncoder, sound: np.ndarray) -> None:
    stream = FeatureStream(encoder)
    assert stream.ahead().shape == (0, encoder.size)
    rows = []
    for i in range(0, len(sound), 700):
        rows.append(stream.push(sound[i : i + 700]))
        stream.ahead()
    assert np.abs(np.concatenate([*rows, stream.finish()]) - encoder.features(sound)).max() < 2e-4


# ------------------------------------------------------------------------------------------------------ other rates, whole files


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000, 44101])
@pytest.mark.parametrize("block", [441, 7000])
def test_resampled_blocks_are_the_resampled_whole(rate: int, block: int) -> None:
    t = np.arange(rate // 2 + 3) / rate
    x = (0.3 * np.sin(2 * np.pi * 440 * t) + 0.2 * np.sin(2 * np.pi * 2900 * t + 1)).astype(np.float32)
    whole = resample(x, rate)
    for exact in (False, True):
        stream = Resampler(rate, exact=exact)
        parts = [stream.push(x[i : i + block]) for i in range(0, len(x), block)]
        got = np.concatenate([*parts, stream.finish()])
        assert len(got) == len(whole) == -(-len(x) * RATE // rate)
        if exact:
            assert np.abs(got - whole).max() < 1e-6
        else:
            assert np.abs(got - whole)[200:-200].max() < 2e-3


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_the_live_resampler_is_never_late(rate: int) -> None:
    stream = Resampler(rate)
    for _ in range(20):
        stream.push(np.zeros(rate // 100, np.float32))
        assert stream.heard * RATE / rate - stream.given <= 0.0052 * RATE


def test_channels_are_averaged_and_counted() -> None:
    stream = Resampler(48000, 2)
    both = np.stack([np.full(4800, 0.5), np.full(4800, -0.1)], axis=1).astype(np.float32)
    got = np.concatenate([stream.push(both), stream.finish()])
    assert len(got) == 1600
    assert np.abs(got[100:-100] - 0.2).max() < 1e-3
    for wrong in (np.zeros(10, np.float32), np.zeros((10, 3), np.float32)):
        with pytest.raises(ValueError, match="channels"):
            stream.push(wrong)
    empty = Resampler(44100)
    assert len(empty.push(np.zeros(0, np.float32))) == len(empty.finish()) == 0


def write(path: Path, seconds: float, rate: int, subtype: str | None = None, channels: int = 1) -> Path:
    import soundfile

    rng = np.random.default_rng(0)
    tone = 0.4 * np.sin(2 * np.pi * 300 * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, np.stack([tone * rng.uniform(0.5, 1) for _ in range(channels)], axis=1), rate, subtype=subtype)
    return path


@pytest.mark.parametrize(
    ("name", "rate", "subtype", "channels"),
    [
        ("a.wav", 16000, "PCM_16", 1),
        ("b.wav", 44100, "PCM_24", 2),
        ("c.wav", 48000, "FLOAT", 1),
        ("d.flac", 22050, "PCM_16", 2),
        ("e.ogg", 48000, "VORBIS", 1),
    ],
)
def test_the_reader_gives_the_samples_of_the_whole(tmp_path: Path, name: str, rate: int, subtype: str, channels: int) -> None:
    path = write(tmp_path / name, 13.3, rate, subtype, channels)
    whole, reader = load_speech(path), SpeechReader(path)
    assert (reader.source_rate, reader.source_samples, reader.sha256) == (rate, whole.source_samples, whole.sha256)
    for _ in range(2):  # it can be read again
        blocks = list(reader.blocks())
        assert len(blocks) > 2
        assert np.abs(np.concatenate(blocks) - whole.samples).max() < 1e-6


def test_the_reader_counts_what_only_ffmpeg_reads(tmp_path: Path) -> None:
    import subprocess

    from vasa_cli.video.ffmpeg import find_ffmpeg

    source = write(tmp_path / "a.wav", 2.0, 44100)
    path = tmp_path / "a.m4a"
    subprocess.run([str(find_ffmpeg()), "-v", "error", "-i", str(source), "-c:a", "aac", str(path)], check=True)
    whole, reader = load_speech(path), SpeechReader(path)
    assert (reader.source_rate, reader.source_samples) == (whole.source_rate, whole.source_samples)
    blocks = reader.blocks()
    next(blocks)
    blocks.close()  # a reader that is left early leaves no process
    assert np.abs(np.concatenate(list(reader.blocks())) - whole.samples).max() < 1e-6


def test_a_recording_cut_short_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    for name, subtype in (("a.wav", "PCM_16"), ("b.flac", "PCM_16")):
        path = write(tmp_path / name, 4.0, 16000, subtype)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        whole, reader = load_speech(path), SpeechReader(path)
        assert reader.source_samples == whole.source_samples < 4 * 16000
        assert np.array_equal(np.concatenate(list(reader.blocks())), whole.samples)


def test_the_reader_refuses_what_load_speech_refuses(tmp_path: Path) -> None:
    import soundfile

    (tmp_path / "text.wav").write_text("no sound at all, just words\n" * 20)
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16000)
    for name, words in (
        ("text.wav", "not a recording"),
        ("nan.wav", "not numbers"),
        ("none.wav", "no sound"),
        ("x.wav", "no such"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            SpeechReader(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_file_that_shrinks_while_it_is_read_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", 2.0, 16000, "PCM_16")
    reader = SpeechReader(path)
    write(path, 1.0, 16000, "PCM_16")
    with pytest.raises(InputError, match="shorter"):
        list(reader.blocks())
    gc.collect()
