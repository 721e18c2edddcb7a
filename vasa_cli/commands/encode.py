"""`vasa encode`: a photo becomes a face file, or just warms the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vasa_cli.commands import common
from vasa_cli.errors import UsageError
from vasa_cli.progress import make_reporter

Portrait = Annotated[Path, typer.Argument(help="A photo with a face.", show_default=False)]


@common.command
def encode(
    portrait: Portrait,
    output: common.OutputPath = None,
    face: common.Face = "largest",
    crop: common.Crop = None,
    fit: common.Fit = None,
    size: common.PictureSize = None,
    overwrite: common.Overwrite = False,
    max_pixels: common.MaxPixels = None,
    cache_dir: common.CacheDir = None,
    no_cache: common.NoCache = False,
    dry_run: common.DryRun = False,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Encode PORTRAIT once; later renders of the same pixels start from the cache.

    With -o the face also goes to a file that `vasa render` takes in place of the photo, on machines without mediapipe too.
    --size and --fit: the largest picture that it shall serve.
    """
    common.use_limits(max_pixels, None)
    from vasa_cli import pipeline
    from vasa_cli.picture import picture_options
    from vasa_cli.record import face_is_cached, parse_crop

    if output is None and no_cache:
        raise UsageError("--no-cache without -o would keep nothing; name a file with -o")
    if output is not None and output.suffix.lower() != pipeline.FACE_SUFFIX:
        raise UsageError(f"{output.name}: a face file is named *{pipeline.FACE_SUFFIX}")
    wanted = picture_options(fit, size).encoded_for
    request = pipeline.EncodeRequest(portrait, output, face, parse_crop(crop), cache_dir, not no_cache, overwrite, wanted)
    if dry_run:
        if output is not None:
            pipeline.check_output(output, overwrite=overwrite, create=False)
        common.emit_plan({"output": str(output) if output else "the cache", "face_cached": face_is_cached(request)}, as_json)
        return
    result = pipeline.encode(request, make_reporter(quiet=quiet))
    if output is None and not pipeline.cached_file(request, result.face).is_file():
        raise UsageError(
            f"{pipeline.open_cache(request).root}: the cache cannot be written; name a file with -o, or set VASA_CACHE_DIR"
        )
    place = output if output is not None else pipeline.cached_file(request, result.face)
    data = {
        "output": str(place),
        "cache_hit": result.cache_hit,
        "seconds": round(result.seconds, 3),
        "pixel_hash": result.face.pixel_hash,
        "notes": list(result.face.notes),
    }
    common.emit(data, str(place), as_json)
