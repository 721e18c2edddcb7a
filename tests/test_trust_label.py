"""`--disclosure-label`: burned in only when asked, readable, in its corner, on every kind of picture; no empty boxes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import Vasa, assert_fails_well

from vasa_cli.errors import InputError, UsageError
from vasa_cli.picture import picture_options
from vasa_cli.trust import label

SMALL = ("--weights", "smoke", "--size", 256)


def test_readable_on_any_ground_and_nowhere_else() -> None:
    for ground in (0, 128, 255):
        before = np.full((2, 256, 320, 3), ground, np.uint8)
        made = label.caption("AI-generated", (320, 256))
        after = made.burn(before.copy(), "rgb24")
        height, width = made.cover.shape
        inside = np.s_[:, made.y : made.y + height, made.x : made.x + width]
        assert made.y + height <= 256 and made.x < 20 and made.y > 200  # the lower left corner
        box = after[inside][0, :, :, 0]
        assert box.max() > 240 and np.median(box) < 100  # white on dark, whatever lies behind
        assert (made.white > 0.5).mean() > 0.04
        after[inside] = before[inside]
        assert (after == before).all()


@pytest.mark.parametrize("size", [(256, 256), (512, 512), (1024, 1024), (1920, 1080), (301, 997)])
def test_scaled_with_the_picture(size: tuple[int, int]) -> None:
    made = label.caption("AI-generated", size)
    assert made.cover.shape[0] / min(size) == pytest.approx(0.09, abs=0.02)
    assert made.x % 2 == made.y % 2 == made.cover.shape[0] % 2 == made.cover.shape[1] % 2 == 0
    long = label.caption("Dieses Video wurde mit künstlicher Intelligenz erzeugt, niemand hat das gesagt", size)
    assert long.cover.shape[0] <= size[1] / 3 + 2 and long.cover.shape[1] <= size[0] - long.x
    assert long.cover.shape[0] > 1.8 * made.cover.shape[0] or long.cover.shape[1] > 3 * made.cover.shape[1]


def test_transparent_pictures() -> None:
    """Over nothing the backing is half transparent and the letters are not; over the person it is as on an opaque picture."""
    made = label.caption("AI", (256, 256))
    clear = made.burn(np.zeros((1, 256, 256, 4), np.uint8), "rgba")[0, made.y :, made.x :]
    height, width = made.cover.shape
    letters, backing = made.white == 1, (made.white == 0) & (made.cover > 0)
    box = clear[:height, :width]
    assert (box[letters] == 255).all()
    assert (box[backing][:, 3] == round(255 * label.BACKING)).all() and (box[backing][:, :3] == 0).all()
    solid = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 4), np.uint8)
    solid[..., 3] = 255
    opaque = made.burn(solid[..., :3].copy(), "rgb24")
    assert np.abs(made.burn(solid, "rgba")[..., :3].astype(int) - opaque).max() <= 1


def test_planes_show_what_rgb_shows() -> None:
    made = label.caption("AI-generated", (256, 128))
    planes = np.full((1, 192, 256), 128, np.uint8)
    planes[:, :128] = 180
    after = made.burn(planes.copy(), "yuv420p")
    height, width = made.cover.shape
    luma = after[0, made.y : made.y + height, made.x : made.x + width]
    assert luma.max() == 235 and np.median(luma) == pytest.approx(16 * label.BACKING + 180 * (1 - label.BACKING), abs=1)
    assert (after[:, 128:] == 128).all()  # grey stays grey
    planes[:, 128:] = 200
    chroma = made.burn(planes, "yuv420p")[:, 128:].reshape(2, 64, 128)
    assert (chroma < 200).sum() > 0.9 * 2 * made.cover.size / 4 and (chroma[0] == chroma[1]).all()


def test_no_letter_becomes_a_box() -> None:
    for text in ("Создано ИИ", "Δημιουργήθηκε από ΤΝ", "Généré par IA – ÄÖÜß ł", "Tạo bởi AI"):
        assert label.check_label(text) == text
    for text in ("人工智能生成", "AI 🤖", "AI\u0d85"):
        with pytest.raises(UsageError, match=r"(have no .*--disclosure-font FILE|cannot join)"):
            label.check_label(text)
    for text in ("", "  ", "x" * 201, "AI\x07", "AI\ue000"):
        with pytest.raises(UsageError, match="--disclosure-label"):
            label.check_label(text)
    with pytest.raises(UsageError, match="do not fit"):
        label.caption("W" * 200, (256, 256))


def test_letters_that_are_joined_need_the_means(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import features

    monkeypatch.setattr(features, "check", lambda name: False)
    with pytest.raises(UsageError, match="raqm"):
        label.check_label("تم إنشاؤه")


def test_a_font_of_ones_own(tmp_path: Path) -> None:
    (own,) = label._dejavu()
    assert label.check_label("Создано ИИ", own)
    with pytest.raises(UsageError, match=r"DejaVuSans\.ttf has no 人"):
        label.check_label("人", own)
    (tmp_path / "x.ttf").write_bytes(b"no font")
    for path, words in ((tmp_path / "x.ttf", "not a font"), (tmp_path / "none.ttf", "no such font")):
        with pytest.raises(InputError, match=words):
            label.check_label("AI", path)
    with pytest.raises(UsageError, match="--disclosure-label"):
        picture_options(label_font=own)


def first_frame(path: Path, pixels: str = "rgb24") -> np.ndarray:
    from vasa_cli.video.ffmpeg import find_ffmpeg

    alpha = ["-c:v", "libvpx-vp9"] if path.suffix == ".webm" else []
    command = [find_ffmpeg(), "-v", "error", *alpha, "-i", path, "-frames:v", "1", "-f", "image2pipe", "-c:v", "png"]
    from io import BytesIO

    from PIL import Image

    done = subprocess.run([*map(str, command), "-pix_fmt", pixels, "pipe:1"], capture_output=True, check=True)
    return np.asarray(Image.open(BytesIO(done.stdout)))


def test_render_burns_in_records_and_repeats(vasa: Vasa, face: Path, astronaut: Path, speech: Path, tmp_path: Path) -> None:
    text = "AI-generated – создано ИИ"
    plain = vasa("render", astronaut, speech, "-o", "a.mp4", *SMALL, "--json", cwd=tmp_path)
    done = vasa("render", astronaut, speech, "-o", "b.mp4", *SMALL, "--disclosure-label", text, "--json", cwd=tmp_path)
    assert plain.returncode == done.returncode == 0, done.stderr
    receipts = [json.loads((tmp_path / f"{n}.mp4.json").read_text(encoding="utf-8")) for n in "ab"]
    assert [r["options"]["label"] for r in receipts] == [None, text]
    one, two = (first_frame(tmp_path / f"{n}.mp4").astype(int) for n in "ab")
    made = label.caption(text, (256, 256))
    height, width = made.cover.shape
    where = np.zeros((256, 256), bool)
    where[made.y : made.y + height, made.x : made.x + width] = True
    assert np.abs(one - two)[where].mean() > 30 and np.abs(one - two)[~where].mean() < 2
    again = json.loads(vasa("render", "--from", "b.mp4.json", "-o", "c.mp4", "--json", cwd=tmp_path).stdout)
    assert again["reproduced"] is True
    refused = vasa("render", "--from", "b.mp4.json", "-o", "d.mp4", "--disclosure-label", "no", cwd=tmp_path)
    assert_fails_well(refused, 2, "--disclosure-label")
    wrong = vasa("render", astronaut, speech, "-o", "d.mp4", *SMALL, "--disclosure-label", "人工智能", cwd=tmp_path)
    assert_fails_well(wrong, 2, "人", "--disclosure-font")


def test_full_photo_and_transparent(vasa: Vasa, astronaut: Path, face: Path, speech: Path, tmp_path: Path) -> None:
    """Also with a font that is an input: the receipt knows its content."""
    from PIL import Image

    Image.open(astronaut).resize((384, 384)).save(tmp_path / "p.png")
    (own,) = label._dejavu()
    options = ("--weights", "smoke", "--disclosure-label", "AI", "--disclosure-font", own)
    done = vasa("render", "p.png", speech, "-o", "full.mp4", "--fit", "full", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = label.caption("AI", (384, 384), own)
    shown = first_frame(tmp_path / "full.mp4")
    height, width = made.cover.shape
    box = shown[made.y : made.y + height, made.x : made.x + width]
    assert box[made.white > 0.9].mean() > 200 > 128 > box[(made.white == 0) & (made.cover > 0)].mean()
    receipt = json.loads((tmp_path / "full.mp4.json").read_text(encoding="utf-8"))
    assert receipt["inputs"]["font"]["path"].endswith("DejaVuSans.ttf")
    assert json.loads(vasa("render", "--from", "full.mp4.json", "-o", "f2.mp4", "--json", cwd=tmp_path).stdout)["reproduced"]
    clear = ("--background", "transparent", "--size", 256)
    done = vasa("render", "p.png", speech, "-o", "c.webm", *clear, *options[:4], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = label.caption("AI", (256, 256))
    height, width = made.cover.shape
    box = first_frame(tmp_path / "c.webm", "rgba")[made.y : made.y + height, made.x : made.x + width]
    assert box[made.white > 0.9].mean() > 200  # letters, opaque
    assert box[..., 3].min() >= 0 and np.median(box[(made.cover > 0)][:, 3]) > 140


def test_rows_of_a_batch(vasa: Vasa, astronaut: Path, face: Path, speech: Path, tmp_path: Path) -> None:
    """The same frames as `vasa render` gives, done jobs are known by their receipts, and the caption is a part of the job."""
    row = {"id": "a", "portrait": str(astronaut), "audio": str(speech), "size": 256, "seed": 0, "disclosure_label": "AI"}
    (tmp_path / "own.yaml").write_text("emotion: {happy: 0.2}\n", encoding="utf-8")
    row["preset"] = "own.yaml"
    one = ("render", astronaut, speech, "-o", "a.mp4", *SMALL, "--disclosure-label", "AI", "--preset", "own.yaml", "--json")
    done = vasa(*one, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "jobs.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    batch = ("batch", "jobs.jsonl", "--weights", "smoke", "--json", "--resume")
    first = vasa(*batch, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    (job,) = json.loads(first.stdout)["jobs"]
    assert job["status"] == "skipped", job
    (tmp_path / "jobs.jsonl").write_text(json.dumps({**row, "disclosure_label": "Made by AI"}) + "\n", encoding="utf-8")
    changed = vasa(*batch, "--overwrite", cwd=tmp_path)
    assert changed.returncode == 0, changed.stderr
    (job,) = json.loads(changed.stdout)["jobs"]
    assert job["status"] == "done" and job["frame_hash"] != json.loads(done.stdout)["frame_hash"]
    receipt = json.loads((tmp_path / "a.mp4.json").read_text(encoding="utf-8"))
    assert receipt["options"]["label"] == "Made by AI" and receipt["inputs"]["preset"]["path"] == "own.yaml"
    (tmp_path / "jobs.jsonl").write_text(json.dumps({**row, "disclosure_label": "人工"}) + "\n", encoding="utf-8")
    assert_fails_well(vasa(*batch, cwd=tmp_path), 2, "人", "line 1")
