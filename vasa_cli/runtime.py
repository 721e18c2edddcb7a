"""What stays alive between the stages of a job, and between jobs: loaded models and a stage clock."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vasa_cli.decoder.render import FaceDecoder
    from vasa_cli.portrait.latent import FaceLatent
    from vasa_cli.speech.features import SpeechEncoder
    from vasa_cli.speech.phonetic_teacher import PhoneticEncoder


class Models:
    """Loaded models, each loaded once. Holds no other state: the order of jobs changes nothing."""

    def __init__(self) -> None:
        self._speech: dict[tuple[str, str], SpeechEncoder | PhoneticEncoder] = {}
        self._decoder: tuple[tuple[Any, ...], FaceDecoder] | None = None

    def speech(self, weights: str, kind: str = "builtin") -> SpeechEncoder | PhoneticEncoder:
        """What hears a recording; kind: one of `requests.SPEECH`."""
        if (weights, kind) not in self._speech:
            from vasa_cli.speech.features import SpeechEncoder
            from vasa_cli.speech.phonetic_teacher import PhoneticEncoder

            encoder = PhoneticEncoder if kind == "phonetics" else SpeechEncoder
            self._speech[weights, kind] = encoder.from_weights(weights)
        return self._speech[weights, kind]

    def decoder(
        self, face: FaceLatent, device: str, dtype: str, size: int, paste: bool = False, refine: bool = False
    ) -> FaceDecoder:
        """The decoder of this face; the last one is kept, for batches that are grouped by face."""
        from vasa_cli.decoder.render import FaceDecoder
        from vasa_cli.device import reuse_memory

        if device == "cpu":
            reuse_memory()
        key = (
            face.pixel_hash,
            face.encoder_hash,
            face.crop.tobytes(),
            face.landmarks.tobytes(),
            face.texture,
            device,
            dtype,
            size,
            paste,
            refine,
        )
        if self._decoder is None or self._decoder[0] != key:
            self._decoder = (key, FaceDecoder(face, device=device, dtype=dtype, size=size, paste=paste, refine=refine))
        return self._decoder[1]


class Clock:
    """Adds up the seconds of named stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def rounded(self) -> dict[str, float]:
        return {name: round(value, 3) for name, value in self.seconds.items()}
