"""Where the video goes: sizes, the whole photo, other backgrounds and none, through the real command."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Vasa, assert_fails_well
from PIL import Image

from vasa_cli.video.ffmpeg import find_ffmpeg

SMOKE = ("--weights", "smoke")
FRAMES = 6
GREEN = (0, 177, 64)
MOVES = {"preset": "energetic", "seed": 1, "gaze": "20,0"}


@pytest.fixture(scope="module")
def wide_photo(astronaut: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The astronaut in an odd-sized photo with room around: 701x603."""
    rgb = np.asarray(Image.open(astronaut).convert("RGB"))
    path = tmp_path_factory.mktemp("wide") / "wide.png"
    Image.fromarray(np.pad(rgb, ((60, 31), (90, 99), (0, 0)), "edge")).save(path)
    return path


@pytest.fixture(scope="module")
def jobs(
    vasa: Vasa, face: Path, astronaut: Path, wide_photo: Path, speech: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """One batch that writes every kind of output; id to output."""
    folder = tmp_path_factory.mktemp("pictures")
    Image.fromarray(np.full((40, 90, 3), GREEN, np.uint8)).save(folder / "wall.png")
    rows: list[dict[str, Any]] = [
        {"id": "plain"},
        {"id": "small", "size": 256},
        {"id": "large", "size": 1024},
        {"id": "green", "background": "#00b140"},
        {"id": "web", "background": "white", "output": "web.webm"},
        {"id": "clear-mov", "background": "transparent"},
        {"id": "clear-webm", "background": "transparent", "output": "clear.webm"},
        {"id": "clear-png", "background": "transparent", "output": "clear 100%/"},
        {"id": "wall", "background": "wall.png", "output": "wall/p_%03d.png"},
        {"id": "full", "fit": "full", "portrait": str(wide_photo)},
        {"id": "full-png", "fit": "full", "portrait": str(wide_photo), "output": "full/"},
        {"id": "full-green", "fit": "full", "portrait": str(wide_photo), "background": "#00b140", "output": "fullgreen/"},
        {"id": "full-clear", "fit": "full", "portrait": str(wide_photo), "background": "transparent", "output": "fullclear/"},
    ]
    lines = [json.dumps({"portrait": str(astronaut), "audio": str(speech), **MOVES, **row}) for row in rows]
    (folder / "jobs.jsonl").write_text("\n".join(lines))
    done = vasa("batch", folder / "jobs.jsonl", *SMOKE, "--json")
    assert done.returncode == 0, done.stderr
    return {job["id"]: Path(job["output"]) for job in json.loads(done.stdout)["jobs"]}


def pictures(path: Path, size: tuple[int, int], *, alpha: bool = False) -> np.ndarray:
    """(T, H, W, 3 or 4) as an independent call of ffmpeg decodes it."""
    command: list[Any] = [find_ffmpeg(), "-v", "error"]
    if alpha and path.suffix == ".webm":
        command += ["-c:v", "libvpx-vp9"]
    form = "rgba" if alpha else "rgb24"
    command += ["-i", path.name, "-vf", "scale=in_color_matrix=bt709:flags=accurate_rnd+full_chroma_int", "-pix_fmt", form]
    done = subprocess.run([*command, "-f", "rawvideo", "-"], capture_output=True, check=True, cwd=path.parent)
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, size[1], size[0], 4 if alpha else 3)


def receipt(path: Path) -> dict[str, Any]:
    from vasa_cli.video.receipt import receipt_path

    return dict(json.loads(receipt_path(path).read_text(encoding="utf-8")))


def native(wide_photo: Path, cache_dir: Path) -> Any:
    from vasa_cli.portrait.cache import FaceCache

    face, hit = FaceCache(cache_dir).get_or_encode(wide_photo, size="native")
    assert hit
    return face


@pytest.mark.parametrize(("job", "side"), [("plain", 512), ("small", 256), ("large", 1024)])
def test_sizes(jobs: dict[str, Path], job: str, side: int) -> None:
    shown = pictures(jobs[job], (side, side))
    assert len(shown) == FRAMES
    assert receipt(jobs[job])["size"] == [side, side]
    nose = shown[0, int(0.42 * side), int(0.5 * side)].astype(int)
    reference = pictures(jobs["plain"], (512, 512))[0, int(0.42 * 512), 256].astype(int)
    assert np.abs(nose - reference).max() < 25  # the same picture, only larger or smaller


