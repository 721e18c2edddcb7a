"""--guidance, --style and --style-seed on their way from the command line and the manifest to the motion and its record."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import SPEECH
from typer.testing import CliRunner

from vasa_cli import pipeline
from vasa_cli.batch.manifest import Shared, read_manifest
from vasa_cli.cli import app
from vasa_cli.commands import motion_flags
from vasa_cli.errors import InputError, UsageError
from vasa_cli.motion.behaviour.style import MotionStyle, random_style
from vasa_cli.motion.controls import Controls
from vasa_cli.motion.track import MotionTrack


def flags(guidance: list[str] | None = None, style_seed: int | None = None) -> dict[str, object]:
    return motion_flags.control_flags(None, None, None, None, None, None, None, guidance, style_seed)


def test_flags_reach_the_controls() -> None:
    options = motion_flags.motion_options(flags(["audio=0.5,gaze=1"], 7), None, None, None, None, None)
    assert dict(options.controls.guidance) == {"audio": 0.5, "gaze": 1.0}
    assert options.controls.style == random_style(7)
    assert motion_flags.motion_options(flags(), "calm", None, None, None, None).controls.style.pace == 0.7


@pytest.mark.parametrize(
    ("value", "words"), [("audio=5", "audio = 5.0 0 to 4"), ("adio=1", "did you mean audio?"), ("gaze", "STRENGTH")]
)
def test_wrong_guidance_ends_with_exit_2_and_names_key_and_range(value: str, words: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["render", "a.jpg", str(SPEECH), "-o", str(tmp_path / "o.mp4"), "--guidance", value])
    assert done.exit_code == 2
    assert all(word in done.output for word in words.split(" "))


def test_two_manners_or_none_to_be_found_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave one out"):
        motion_flags.motion_options(flags(style_seed=1), None, None, None, None, None, SPEECH)
    with pytest.raises(InputError, match="style clip"):
        motion_flags.motion_options(flags(), None, None, None, None, None, tmp_path / "none.mp4")
    with pytest.raises(UsageError, match="--style-seed belongs to generated motion"):
        motion_flags.drive_options(Path("clip.mp4"), None, seed=None, style_seed=3, guidance=None)


def test_rows_of_a_manifest_bring_manners(tmp_path: Path) -> None:
    rows = [
        {"portrait": "a.jpg", "audio": "a.wav", "id": "1", "style_seed": 4, "guidance": "audio=1"},
        {"portrait": "a.jpg", "audio": "a.wav", "id": "2", "style": {"nods": 1.5}, "guidance": {"gaze": 2}},
        {"portrait": "a.jpg", "audio": "a.wav", "id": "3", "style": "her.mp4"},
    ]
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    first, second, third = (job.request.motion for job in read_manifest(str(tmp_path / "jobs.jsonl"), Shared()))
    assert first.controls.style == random_style(4) and dict(first.controls.guidance) == {"audio": 1.0}
    assert second.controls.style == MotionStyle(nods=1.5) and dict(second.controls.guidance) == {"gaze": 2.0}
    assert third.style_from == tmp_path / "her.mp4"
    (tmp_path / "jobs.jsonl").write_text(json.dumps({**rows[1], "guidance": "audio=9"}), encoding="utf-8")
    with pytest.raises(UsageError, match="0 to 4"):
        read_manifest(str(tmp_path / "jobs.jsonl"), Shared())


def test_the_manner_of_a_motion_file_is_measured_stored_and_played(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pose = np.zeros((750, 6), np.float32)
    pose[:, 0] = np.radians(9) * np.sin(np.arange(750) / 20)  # somebody who turns the head far, and never blinks
    dynamics = (0.01 * rng.standard_normal((750, 62))).astype(np.float32)
    MotionTrack(pose, dynamics).save(tmp_path / "lively.safetensors")

    def generate(**changes: object) -> MotionTrack:
        options = pipeline.MotionOptions(weights="smoke", **changes)  # type: ignore[arg-type]
        return pipeline.generate(pipeline.GenerateRequest(SPEECH, motion=options)).track

    usual, lively = generate(), generate(style_from=tmp_path / "lively.safetensors")
    style = MotionStyle.from_json(lively.controls["style"])
    assert style.head_yaw > 1.5 and style.blinks < 0.6
    assert not np.allclose(lively.pose, usual.pose, atol=1e-4)
    again = generate(controls=Controls.from_json(lively.controls))  # what `render --from` does
    assert np.array_equal(again.pose, lively.pose) and np.array_equal(again.dynamics, lively.dynamics)
