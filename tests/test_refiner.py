"""The learned refiner: nothing happens without training, patches go back where they came from, the way through the command."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Vasa, assert_fails_well

from vasa_cli.decoder import face_patches as fp
from vasa_cli.decoder.refiner import Refiner
from vasa_cli.decoder.render import FaceDecoder
from vasa_cli.errors import WeightsError
from vasa_cli.motion.basis import DynamicsBasis
from vasa_cli.motion.track import MotionTrack
from vasa_cli.portrait.latent import FaceLatent
from vasa_cli.training import refiner_eval, refiner_train
from vasa_cli.training.refiner_pairs import Followed, Pairs, into_register, join, pairs_of

SMOKE = ("--weights", "smoke")


@pytest.fixture(scope="module")
def latent(face: Path) -> FaceLatent:
    return FaceLatent.load(face)


@pytest.fixture(scope="module")
def track(latent: FaceLatent) -> MotionTrack:
    """Six frames: the head turns, the mouth opens, the eyes close."""
    basis, steps = DynamicsBasis.load(), np.linspace(0, 1, 6, dtype=np.float32)[:, None]
    pose = steps * np.array([[0.2, -0.1, 0.15, 0.05, 0.0, 0.1]], np.float32)
    return MotionTrack(pose, steps * (0.15 * basis.mouth_open_direction + basis.blink_direction), Fraction(25), 0)


def trained(seed: int) -> Refiner:
    """A refiner that does something, whatever it is."""
    torch.manual_seed(seed)
    refiner = Refiner(8)
    for net in (refiner.mouth, refiner.eye):
        torch.nn.init.normal_(net.leave.weight, std=0.05)
    return refiner


def frames(latent: FaceLatent, track: MotionTrack, refiner: Refiner | bool, size: int = 512) -> np.ndarray:
    return np.concatenate(list(FaceDecoder(latent, refine=refiner, size=size).frames(track)))


def test_untrained_weights_change_nothing(latent: FaceLatent, track: MotionTrack) -> None:
    assert np.array_equal(frames(latent, track, False), frames(latent, track, Refiner(8)))


def test_only_mouth_and_eyes_change_and_always_alike(latent: FaceLatent, track: MotionTrack) -> None:
    plain, once, again = frames(latent, track, False), frames(latent, track, trained(0)), frames(latent, track, trained(0))
    assert np.array_equal(once, again)
    changed = (once != plain).any(-1)
    decoder = FaceDecoder(latent)
    with torch.inference_mode():
        head, shape = decoder.head.pose(torch.from_numpy(track.pose)), decoder.vertices(torch.from_numpy(track.dynamics))
        flat = decoder.on_picture(shape, head).numpy()
    y, x = np.mgrid[:512, :512]
    for i, points in enumerate(flat):
        near = np.zeros((512, 512), bool)
        for slit, reach in ((13, 0.55), (159, 0.3), (386, 0.3)):
            near |= np.hypot(x - points[slit, 0], y - points[slit, 1]) < reach * float(latent.scale)
        assert changed[i].sum() > 500 and not (changed[i] & ~near).any()


def test_a_patch_goes_back_where_it_came_from(latent: FaceLatent, track: MotionTrack) -> None:
    decoder = FaceDecoder(latent)
    with torch.inference_mode():
        head, shape = decoder.head.pose(torch.from_numpy(track.pose)), decoder.vertices(torch.from_numpy(track.dynamics))
        flat = decoder.on_picture(shape, head)
        for frame in fp.frames_of(flat, head, decoder.head.scale):
            picture = torch.zeros(len(flat), 3, 512, 512)
            spot = torch.zeros(len(flat), 3, frame.window.height, frame.window.width)
            spot[..., frame.window.height // 4, frame.window.width // 4] = 1.0  # off the middle: mirrored eyes stay mirrored
            for _ in range(3):
                spot = torch.nn.functional.avg_pool2d(spot, 7, 1, 3)
            spot = spot / spot.max()
            frame.add(picture, spot)
            assert float((frame.cut(picture) - spot).abs().max()) < 0.15
            assert float(picture.sum()) > 0


def test_pictures_of_any_size_are_refined_alike(latent: FaceLatent, track: MotionTrack) -> None:
    large = frames(latent, track, trained(0), 1024).astype(float) - frames(latent, track, False, 1024)
    small = frames(latent, track, trained(0)).astype(float) - frames(latent, track, False)
    shrunk = large.reshape(len(large), 512, 2, 512, 2, 3).mean((2, 4))
    assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.9


# ---------------------------------------------------------------------------------------------------- training


def drawn_pairs(kind: str, clip: str, count: int, seed: int) -> Pairs:
    """Skin with an opening that is rendered twice as bright as it is."""
    window = fp.MOUTH if kind == "mouth" else fp.EYE
    h, w = window.height, window.width
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w].astype(np.float32)
    now, real, cover = [], [], []
    skin = random.integers(90, 190, 3) + 12 * np.sin(x / 7 + y / 11)[..., None]
    for i in range(count):
        tall = 0.06 + 0.2 * i / count
        inside = ((((x - w / 2) / (0.3 * w)) ** 2 + ((y - h / 2) / (tall * h)) ** 2) < 1)[..., None]
        now.append(np.where(inside, 160.0, skin))
        real.append(np.where(inside, 80.0, skin))
        cover.append(inside[::2, ::2, 0] * 255)
    read = np.stack([np.linspace(0, 1, count), np.ones(count), np.zeros(count), np.zeros(count)], 1)
    as_bytes = [np.stack(v).clip(0, 255).astype(np.uint8) for v in (now, real, real)]
    rest = skin.clip(0, 255).astype(np.uint8)[None]
    return Pairs(
        *as_bytes, np.stack(cover).astype(np.uint8), read.astype(np.float32), np.zeros(count, np.int64),
        rest, np.zeros((1, h // 2, w // 2), np.uint8), np.array([[0, 1, 0, 0]], np.float32), np.full(count, clip),
    )  # fmt: skip


RECIPE = refiner_train.Recipe(steps=40, batch=4, width=8, adversary_from=0.8, rate=4e-3)


@pytest.mark.parametrize("kind", ["mouth", "eye"])
def test_training_learns_what_is_wrong_on_people_it_sees_for_the_first_time(kind: str) -> None:
    pairs = join([drawn_pairs(kind, f"p{i}", 8, i) for i in range(3)])
    stranger = drawn_pairs(kind, "stranger", 8, 9)
    net = refiner_train.train(kind, pairs, RECIPE)
    now, refined, real = refiner_train.apply(net, kind, stranger)
    inside, ellipse = refiner_eval.opened(stranger), refiner_eval.border(kind)
    before, after = (refiner_eval.quality(v, real, inside, ellipse) for v in (now, refined))
    assert after.inside > before.inside + 0.5 and after.psnr > before.psnr


def test_a_stopped_training_ends_as_one_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = join([drawn_pairs("eye", f"p{i}", 6, i) for i in range(2)])
    whole = refiner_train.train("eye", pairs, RECIPE)

    class Stopped(Exception):
        pass

    advance = refiner_train.Trainer.advance

    def stop(trainer: refiner_train.Trainer) -> dict[str, float]:
        if trainer.step == 13:
            raise Stopped
        return advance(trainer)

    monkeypatch.setattr(refiner_train, "EVERY", 5)
    monkeypatch.setattr(refiner_train.Trainer, "advance", stop)
    with pytest.raises(Stopped):
        refiner_train.train("eye", pairs, RECIPE, tmp_path / "at.pt")
    monkeypatch.setattr(refiner_train.Trainer, "advance", advance)
    resumed = refiner_train.train("eye", pairs, RECIPE, tmp_path / "at.pt")
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_simple_corrections_find_the_factor() -> None:
    pairs = join([drawn_pairs("mouth", f"p{i}", 8, i) for i in range(3)])
    gain = refiner_eval.fit_gain(pairs)
    assert gain.__doc__ in ("inside x 0.50", "inside x 0.51")
    stranger = drawn_pairs("mouth", "stranger", 8, 9)
    made = gain(stranger)
    assert np.abs(made - stranger.real / 255)[refiner_eval.opened(stranger)].mean() < 0.02


def test_pairs_show_the_same_place_rendered_and_real(astronaut: Path) -> None:
    """A "clip" whose only motion is that the whole picture slides: rendering it must bring the same picture."""
    from PIL import Image

    from vasa_cli.portrait.landmarks import find_faces

    photo = np.asarray(Image.open(astronaut).convert("RGB"))
    points = find_faces(photo)[0].landmarks
    steps = [0, 3, 6, 9, 12, 15]
    frames = [np.roll(photo, step, 1) for step in steps]
    marks = np.stack([points + np.array([step, 0, 0], np.float32) for step in steps])
    clip = Followed("slide", frames, marks.astype(np.float32), np.ones(len(steps), bool), Fraction(25), 0)
    for kind, pairs in pairs_of(clip, 0, np.array([2, 4])).items():
        assert len(pairs) == (2 if kind == "mouth" else 4)
        ellipse = refiner_eval.border(kind)
        assert np.abs(pairs.now.astype(float) - pairs.raw)[:, ellipse].mean() < 6
        assert np.abs(pairs.raw[0].astype(float) - pairs.rest[0])[ellipse].mean() < 6
        assert np.allclose(pairs.read[0], pairs.rest_read[0], atol=0.1)


def test_real_patches_come_into_register() -> None:
    random = np.random.default_rng(0)
    import cv2

    scene = cv2.GaussianBlur(random.integers(0, 255, (96, 128, 3)).astype(np.float32), (0, 0), 4)
    scene = ((scene - scene.min()) / np.ptp(scene) * 255).astype(np.uint8)
    shifted = np.roll(scene, 2, axis=1)
    moved = into_register(shifted, scene)
    core = (slice(20, -20), slice(20, -20))
    assert np.abs(moved[core].astype(float) - scene[core]).mean() < 0.4 * np.abs(shifted[core].astype(float) - scene[core]).mean()


# ---------------------------------------------------------------------------------------------------- the command


def test_refining_without_weights_says_how_to_train(
    vasa: Vasa, face: Path, astronaut: Path, speech: Path, tmp_path: Path
) -> None:
    args = ("render", astronaut, speech, "-o", tmp_path / "out.mp4", "--refine", *SMOKE)
    for extra in ((), ("--dry-run",)):
        done = vasa(*args, *extra, env={"VASA_WEIGHTS_DIR": str(tmp_path)})
        assert_fails_well(done, 5, "refiner.safetensors", "scripts/train_refiner.py", "--refine")
    assert not (tmp_path / "out.mp4").exists()


def test_render_records_the_refiner_and_repeats_it(vasa: Vasa, face: Path, astronaut: Path, speech: Path, tmp_path: Path) -> None:
    trained(0).save(tmp_path / "refiner.safetensors")
    own = {"VASA_WEIGHTS_DIR": str(tmp_path)}
    jobs = tmp_path / "jobs.jsonl"
    row = {"portrait": str(astronaut), "audio": str(speech), "seed": 1}
    jobs.write_text("\n".join(json.dumps({**row, **more}) for more in ({"id": "yes"}, {"id": "no", "refine": False})))
    done = vasa("batch", jobs, "--refine", *SMOKE, "--json", env=own)
    assert done.returncode == 0, done.stderr
    refined, plain = (json.loads((tmp_path / f"{name}.mp4.json").read_text()) for name in ("yes", "no"))
    assert refined["options"]["refine"] and not plain["options"]["refine"]
    assert "refiner" in refined["weights"] and "refiner" not in plain["weights"]
    assert refined["frame_hash"] != plain["frame_hash"]
    again = vasa("render", "--from", tmp_path / "yes.mp4.json", "-o", tmp_path / "again.mp4", "--json", env=own)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["reproduced"]
    trained(1).save(tmp_path / "refiner.safetensors")
    other = vasa("render", "--from", tmp_path / "yes.mp4.json", "-o", tmp_path / "other.mp4", env=own)
    assert_fails_well(other, 5, "refiner")


def test_damaged_or_foreign_weights_are_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import save_file

    monkeypatch.setenv("VASA_WEIGHTS_DIR", str(tmp_path))
    save_file({"a": torch.zeros(1)}, str(tmp_path / "refiner.safetensors"), metadata={"format": "other/1"})
    with pytest.raises(WeightsError, match="vasa-refiner/1"):
        Refiner.load()
    save_file({"a": torch.zeros(1)}, str(tmp_path / "refiner.safetensors"), metadata={"format": "vasa-refiner/1"})
    with pytest.raises(WeightsError, match="do not fit"):
        Refiner.load()