def test_a_coloured_background(jobs: dict[str, Path]) -> None:
    shown = pictures(jobs["green"], (512, 512)).astype(int)
    assert np.abs(shown[:, :40, -40:] - GREEN).max() <= 4  # H.264 of a flat colour
    assert receipt(jobs["green"])["options"]["background"] == "#00b140"
    white = pictures(jobs["web"], (512, 512)).astype(int)
    assert (255 - white[:, :40, -40:]).max() <= 4
    wall = pictures(jobs["wall"], (512, 512))
    assert (wall[:, :40, -40:] == GREEN).all()  # PNG keeps every value
    assert [p.name for p in sorted(jobs["wall"].parent.iterdir())] == [f"p_{i:03d}.png" for i in range(FRAMES)]


@pytest.mark.parametrize("job", ["clear-mov", "clear-webm", "clear-png"])
def test_transparency(jobs: dict[str, Path], job: str) -> None:
    shown = pictures(jobs[job], (512, 512), alpha=True)
    alpha = shown[..., 3].astype(int)
    assert len(alpha) == FRAMES
    assert alpha[:, :40, -40:].max() <= 2
    assert alpha[:, 170:300, 210:300].min() >= 253  # the face, eyes and mouth in it too
    assert 0.25 < alpha.mean() / 255 < 0.85
    opaque = pictures(jobs["green"], (512, 512)).astype(float)
    share = alpha[..., None] / 255
    again = shown[..., :3] * share + np.array(GREEN) * (1 - share)
    assert np.abs(again - opaque).mean() < 2.0  # straight alpha: over green it is the green video


def test_alpha_counts_in_the_hash_and_the_pictures_are_the_same_lossless(jobs: dict[str, Path]) -> None:
    from vasa_cli.video.formats import format_of
    from vasa_cli.video.framehash import frame_hash

    for job in ("clear-mov", "clear-webm", "clear-png"):
        data = receipt(jobs[job])
        assert data["pixels"] == format_of(jobs[job], alpha=True).pixels
        assert data["frame_hash"] == f"sha256:{frame_hash(jobs[job], (512, 512), format_of(jobs[job], alpha=True)).sha256}"
    opaque = frame_hash(jobs["clear-png"], (512, 512), format_of(jobs["clear-png"]))
    assert f"sha256:{opaque.sha256}" != receipt(jobs["clear-png"])["frame_hash"]


def test_the_head_in_the_whole_photo(jobs: dict[str, Path], wide_photo: Path, cache_dir: Path) -> None:
    photo = np.asarray(Image.open(wide_photo).convert("RGB"))
    face = native(wide_photo, cache_dir)
    x, y, side = int(face.crop[0]), int(face.crop[1]), round(float(face.crop[2]) * 512)
    outside = np.ones(photo.shape[:2], bool)
    outside[y : y + side, x : x + side] = False
    assert 0.1 < outside.mean() < 0.9
    shown = pictures(jobs["full-png"], (701, 603))
    assert all((picture[outside] == photo[outside]).all() for picture in shown)
    assert (shown[:, y, x : x + side] == photo[y, x : x + side]).all()  # the crop's edge itself, too: no seam
    assert np.abs(shown[0].astype(int) - photo)[~outside].max() > 60  # and inside something moves
    inner = np.abs(shown[0].astype(int) - photo)[y + 3 : y + side - 3, x + 3 : x + 9]
    assert inner.mean() < 2.5  # fading in, it starts from nothing
    assert receipt(jobs["full"])["size"] == [700, 602]  # H.264 takes even sizes only
    assert pictures(jobs["full"], (700, 602)).shape == (FRAMES, 602, 700, 3)


def test_the_whole_person_before_another_background(jobs: dict[str, Path]) -> None:
    shown = pictures(jobs["full-green"], (701, 603))
    clear = pictures(jobs["full-clear"], (701, 603), alpha=True)
    assert (shown[:, :30, -30:] == GREEN).all()
    assert clear[:, :30, -30:, 3].max() == 0
    assert 0.15 < clear[..., 3].mean() / 255 < 0.8
    share = clear[..., 3:].astype(float) / 255
    assert np.abs(clear[..., :3] * share + np.array(GREEN) * (1 - share) - shown).mean() < 1.0


def test_every_format_says_that_it_is_ai(jobs: dict[str, Path]) -> None:
    import av

    from vasa_cli.video.provenance import SOURCE_TYPE, read_xmp

    for picture in jobs["clear-png"].parent.iterdir():
        assert SOURCE_TYPE in Image.open(picture).text["XML:com.adobe.xmp"]
    packet = read_xmp(jobs["clear-mov"])
    assert packet is not None and SOURCE_TYPE.encode() in packet
    with av.open(str(jobs["clear-webm"])) as video:
        assert "AI-generated" in video.metadata["COMMENT"]
        assert video.streams.audio[0].codec_context.name == "opus"


