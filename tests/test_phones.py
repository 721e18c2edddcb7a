"""Phones: alignment, articulatory targets, lips that close and round when they must, speech with known phones."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from vasa_cli.errors import InputError
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.training import phones as ph
from vasa_cli.training.lags import STRANGER_GROUPS, lag_of
from vasa_cli.training.motion_pool import lip_functionals
from vasa_cli.training.phones import Phone
from vasa_cli.training.phones_features import NAMES, SIZE, ipa_label, symbols_of, targets, tracks
from vasa_cli.training.phones_heard import from_marks, plausible, words_of
from vasa_cli.training.phones_lips import LipConfig, LipModel, LipRules, close, fit_lips, judge, pulls
from vasa_cli.training.phones_speech import Manner, add_closures, espeak, say_flite, synthetic_speech
from vasa_cli.training.phones_talks import close_told, frames_of, in_a_room, synthetic_talks, write_talks
from vasa_cli.training.phones_text import MADE_UP, SENTENCES, texts

GRID = Path(__file__).resolve().parents[2] / "shared" / "data" / "grid_s1"
needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")


def spoken(*labels: str, each: float = 0.12, before: float = 0.4) -> list[Phone]:
    """Silence, the phones, silence."""
    times = np.round(before + each * np.arange(len(labels) + 2), 3)
    said = [Phone(label, float(a), float(b)) for label, a, b in zip(labels, times[:-2], times[1:-1], strict=True)]
    return [Phone("sil", 0.0, before), *said, Phone("sil", float(times[-2]), round(float(times[-2]) + before, 3))]


def test_grid_names_are_sentences() -> None:
    assert ph.grid_words("bbaf2n") == ["bin", "blue", "at", "letter_f", "two", "now"]
    assert ph.grid_words("swizzs")[3:5] == ["letter_z", "zero"]
    with pytest.raises(InputError):
        ph.grid_words("hello!")


def test_closure_rate_counts_bilabials_that_close() -> None:
    opening = np.full(100, 0.1)
    opening[25] = 0.0  # one frame, at 1.0 s
    said = [Phone("b", 0.97, 1.05), Phone("aa", 1.05, 2.0), Phone("m", 2.0, 2.1), Phone("p", 9.0, 9.1)]
    assert ph.closures(opening, said, 25.0, closed=0.0).tolist() == [True, False]  # the last is outside the clip
    assert ph.closure_rate(opening, said, 25.0, closed=0.0) == 0.5
    assert np.isnan(ph.closure_rate(opening, [Phone("aa", 0.0, 1.0)], 25.0))
    early = [Phone("b", 1.03, 1.05)]  # closed 30 ms before the phone: inside the margin
    assert ph.closure_rate(opening, early, 25.0, closed=0.0) == 1.0
    assert ph.closure_rate(opening, [Phone("b", 1.08, 1.1)], 25.0, closed=0.0) == 0.0


def test_lips_that_never_shut_do_not_count_as_closed() -> None:
    opening = 0.1 + 0.02 * np.sin(np.arange(200) / 3)
    assert ph.closure_rate(opening, [Phone("b", k, k + 0.1) for k in range(1, 7)], 25.0, closed=0.0) == 0.0


def test_stops_give_silence_back() -> None:
    out = ph.shorten_stops([Phone("sil", 0.0, 0.2), Phone("p", 0.2, 0.9), Phone("l", 0.9, 1.0)])
    assert [p.label for p in out] == ["sil", "p", "l"]
    assert out[0].stop == out[1].start == pytest.approx(0.9 - ph.LONGEST_CLOSURE)


def test_phones_are_kept_in_json(tmp_path: Path) -> None:
    said = {"a": spoken("ʃ", "yː", "m")}
    ph.save_phones(tmp_path / "p.json", said)
    assert ph.load_phones(tmp_path / "p.json") == said


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("ey", "eɪ"),
        ("ch", "tʃ"),
        ("ɑ̃", "ɑ"),
        ("pf", "pf"),
        ("ç", "ç"),
        ("y", "j"),
        ("yː", "y"),
        ("œ̃", "œ"),
        ("tʲ", "t"),
        ("ɚ", "ɜɹ"),
    ],
)
def test_labels_of_all_kinds_are_understood(label: str, expected: str) -> None:
    assert "".join(s for s, _ in symbols_of(label)) == expected


def test_articulation_of_phones_that_grid_lacks() -> None:
    def get(label: str, name: str) -> float:
        return float(targets(label)[0][NAMES.index(name)])

    assert get("ɑ̃", "open") >= get("ɑ", "open")
    assert get("yː", "round") == get("u", "round") > 0.9 and get("iː", "round") == 0 and get("iː", "spread") > 0.9
    assert get("ʃ", "round") > get("s", "round") and get("ʃ", "sibilant") == 1
    assert get("ʁ", "back") == 1 and get("pʰ", "bilabial") == 1 and get("f", "labiodental") == 1
    assert ipa_label("y") == "yː" and ipa_label("(en)") == "sil"  # the latter is espeak's mark of another language
    assert ipa_label("") == "sil" and targets("sil")[0][0] == 1


def test_tracks_put_phones_where_they_are() -> None:
    x = tracks([Phone("b", 1.0, 1.04)], 50).reshape(50, 4, SIZE)
    closed = x[:, :, NAMES.index("bilabial")].sum(1)
    assert closed.sum() == 4 and closed[25] == 2 and closed[26] == 2  # 20 ms each in the frames at 1.00 and 1.04 s
    fast = tracks([Phone("b", 1.0, 1.04)], 50, speed=2.0).reshape(50, 4, SIZE)[:, :, NAMES.index("bilabial")].sum(1)
    assert abs(int(np.flatnonzero(fast)[0]) - 12) <= 1 and fast.sum() == 2


@pytest.fixture(scope="module")
def mouth_space() -> tuple[np.ndarray, np.ndarray]:
    """lips (2, M): mouth numbers -> opening and width; direction (M,): mouth numbers per IOD of opening."""
    basis = DynamicsBasis.load()
    mouth = basis.blocks["mouth"]
    return lip_functionals(basis)[:, mouth], basis.mouth_open_direction[mouth]


@pytest.fixture(scope="module")
def made(mouth_space: tuple[np.ndarray, np.ndarray]) -> LipModel:
    """A model fitted for a moment on made clips whose lips open with openness and narrow with rounding; no ʃ, y, nasals."""
    lips, direction = mouth_space
    rng = np.random.default_rng(0)
    wide = np.linalg.lstsq(lips, np.array([0.0, 1.0]), rcond=None)[0]
    known = ["aa", "iy", "uw", "ow", "eh", "s", "t", "k", "n", "b", "p", "f", "w", "l"]
    pairs = []
    for _ in range(20):
        said = spoken(*rng.choice(known, 14), each=float(rng.uniform(0.07, 0.16)))
        x = tracks(said, 75).reshape(75, 4, SIZE).mean(1)
        smooth = np.stack([np.convolve(c, [0.25, 0.5, 0.25], "same") for c in x.T], 1)
        opening = 0.02 + 0.1 * smooth[:, NAMES.index("open")] - 0.02 * smooth[:, NAMES.index("silence")]
        width = 0.03 * (smooth[:, NAMES.index("spread")] - smooth[:, NAMES.index("round")])
        pairs.append((said, (np.outer(opening, direction) + np.outer(width, wide)).astype(np.float32)))
    return fit_lips(pairs, lips, direction, LipConfig(width=32, kernel=5, epochs=40, batch=10, rate=4e-3, dropout=0.0))


def test_smoke_fit_learns_and_closes(made: LipModel, mouth_space: tuple[np.ndarray, np.ndarray]) -> None:
    lips, _ = mouth_space
    said = spoken("aa", "m", "aa", "b", "aa", "p", "aa")
    z = made.mouth(said, 45)
    opening = z @ lips[0]
    assert opening[round((0.4 + 0.06) * 25)] > 0.05  # /aa/ stays open
    assert ph.closure_rate(opening, said, 25.0, closed=0.0) == 1.0
    before = made.predict(said, 45) @ lips[0]
    assert (opening <= before + 1e-6).all()  # rules only close
    assert judge(made, [(said, z)], lips)["opening_r"] > 0.99


def test_front_rounded_vowels_and_sh_round_though_never_seen(made: LipModel, mouth_space: tuple[np.ndarray, np.ndarray]) -> None:
    lips, _ = mouth_space

    def width(vowel: str) -> float:
        return float((made.mouth(spoken("t", vowel, "t"), 40) @ lips[1])[int((0.4 + 0.18) * 25)])

    assert width("yː") < width("iː") - 0.02 and width("øː") < width("eː") - 0.02 and width("u") < width("i") - 0.02
    assert width("ʃ") < width("s")


def test_labiodentals_are_nearly_shut_but_not_shut(made: LipModel, mouth_space: tuple[np.ndarray, np.ndarray]) -> None:
    lips, direction = mouth_space
    wide_open = np.outer(np.full(50, 0.1), direction).astype(np.float32)
    said = spoken("aa", "v", "aa", "f", "aa")
    opening = close(wide_open, said, lips[0], direction, LipRules()) @ lips[0]
    middle = [round((0.4 + 0.12 * k + 0.06) * 25) for k in (1, 3)]
    assert np.allclose(opening[middle], LipRules().labiodental, atol=0.004) and opening[10] > 0.09
    assert abs(np.diff(opening, 2)).max() < 0.09  # falls and rises over more than a frame


def test_every_closure_owns_a_frame_however_short() -> None:
    for start in np.arange(1.0, 1.2, 0.007):
        weight = pulls([Phone("p", float(start), float(start + 0.03))], 50, "bilabial", 0.07)
        assert weight.max() == pytest.approx(1.0) and weight[[10, 40]].max() == 0


def test_model_survives_its_file(made: LipModel, tmp_path: Path) -> None:
    made.save(tmp_path / "lips.pt")
    again = LipModel.load(tmp_path / "lips.pt")
    assert np.array_equal(again.mouth(spoken("b", "aa"), 30), made.mouth(spoken("b", "aa"), 30))


def test_talks_are_stored_and_told_lips_closed(
    made: LipModel, mouth_space: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    lips, direction = mouth_space
    rng = np.random.default_rng(0)
    said = spoken("m", "aa", "p", "iy")
    sound, moved = in_a_room(rng.normal(0, 0.1, 16000).astype(np.float32), said, rng)
    assert moved[-1].stop == pytest.approx(len(sound) / 16000) and moved[1].start == moved[0].stop
    files = list(write_talks(tmp_path / "talks", [("made", sound, moved)] * 3, made, per_file=2))
    talks = list(synthetic_talks(tmp_path / "talks"))
    assert len(files) == 2 and len(talks) == 3
    samples, mouth, phones = talks[2]
    assert len(samples) == len(sound) and mouth.shape == (frames_of(sound), lips.shape[1]) and phones == moved
    told = np.outer(np.full(len(mouth), 0.08), direction).astype(np.float32)
    assert ph.closure_rate(told @ lips[0], moved, 25.0, closed=0.0) == 0.0
    assert ph.closure_rate(close_told(told, moved, made) @ lips[0], moved, 25.0, closed=0.0) == 1.0


def test_quiet_before_a_burst_is_the_stop() -> None:
    rng = np.random.default_rng(0)
    sound = rng.normal(0, 0.1, 8000).astype(np.float32)
    sound[3200:4480] *= 1e-3  # 200 to 280 ms
    out = add_closures([Phone("a", 0.0, 0.28), Phone("p", 0.28, 0.31), Phone("a", 0.31, 0.5)], sound)
    assert out[1].label == "p" and out[1].start == pytest.approx(0.2, abs=0.011) and out[0].stop == out[1].start


@needs_espeak
@pytest.mark.parametrize("language", ["en-us", "de", "fr", "ja"])
def test_espeak_says_where_its_phones_are(language: str) -> None:
    samples, said = espeak().say(SENTENCES[language][0], language)
    level = np.sqrt(np.convolve(samples**2, np.ones(160) / 160, "same") + 1e-12)

    def loudness(p: Phone) -> float:
        return float(np.median(level[int(p.start * 16000) : int(p.stop * 16000)]))

    assert said[0].start == 0 and said[-1].stop == pytest.approx(len(samples) / 16000, abs=1e-3)
    assert all(a.stop == b.start for a, b in pairwise(said))
    vowels = [loudness(p) for p in said if targets(p.label)[0][NAMES.index("vowel")]]
    stops = [float(level[int(p.start * 16000) : int(p.stop * 16000)].min()) for p in said if p.label[:1] in ph.STOPS]
    assert np.median(stops) < 0.2 * np.median(vowels)
    assert any(p.label[:1] in ph.BILABIAL for p in said)


@needs_espeak
def test_longer_vocal_tracts_are_lower_and_slower() -> None:
    short = espeak().say("Mama.", "it", Manner(length=0.85))[0]
    tall = espeak().say("Mama.", "it", Manner(length=1.15))[0]
    assert len(tall) / len(short) == pytest.approx(1.15 / 0.85, rel=0.02)
    with pytest.raises(InputError, match="no voice"):
        espeak().say("Mama.", "nowhere")


@needs_espeak
def test_synthetic_speech_is_the_same_for_the_same_seed() -> None:
    a, b = (list(synthetic_speech(0.15, seed=3, languages=("de", "tr", "es"))) for _ in range(2))
    assert [v for v, _, _ in a] == [v for v, _, _ in b] and len({v.split("+")[0] for v, _, _ in a}) > 1
    for (_, x, p), (_, y, q) in zip(a, b, strict=True):  # espeak's noise goes on from one call to the next: not to the bit
        assert [k.label for k in p] == [k.label for k in q] and abs(len(x) - len(y)) < 0.02 * len(x)
    assert len(SENTENCES) >= 12 and set(MADE_UP) <= set(SENTENCES)
    assert all(len(espeak().say(texts(k, np.random.default_rng(1), 1)[0], k)[1]) > 5 for k in SENTENCES)  # every voice is there
    assert len(texts("ru", np.random.default_rng(0), 5)) == 5


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
def test_flite_prints_its_segments() -> None:
    samples, said = say_flite("Bobby made plums.", "slt")
    assert [p.label for p in said if p.label != "sil"][:4] == ["b", "aa", "b", "iy"]
    assert said[-1].stop == pytest.approx(len(samples) / 16000, abs=0.03)


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
def test_alignment_finds_what_was_said() -> None:
    pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed")
    samples, truth = say_flite("Bobby made my paper boat.", "rms")
    said = ph.align(samples, ["bobby", "made", "my", "paper", "boat"])
    assert [p.label for p in said if p.label != "sil"] == "b aa b iy m ey d m ay p ey p er b ow t".split()  # noqa: SIM905
    assert all(a.stop == pytest.approx(b.start) for a, b in pairwise(said))
    assert said[0].start == 0 and said[-1].stop == pytest.approx(len(samples) / 16000, abs=0.05)
    mine, theirs = (np.array([p.middle for p in ph.bilabials(x)]) for x in (said, truth))
    assert len(mine) == len(theirs) == 7 and np.abs(mine - theirs).max() < 0.06
    with pytest.raises(InputError, match="no pronunciation"):
        ph.align(samples, ["xqzzy"])


def test_marks_become_bilabials() -> None:
    said = from_marks([(0.5, "a"), (0.75, "pʰ"), (0.8, "m"), (1.5, "t")], 2.0)
    assert [p.label for p in said] == ["sil", "p", "m", "sil"] and said[-1].stop == 2.0
    assert said[1].middle == pytest.approx(0.7) and said[1].stop <= said[2].start + 1e-9


def test_bad_alignments_are_noticed() -> None:
    assert plausible(spoken("b", "aa", "m", "iy", "t"))
    assert not plausible(spoken("b", "aa", "m", "iy", "t", each=0.03)) and not plausible(spoken("b", "aa", "m", "iy", each=0.6))
    assert words_of("Don't — it's 4 o'clock!") == ["don't", "it's", "4", "o'clock"]


def test_lags_of_strangers_are_those_of_their_origin() -> None:
    for group in set(STRANGER_GROUPS.values()):
        assert len({lag_of("strangers", k) for k, g in STRANGER_GROUPS.items() if g == group}) == 1
    assert lag_of("facegood", "1114_2_01") == 1 and lag_of("grid_s1", "bbaf2n") == 0


@pytest.mark.skipif(not GRID.is_dir(), reason="the project's data are not beside the repository")
def test_real_lips_close_at_aligned_bilabials() -> None:
    pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed")
    from vasa_cli.speech.audio import load_speech
    from vasa_cli.training.motion_clips import read_clip, smooth
    from vasa_cli.training.motion_data import lip_curves

    basis, right, wrong = DynamicsBasis.load(), [], []
    for path in sorted(GRID.glob("*.npz"))[9::45]:
        opening = lip_curves(smooth(basis.align_clip(read_clip(path).landmarks)[0]))[:, 0]
        said = ph.grid_phones(path.stem, load_speech(path.with_suffix(".flac")).samples)
        right.append(ph.closures(opening, said, 25.0))
        wrong.append(ph.closures(np.roll(opening, -4), said, 25.0))
    assert np.concatenate(right).mean() > 0.88 > 0.7 > np.concatenate(wrong).mean()
