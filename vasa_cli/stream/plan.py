"""What `vasa stream --dry-run` checks and says."""

from __future__ import annotations

from typing import Any

from vasa_cli.motions import PARTS, weight_hashes
from vasa_cli.stream.control_reader import open_control
from vasa_cli.stream.encode import RAW, choose_encoder
from vasa_cli.stream.run import StreamRequest, check_stream


def stream_plan(request: StreamRequest) -> dict[str, Any]:
    """Everything that can be checked without hearing anything. Raises what `stream` would."""
    import os

    from vasa_cli.device import resolve_device
    from vasa_cli.record import face_is_cached
    from vasa_cli.video.ffmpeg import find_ffmpeg, version

    check_stream(request, create=False)
    encoder = "none" if request.container in RAW else choose_encoder(request.encoder)
    weight_hashes(request.motion.weights, (*PARTS, "refiner") if request.picture.refine else PARTS)
    request.picture.background.picture(16, 16)
    if request.control is not None:
        fd = open_control(request.control)
        if not request.control.isdigit():
            os.close(fd)
    sound, form = request.sound, request.sound.form
    return {
        "input": sound.name,
        "sound": "by its header" if form is None else f"{form.sample} {form.rate} Hz, {form.channels} channels",
        "output": "stdout" if request.output is None else str(request.output),
        "container": request.container,
        "encoder": encoder if encoder == "none" else f"{encoder} (ffmpeg {version(find_ffmpeg())})",
        "size": f"{request.picture.size}x{request.picture.size}",
        "device": resolve_device(request.motion.device),
        "weights": request.motion.weights,
        "preset": request.motion.preset,
        "seed": request.motion.seed,
        "face_cached": face_is_cached(request.encode_request()),
        "patience": request.policy.patience,
        "on_gap": request.policy.on_gap,
        "on_slow": request.policy.on_slow,
    }