def test_receipts_repeat_pictures_too(vasa: Vasa, jobs: dict[str, Path], tmp_path: Path) -> None:
    from vasa_cli.video.receipt import receipt_path

    done = vasa("render", "--from", receipt_path(jobs["wall"]), "-o", f"{tmp_path}/again/", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["reproduced"] is True
    assert len(list((tmp_path / "again").iterdir())) == FRAMES
    wall = jobs["wall"].parent.parent / "wall.png"
    Image.new("RGB", (8, 8)).save(wall)
    assert_fails_well(vasa("render", "--from", receipt_path(jobs["wall"]), "-o", tmp_path / "b.mp4"), 3, "wall.png", "changed")
    assert_fails_well(vasa("render", "--from", receipt_path(jobs["wall"]), "--fit", "full"), 2, "--fit")


def test_what_cannot_be_is_refused(vasa: Vasa, face: Path, astronaut: Path, speech: Path, tmp_path: Path) -> None:
    def fails(*arguments: object, code: int = 2, words: tuple[str, ...]) -> None:
        assert_fails_well(vasa("render", *arguments, *SMOKE, "--dry-run"), code, *words)

    out = tmp_path / "a.mp4"
    fails(
        astronaut,
        speech,
        "-o",
        out,
        "--background",
        "transparent",
        words=(".mp4 holds no transparency", ".mov", ".webm", "frames/"),
    )
    fails(astronaut, speech, "-o", out, "--background", "grene", words=("grene", "neither a colour nor a file"))
    fails(astronaut, speech, "-o", out, "--background", speech, code=3, words=("--background", "speech.wav"))
    fails(astronaut, speech, "-o", out, "--fit", "cover", words=("--fit", "crop, full"))
    for size in ("100", "513", "2048"):
        fails(astronaut, speech, "-o", out, "--size", size, words=("--size", "256"))
    fails(astronaut, speech, "-o", out, "--size", "700", "--fit", "full", words=("--size", "--fit full"))
    fails(astronaut, speech, "-o", tmp_path / "a.png", words=("one picture", "frames/"))
    fails(astronaut, speech, "-o", tmp_path / "f" / "%s.png", words=("number",))
    fails(face, speech, "-o", out, "--fit", "full", words=("whole photo", "vasa encode --fit full"))
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "notes.txt").write_text("mine")
    fails(astronaut, speech, "-o", f"{kept}/", "--overwrite", words=("notes.txt",))
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]


def test_face_files_for_large_pictures(vasa: Vasa, face: Path, wide_photo: Path, speech: Path, tmp_path: Path) -> None:
    """A face file that holds the photo is pasted back without it; a small one is enlarged, and says so where more was there."""
    done = vasa("encode", wide_photo, "--fit", "full", "-o", tmp_path / "whole.safetensors")
    assert done.returncode == 0, done.stderr
    whole = tmp_path / "whole.safetensors"
    done = vasa("render", whole, speech, "-o", tmp_path / "a.mp4", *SMOKE, "--fit", "full", "--json")
    assert done.returncode == 0, done.stderr
    assert receipt(tmp_path / "a.mp4")["size"] == [700, 602]
    crop = vasa("render", whole, speech, "-o", tmp_path / "crop.mp4", *SMOKE)
    assert crop.returncode == 0
    assert "wider than usual" in crop.stderr
    plan = json.loads(vasa("render", wide_photo, speech, "-o", f"{tmp_path}/f/", *SMOKE, "--fit", "full", "-n", "--json").stdout)
    assert (plan["size"], plan["face_cached"], plan["encoder"][:6]) == ("701x603", True, "image2")


def test_pictures_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    from fractions import Fraction

    from vasa_cli.errors import UsageError
    from vasa_cli.files import check_folder
    from vasa_cli.video.formats import is_picture_of, parse_output
    from vasa_cli.video.writer import VideoWriter

    target = parse_output(f"{tmp_path}/pictures/")
    block = np.zeros((2, 33, 47, 4), np.uint8)

    def interrupted() -> None:
        with VideoWriter(target, (47, 33), Fraction(25), 4, alpha=True) as writer:
            writer.write(block)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    for count in (4, 2):  # a second time: the older pictures go, all of them
        with VideoWriter(target, (47, 33), Fraction(25), count, alpha=True) as writer:
            for _ in range(count // 2):
                writer.write(block)
        assert len(list((tmp_path / "pictures").iterdir())) == count
    assert [p.name for p in tmp_path.iterdir()] == ["pictures"]
    with pytest.raises(UsageError, match="--overwrite"):
        check_folder(target.parent, lambda name: is_picture_of(target, name), overwrite=False)
    check_folder(target.parent, lambda name: is_picture_of(target, name), overwrite=True)
    (tmp_path / "pictures" / "frame_x.png").touch()
    with pytest.raises(UsageError, match=r"frame_x\.png"):
        check_folder(target.parent, lambda name: is_picture_of(target, name), overwrite=True)
    shutil.rmtree(tmp_path / "pictures")
