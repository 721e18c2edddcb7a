"""`vasa generate`: a recording becomes a motion file that any face can play."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vasa_cli.commands import common, motion_flags
from vasa_cli.errors import UsageError
from vasa_cli.progress import make_reporter

Portrait = Annotated[
    Path,
    typer.Argument(
        help="A photo or a face file; it is checked and encoded, the motion does not depend on it.", show_default=False
    ),
]
Audio = Annotated[Path | None, typer.Argument(help="The recording; also a video's sound.", show_default=False)]


@common.command
def generate(
    portrait: Portrait,
    audio: Audio = None,
    output: common.OutputPath = None,
    preset: motion_flags.PresetName = None,
    seed: motion_flags.Seed = None,
    gaze: motion_flags.GazeFlag = None,
    distance: motion_flags.DistanceFlag = None,
    emotion: motion_flags.EmotionFlag = None,
    head: motion_flags.HeadFlag = None,
    brows: motion_flags.BrowsFlag = None,
    blink: motion_flags.BlinkFlag = None,
    mouth: motion_flags.MouthFlag = None,
    guidance: motion_flags.GuidanceFlag = None,
    style: motion_flags.StyleFlag = None,
    style_seed: motion_flags.StyleSeed = None,
    steps: motion_flags.Steps = None,
    speech: common.Speech = None,
    drive: motion_flags.DriveClip = None,
    drive_mode: motion_flags.DriveMode = None,
    face: common.Face = "largest",
    crop: common.Crop = None,
    overwrite: common.Overwrite = False,
    weights: common.Weights = None,
    device: common.Device = None,
    threads: common.Threads = None,
    max_pixels: common.MaxPixels = None,
    max_duration: common.MaxDuration = None,
    cache_dir: common.CacheDir = None,
    no_cache: common.NoCache = False,
    dry_run: common.DryRun = False,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Generate the motion of AUDIO, or measure that of a --drive clip.

    Play it with `vasa render PORTRAIT [AUDIO] --motion FILE`.
    """
    common.use_threads(threads)
    common.use_limits(max_pixels, max_duration)
    flags = motion_flags.control_flags(gaze, distance, emotion, head, brows, blink, mouth, guidance, style_seed)
    options = motion_flags.motion_options(flags, preset, seed, weights, steps, device, style, speech)
    driver = motion_flags.drive_options(
        drive, drive_mode, seed=seed, steps=steps, guidance=guidance, style=style, style_seed=style_seed, speech=speech,
    )  # fmt: skip
    source = audio if driver is None else driver.clip
    if source is None or (audio is not None and driver is not None):
        raise UsageError("generate needs AUDIO or --drive CLIP: one of them brings the motion")
    from vasa_cli import pipeline
    from vasa_cli.record import face_is_cached, motion_plan, parse_crop

    target = output or Path(f"{source.stem}.motion{pipeline.FACE_SUFFIX}")
    if target.suffix.lower() != pipeline.FACE_SUFFIX:
        raise UsageError(f"{target.name}: a motion file is named *{pipeline.FACE_SUFFIX}")
    encode = pipeline.EncodeRequest(portrait, None, face, parse_crop(crop), cache_dir, not no_cache)
    request = pipeline.GenerateRequest(audio, target, options, overwrite, driver)
    if dry_run:
        common.emit_plan({**motion_plan(request), "face_cached": face_is_cached(encode)}, as_json)
        return
    pipeline.check_output(target, overwrite=overwrite)
    reporter = make_reporter(quiet=quiet)
    face_latent = pipeline.encode(encode, reporter).face
    result = pipeline.generate(request, reporter, face=face_latent, look=encode)
    data = {
        "output": str(target),
        "frames": len(result.track),
        "fps": f"{result.track.fps.numerator}/{result.track.fps.denominator}",
        "seed": result.track.seed,
        "seconds": round(result.seconds, 3),
    }
    common.emit(data, str(target), as_json)
