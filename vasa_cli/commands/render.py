"""`vasa render`: the main job, a replayed motion, or the repetition of a receipt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vasa_cli.commands import common, motion_flags
from vasa_cli.commands.options import words
from vasa_cli.errors import UsageError
from vasa_cli.progress import Reporter, make_reporter
from vasa_cli.video import CRF_RANGE, DEFAULT_CRF

if TYPE_CHECKING:
    from vasa_cli.pipeline import RenderRequest, RenderResult

Portrait = Annotated[
    Path | None, typer.Argument(help="A photo with a face, or a face file from `vasa encode`.", show_default=False)
]
Audio = Annotated[Path | None, typer.Argument(help="The recording; also a video's sound.", show_default=False)]
Motion = Annotated[
    Path | None, typer.Option("--motion", help="Play this motion file instead of generating one.", rich_help_panel=common.INPUTS)
]
From = Annotated[
    Path | None, typer.Option("--from", help="Repeat what this receipt (VIDEO.json) records.", rich_help_panel=common.INPUTS)
]
Crf = Annotated[
    int | None,
    typer.Option(
        "--crf",
        "--quality",
        min=CRF_RANGE[0],
        max=CRF_RANGE[1],
        help="Quality of H.264 and VP9: less is better and larger.",
        rich_help_panel=common.OUTPUT,
        show_default=str(DEFAULT_CRF),
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="The video: .mp4, .m4v, .mov, .mkv, .webm; or frames/ for a folder of PNG pictures (without sound).",
        rich_help_panel=common.OUTPUT,
        show_default=False,
    ),
]
Ground = Annotated[
    str | None,
    typer.Option(
        "--background",
        metavar="keep|COLOR|IMAGE|transparent",
        help="Behind the person: the photo's own background, a colour (white, #00b140), a picture, or nothing "
        "(in .mov as ProRes 4444, .webm as VP9, or frames/).",
        autocompletion=words("keep", "transparent"),
        rich_help_panel=common.OUTPUT,
        show_default="keep",
    ),
]
NoProvenance = Annotated[
    bool, typer.Option("--no-provenance", help="Leave the AI-generated mark out of the file.", rich_help_panel=common.OUTPUT)
]
Sign = Annotated[
    tuple[Path, Path] | None,
    typer.Option(
        "--sign",
        metavar="CERT.pem KEY.pem",
        help="Sign the video (.mp4, .m4v, .mov) as C2PA content credentials; needs the extra c2pa.",
        rich_help_panel=common.OUTPUT,
        show_default=False,
    ),
]
Dtype = Annotated[
    str | None, typer.Option("--dtype", help="float32 or float16.", rich_help_panel=common.RUN, show_default="float32")
]


@common.command
def render(
    portrait: Portrait = None,
    audio: Audio = None,
    output: Output = None,
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
    motion: Motion = None,
    drive: motion_flags.DriveClip = None,
    drive_mode: motion_flags.DriveMode = None,
    receipt: From = None,
    face: common.Face = "largest",
    crop: common.Crop = None,
    fit: common.Fit = None,
    size: common.PictureSize = None,
    background: Ground = None,
    refine: common.Refine = None,
    label: common.Label = None,
    label_font: common.LabelFont = None,
    crf: Crf = None,
    encoder: common.Encoder = None,
    no_provenance: NoProvenance = False,
    sign: Sign = None,
    overwrite: common.Overwrite = False,
    weights: common.Weights = None,
    device: common.Device = None,
    dtype: Dtype = None,
    threads: common.Threads = None,
    max_pixels: common.MaxPixels = None,
    max_duration: common.MaxDuration = None,
    cache_dir: common.CacheDir = None,
    no_cache: common.NoCache = False,
    dry_run: common.DryRun = False,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Make a talking-face video: PORTRAIT says AUDIO, or does what the face in a --drive clip does.

    Prints the path of the video. Beside it lies a receipt, VIDEO.json, from which --from makes the same video again.
    """
    from vasa_cli.picture import picture_options
    from vasa_cli.video.background import parse_background
    from vasa_cli.video.formats import parse_output

    common.use_threads(threads)
    common.use_limits(max_pixels, max_duration)
    flags = motion_flags.control_flags(gaze, distance, emotion, head, brows, blink, mouth, guidance, style_seed)
    kept: dict[str, Any] = {"cache_dir": cache_dir, "use_cache": not no_cache, "overwrite": overwrite}
    kept["sign"] = signing_of(sign)
    if receipt is not None:
        fixed = {
            "--preset": preset,
            "--seed": seed,
            "--steps": steps,
            "--speech": speech,
            "--style": style,
            "--style-seed": style_seed,
            "--motion": motion,
            "--drive": drive,
            "--drive-mode": drive_mode,
            "--weights": weights,
            "--dtype": dtype,
            "--crf": crf,
            "--encoder": encoder,
        }
        fixed |= {f"--{name}": value for name, value in flags.items() if name != "style"} | {
            "--crop": crop,
            "--fit": fit,
            "--size": size,
            "--background": background,
            "--refine": refine,
            "--disclosure-label": label,
            "--disclosure-font": label_font,
            "--no-provenance": no_provenance or None,
        }
        _refuse_beside_receipt(fixed)
        _repeat(
            receipt,
            parse_output(output) if output else None,
            portrait,
            audio,
            device,
            kept,
            dry_run=dry_run,
            quiet=quiet,
            as_json=as_json,
        )
        return
    if portrait is None:
        raise UsageError("render needs PORTRAIT and AUDIO, such as: vasa render me.jpg speech.wav -o out.mp4")
    options = motion_flags.motion_options(flags, preset, seed, weights, steps, device, style, speech)
    if motion is not None and (flags or preset or seed is not None or steps or style or speech):
        raise UsageError("--motion plays a finished motion: all that shapes one belongs to `vasa generate`")
    driver = motion_flags.drive_options(
        drive, drive_mode, seed=seed, steps=steps, guidance=guidance, style=style, style_seed=style_seed, speech=speech,
    )  # fmt: skip
    from vasa_cli.pipeline import RenderRequest
    from vasa_cli.record import parse_crop

    ground = parse_background(background) if background is not None else None
    picture = picture_options(fit, size, ground, refine, label, label_font)
    request = RenderRequest(
        portrait,
        audio,
        parse_output(output) if output else default_output(portrait, audio or motion or drive, picture.alpha),
        options,
        track=motion,
        drive=driver,
        face=face,
        crop=parse_crop(crop),
        picture=picture,
        dtype=check_dtype(dtype),
        crf=DEFAULT_CRF if crf is None else crf,
        encoder=encoder or "x264",
        provenance=not no_provenance,
        **kept,
    )
    _run(request, dry_run=dry_run, quiet=quiet, as_json=as_json)


