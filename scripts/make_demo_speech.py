"""Speak the demo's sentence with espeak-ng (which must be on the PATH) into vasa_cli/assets/demo_speech.flac, which is committed.

The words are ours and the voice is a rule-based synthesiser, so the recording is nobody's.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

SENTENCE = "Hello! A moment ago, I was only a photograph. Now I can speak, look around, and blink."
VOICE = ["-v", "en-us+f2", "-s", "165", "-p", "46"]
TARGET = Path(__file__).resolve().parents[1] / "vasa_cli" / "assets" / "demo_speech.flac"


def main() -> None:
    import numpy as np
    import soundfile

    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        subprocess.run(["espeak-ng", *VOICE, "-w", str(wav), SENTENCE], check=True)
        samples, rate = soundfile.read(wav)
    quiet = np.zeros(int(0.25 * rate))  # the face rests a moment before and after it speaks
    samples = np.concatenate([quiet, 0.7 * samples / np.abs(samples).max(), quiet])
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(TARGET, samples, rate, subtype="PCM_16")
    print(f"{TARGET}: {len(samples) / rate:.2f} s at {rate} Hz, {TARGET.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
