"""Options that say how the face moves, and what they become: controls in the preset schema, a request's motion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from vasa_cli.commands.common import INPUTS, MOTION, check_weights
from vasa_cli.commands.options import option as _option
from vasa_cli.commands.options import preset_names
from vasa_cli.errors import UsageError

PresetName = Annotated[
    str | None,
    _option(
        "--preset", "-p", metavar="NAME|FILE", help="Preset by name, or a YAML file.", panel=MOTION, show_default="neutral",
        autocompletion=preset_names,
    ),
]  # fmt: skip
Seed = Annotated[
    int | None,
    _option("--seed", "-s", help="Another number, another performance.", panel=MOTION, min=0, max=2**31 - 1, show_default="0"),
]
GazeFlag = Annotated[
    str | None,
    _option(
        "--gaze",
        metavar="YAW,PITCH",
        help="Gaze in degrees: right of the picture -30..30, up -25..25.",
        panel=MOTION,
        show_default=False,
    ),
]
DistanceFlag = Annotated[
    float | None,
    _option("--distance", help="Head distance 0.6..1.8; 1 is as in the photo, less is nearer.", panel=MOTION, show_default=False),
]
EmotionFlag = Annotated[
    list[str] | None,
    _option(
        "--emotion",
        "-e",
        metavar="NAME=W",
        help="Weight 0..1, repeatable: happy, sad, angry, surprised, afraid, disgusted, contempt.",
        panel=MOTION,
        show_default=False,
    ),
]
HeadFlag = Annotated[float | None, _option("--head", help="Size of head movement, 0..2.", panel=MOTION, show_default=False)]
BrowsFlag = Annotated[float | None, _option("--brows", help="Size of brow movement, 0..2.", panel=MOTION, show_default=False)]
BlinkFlag = Annotated[float | None, _option("--blink", help="Blinking, 0..2.", panel=MOTION, show_default=False)]
MouthFlag = Annotated[float | None, _option("--mouth", help="Size of mouth movement, 0..2.", panel=MOTION, show_default=False)]
GuidanceFlag = Annotated[
    list[str] | None,
    _option(
        "--guidance",
        metavar="NAME=L,...",
        help="How strongly the motion keeps to audio, gaze, distance, emotion: 0..4 each, such as audio=0.5,gaze=1.0.",
        panel=MOTION,
        show_default="the model's own",
    ),
]
StyleFlag = Annotated[
    Path | None,
    _option(
        "--style",
        metavar="CLIP|MOTION",
        help="Move in the manner of the person in this video clip, or of this motion file.",
        panel=MOTION,
        show_default=False,
    ),
]
StyleSeed = Annotated[
    int | None,
    _option(
        "--style-seed",
        help="A manner drawn at random: another number, another person.",
        panel=MOTION,
        min=0,
        max=2**31 - 1,
        show_default=False,
    ),
]
Steps = Annotated[
    int | None,
    _option("--steps", help="Sampler steps of the motion model.", panel=MOTION, min=1, max=1000, show_default="the model's own"),
]
DriveClip = Annotated[
    Path | None,
    _option(
        "--drive",
        help="Play the motion of the face in this video clip; without AUDIO the clip's own sound is kept.",
        panel=INPUTS,
        show_default=False,
    ),
]
DriveMode = Annotated[
    str | None,
    _option(
        "--drive-mode",
        metavar="relative|absolute",
        help="relative: the driver's motion around their own rest, for any face; absolute: as it is, for a photo of the driver.",
        panel=MOTION,
        show_default="relative",
    ),
]


def control_flags(
    gaze: str | None, distance: float | None, emotion: list[str] | None,
    head: float | None, brows: float | None, blink: float | None, mouth: float | None,
    guidance: list[str] | None = None, style_seed: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The control flags that were given, in the preset schema."""
    from vasa_cli.motion.presets import parse_emotions, parse_gaze, parse_guidance

    flags: dict[str, Any] = {"distance": distance, "head": head, "brows": brows, "blink": blink, "mouth": mouth}
    if gaze is not None:
        flags["gaze"] = parse_gaze(gaze)
    if emotion:
        flags["emotion"] = parse_emotions(emotion)
    if guidance:
        flags["guidance"] = parse_guidance(guidance)
    if style_seed is not None:
        flags["style"] = {"seed": style_seed}
    return {key: value for key, value in flags.items() if value is not None}


def drive_options(clip: Path | None, mode: str | None, **generated: Any) -> Any:
    """Drive from the command line, or None. Raises UsageError."""
    from vasa_cli.drive import Drive

    if clip is None:
        if mode is not None:
            raise UsageError("--drive-mode says how a clip drives: name the clip with --drive")
        return None
    given = [f"--{name.replace('_', '-')}" for name, value in generated.items() if value not in (None, [])]
    if given:
        raise UsageError(f"--drive measures its motion: {', '.join(given)} belongs to generated motion")
    return Drive(clip, mode or "relative")


def motion_options(
    flags: dict[str, Any], preset: str | None, seed: int | None, weights: str | None, steps: int | None, device: str | None,
    style: Path | None = None, speech: str | None = None,
) -> Any:  # fmt: skip
    """MotionOptions from the command line: flag > preset > default."""
    from vasa_cli.files import check_input
    from vasa_cli.motion.presets import DEFAULT_PRESET, load_preset, resolve_controls
    from vasa_cli.pipeline import MotionOptions
    from vasa_cli.requests import SPEECH, check_speech

    if style is not None and "style" in flags:
        raise UsageError("--style and --style-seed both bring a manner: leave one out")
    if style is not None:
        check_input(style, "style clip")
    loaded = load_preset(preset if preset is not None else DEFAULT_PRESET)
    controls = resolve_controls(loaded, flags)
    heard = check_speech(speech or SPEECH[0])
    return MotionOptions(
        controls, loaded.name, seed or 0, check_weights(weights), steps, device or "auto", style, heard, loaded.path
    )