def default_output(portrait: Path, audio: Path | None, alpha: bool = False) -> Path:
    suffix = ".mov" if alpha else ".mp4"
    return Path(f"{portrait.stem}-{audio.stem}{suffix}" if audio is not None else f"{portrait.stem}{suffix}")


def signing_of(files: tuple[Path, Path] | None) -> Any:
    from vasa_cli.trust.sign import Signing

    return Signing(*files) if files else None


def check_dtype(name: str | None) -> str:
    from vasa_cli.device import DTYPES

    if name is not None and name not in DTYPES:
        raise UsageError(f"--dtype {name!r}: known are {', '.join(DTYPES)}")
    return name or "float32"


def _refuse_beside_receipt(fixed: dict[str, Any]) -> None:
    given = [name for name, value in fixed.items() if value is not None]
    if given:
        raise UsageError(f"--from repeats a receipt as it is: leave out {', '.join(given)}, or render anew without --from")


def _run(request: RenderRequest, *, dry_run: bool, quiet: bool, as_json: bool) -> RenderResult | None:
    if dry_run:
        from vasa_cli.record import plan_of

        common.emit_plan(plan_of(request), as_json)
        return None
    from vasa_cli import pipeline
    from vasa_cli.runtime import process_start

    result = pipeline.render(request, make_reporter(quiet=quiet), started=process_start())
    common.emit(result_json(result), str(result.output), as_json)
    return result


def result_json(result: RenderResult) -> dict[str, Any]:
    return {
        "output": str(result.output),
        "receipt": str(result.receipt),
        "frames": result.frames,
        "fps": f"{result.fps.numerator}/{result.fps.denominator}",
        "seconds": result.seconds,
        "frame_hash": result.frame_hash,
        "cache_hit": result.cache_hit,
        "stages": result.stages,
    }


def _repeat(
    receipt: Path, output: Path | None, portrait: Path | None, audio: Path | None, device: str | None, kept: dict[str, Any],
    *, dry_run: bool, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    from vasa_cli import pipeline
    from vasa_cli.record import plan_of, request_from
    from vasa_cli.runtime import process_start

    repeat = request_from(receipt, output, portrait=portrait, audio=audio, device=device, **kept)
    if dry_run:
        common.emit_plan(plan_of(repeat.request), as_json)
        return
    reporter: Reporter = make_reporter(quiet=quiet)
    result = pipeline.render(repeat.request, reporter, started=process_start())
    same = result.frame_hash == repeat.frame_hash
    if repeat.signed and repeat.request.sign is None:
        reporter.note("the receipt's video was signed, this one is not: --sign CERT.pem KEY.pem signs it")
    reporter.note(
        "the frames are those of the receipt"
        if same
        else "the frames differ from those of the receipt: another torch, ffmpeg or device made them"
    )
    common.emit({**result_json(result), "reproduced": same}, str(result.output), as_json)
