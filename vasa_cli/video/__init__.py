"""Frames and sound to a finished, marked, verifiable video file."""

CRF_RANGE = (0, 40)
DEFAULT_CRF = 14  # measured on a leafy background, exact decoding: 0.9 of 255 levels off; 18 (veryfast) was 1.7 off
