"""How many frames late the picture of each source is against its sound, relative to GRID, at 25 fps.

`features[t]` belongs to `motion[t + lag]`: lag < 0 means that the picture runs ahead. Measured on 2026-11-22: lip curve that a
regressor trained on GRID (whisper-tiny encoder states) predicts, against the tracked one; the lag of the best correlation.
Clips whose best r is below 0.45 are not in sync, or not speech, and have no entry in `CLIP_LAGS` but None. GRID itself: at 66
plosive closures between voiced sounds the lips are shut 19 ms before the middle of the acoustic closure (median; quartiles -62
and +11 ms), half a frame, so GRID counts as in sync.
"""

from __future__ import annotations

# r of the pooled clips at its best lag: anitalker .49, strangers .55 (-2: .49, 0: .53); facegood is flat between -1 and +1
SOURCE_LAGS: dict[str, int] = {"grid_s1": 0, "anitalker": -1, "liveportrait": 0, "facegood": 0}

CLIP_LAGS: dict[str, int | None] = {
    "Einstein-english_male": -3,
    "aiface2-AniTalker_intro_audio_SR": 0,
    "aiface2-english_female": -2,
    "monalisa-monalisa": -3,
    "d11": 0,
    "d6": 0,
    "d12": None,
    "d14": None,
    "d20": None,
    "s18": None,
}


def lag_of(source: str, clip: str) -> int | None:
    """Frames to shift by, or None where sound and lips do not belong together (train such a clip's mouth without its sound).

    liveportrait clips other than those named have too little speech to tell: None.
    """
    if clip in CLIP_LAGS:
        return CLIP_LAGS[clip]
    return None if source == "liveportrait" else SOURCE_LAGS.get(source, 0)
