"""What may be asked of the library, and what it answers: frozen requests and results."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from vasa_cli.drive import Drive
from vasa_cli.errors import UsageError
from vasa_cli.motion.controls import Controls
from vasa_cli.picture import DEFAULT_SIZE, PictureOptions
from vasa_cli.video import DEFAULT_CRF
from vasa_cli.video.formats import Format, format_of

if TYPE_CHECKING:
    from vasa_cli.motion.track import MotionTrack
    from vasa_cli.portrait.encode_hash import Size
    from vasa_cli.portrait.latent import FaceLatent
    from vasa_cli.trust.sign import Signing


@dataclass(frozen=True)
class EncodeRequest:
    """portrait: a photo, or a face file that `encode` wrote. face: 'largest', 'left', 'right' or an index. crop: x, y, width,
    height in photo pixels, instead of looking for a face. cache_dir: None is the user's cache. use_cache: False encodes anew.
    size: side of the crops to be rendered, or "native" for --fit full."""

    portrait: Path
    output: Path | None = None
    face: str = "largest"
    crop: tuple[int, int, int, int] | None = None
    cache_dir: Path | None = None
    use_cache: bool = True
    overwrite: bool = False
    size: Size = DEFAULT_SIZE


SPEECH = ("builtin", "phonetics")  # what hears the recording: the shipped network, or a recogniser beside it


def check_speech(name: str, option: str = "--speech") -> str:
    """The name itself. Raises UsageError when it is none of `SPEECH`."""
    if name not in SPEECH:
        raise UsageError(f"{option} {name!r}: known are {', '.join(SPEECH)}")
    return name


@dataclass(frozen=True)
class MotionOptions:
    """What decides a generated motion, besides the recording. steps: None for the model's own number."""

    controls: Controls = field(default_factory=Controls.default)
    preset: str | None = None  # only for the record: `controls` holds its values
    seed: int = 0
    weights: str = "default"
    steps: int | None = None
    device: str = "auto"
    style_from: Path | None = None  # a clip or a motion file whose manner replaces that of `controls`
    speech: str = SPEECH[0]
    preset_file: Path | None = None  # where `preset` was read; only for the record


@dataclass(frozen=True)
class GenerateRequest:
    """audio may be None only when a clip drives: then `face` (which absolute motion looks at) is needed."""

    audio: Path | None
    output: Path | None = None
    motion: MotionOptions = field(default_factory=MotionOptions)
    overwrite: bool = False
    drive: Drive | None = None


@dataclass(frozen=True)
class RenderRequest:
    """audio may be None when `track` (a motion file) is given: then the video is silent; or `drive` (a clip): then the clip's own
    sound is the video's."""

    portrait: Path
    audio: Path | None
    output: Path
    motion: MotionOptions = field(default_factory=MotionOptions)
    track: Path | None = None
    drive: Drive | None = None
    face: str = "largest"
    crop: tuple[int, int, int, int] | None = None
    picture: PictureOptions = field(default_factory=PictureOptions)
    dtype: str = "float32"
    crf: int = DEFAULT_CRF
    encoder: str = "x264"  # of `video.formats.ENCODERS`; only H.264 has a choice
    provenance: bool = True
    sign: Signing | None = None
    cache_dir: Path | None = None
    use_cache: bool = True
    overwrite: bool = False
    halvings: int = 0  # how often the number of frames drawn at once is halved, where memory ran out

    def encode_request(self) -> EncodeRequest:
        size = self.picture.encoded_for
        return EncodeRequest(self.portrait, None, self.face, self.crop, self.cache_dir, self.use_cache, size=size)

    @property
    def form(self) -> Format:
        """How the video is stored. Raises UsageError when the output's name does not say it."""
        return format_of(self.output, alpha=self.picture.alpha)


@dataclass(frozen=True)
class EncodeResult:
    face: FaceLatent
    cache_hit: bool
    seconds: float
    output: Path | None = None


@dataclass(frozen=True)
class GenerateResult:
    track: MotionTrack
    seconds: float
    output: Path | None = None


@dataclass(frozen=True)
class RenderResult:
    output: Path
    receipt: Path
    frames: int
    fps: Fraction
    frame_hash: str
    cache_hit: bool
    stages: dict[str, float]  # seconds

    @property
    def seconds(self) -> float:
        """Length of the video."""
        return float(self.frames / self.fps)
