"""How many frames late the picture of each source is against its sound, relative to GRID, at 25 fps.

`features[t]` belongs to `motion[t + lag]`: lag < 0 means that the picture runs ahead.

Evidence (2026-11-22). Words were transcribed by whisper, corrected by ear of a second recogniser, and aligned (`phones_heard`);
a lip model fitted on GRID (`phones_lips`) says how lips should move, and the shift of the best correlation with the tracked
opening is the lag. Beside it: the shift at which the lips are most shut in the middle of /p b m/. In frames, GRID's own
remainder (-8 and -21 ms) taken off, with 80 % of bootstraps over half-second blocks or bilabials:

    clip                              whole opening        bilabials              r at best (at 0)
    Einstein                          -3.0 [-3.5, -2.3]    -2.3 [-3.5, -2.1] 11   .45 (.19)
    monalisa                          -3.0 [-3.2, -2.9]    -2.8 [-3.0, -2.6] 43   .46 (-.05)
    aiface2-english_female            -2.4 [-2.9, -1.7]    -2.1 [-2.7, -1.2] 11   .47 (.32)
    aiface1, 3, 4-speech4             -0.9 [-1.1, -0.7]    -0.5 [-0.7,  0.0] 20   .50-.53 (.41-.43)
    statue, girl-lianliru (Mandarin)  -0.7, -1.1           -0.8, -0.6     7, 5    .51, .38 (.45, .35)
    AniTalker_intro                   -0.3 [-0.6, -0.1]     0.1 [-0.1, 0.4] 15    .51 (.50)
    facegood, 7 clips together         1.0                  0.7 [.., 0.9]   96    .51 (.46)
    stranger 1; 4 (700 px)             0.5; 0.1             0.4; 0.6       3; 9   .87; .49
    stranger 2; 3; 5 (5 s)            -0.6; -0.5; 0.9      -0.4; -; -      4      .57; .70; .61
    stranger 6; 7 (512 px, 8 s)       -1.4; -1.2           -1.5; -0.1      6; 3   .60; .50

Facegood was heard by hama's phoneme recogniser, whose own delay was taken off (median of six English clips that are also
aligned: 16 ms, one of them off by -41 ms), and its bilabials are half misheard: sure to about half a frame. stranger_1 starts
33 ms into its sound, which reading the clip ignores: .8 of a frame is in its number. Clips whose best r is below .3 are not in
sync, or not speech, and have no entry but None. GRID itself: at 1,200 aligned bilabials lips are most shut 21 ms before the
middle of the phone, half a frame, so GRID counts as in sync.
"""

from __future__ import annotations

SOURCE_LAGS: dict[str, int] = {"grid_s1": 0, "anitalker": -1, "liveportrait": 0, "facegood": 1, "strangers": 0}

CLIP_LAGS: dict[str, int | None] = {
    "Einstein-english_male": -3,
    "aiface2-AniTalker_intro_audio_SR": 0,
    "aiface2-english_female": -2,
    "monalisa-monalisa": -3,
    "d11": 0,  # r .26 and .12 here, with a song and a rap hardly understood: not confirmed, not refuted
    "d6": 0,
    "d12": None,
    "d14": None,
    "d20": None,
    "s18": None,
    "stranger_6": -1,
    "stranger_7": -1,
}

# The strangers' origins, by picture size and length: each has one lag
STRANGER_GROUPS: dict[str, str] = {
    **dict.fromkeys(("stranger_1", "stranger_4"), "700 px"),
    **dict.fromkeys(("stranger_2", "stranger_3", "stranger_5"), "5 s"),
    **dict.fromkeys(("stranger_6", "stranger_7"), "512 px"),
}


def lag_of(source: str, clip: str) -> int | None:
    """Frames to shift by, or None where sound and lips do not belong together (train such a clip's mouth without its sound).

    liveportrait clips other than those named have too little speech to tell: None.
    """
    if clip in CLIP_LAGS:
        return CLIP_LAGS[clip]
    return None if source == "liveportrait" else SOURCE_LAGS.get(source, 0)
