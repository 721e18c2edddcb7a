"""Speech features as the sound arrives: constant memory, and every row as soon as nothing that follows can change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from vasa_cli.speech.ahead import AHEAD, KNOWN, anticipate, clues, held
from vasa_cli.speech.audio import RATE, n_frames
from vasa_cli.speech.audio_resample import Resampler
from vasa_cli.speech.mel import HOP, LEFT_PAD, MELS_PER_FRAME, N_MELS, WINDOW, follow_level, loudness, mel_power_db, normalise
from vasa_cli.speech.pitch import FRAME, LEFT, PITCH_WINDOW, pitch_and_voicing
from vasa_cli.speech.stream_student import StudentStream

if TYPE_CHECKING:
    from vasa_cli.speech.features import SpeechEncoder

__all__ = ["AHEAD", "CHUNK", "FeatureStream", "Resampler"]

CHUNK = 1500  # video frames that are worked on at once, one minute
FPS = 25


class FeatureStream:
    """16 kHz mono in, rows of features out: what `SpeechEncoder.features` says of the whole, to float rounding, for blocks of any
    size. Row t leaves when sample 640 t + 2840 (177.5 ms after its start) has been heard. Memory does not grow."""

    def __init__(self, encoder: SpeechEncoder, chunk: int = CHUNK) -> None:
        self.encoder = encoder
        self.chunk = chunk
        self.heard = 0  # samples
        self._student = StudentStream(encoder.student)
        self._sound = torch.zeros(LEFT)  # from sample `_at` on: what mel rows and pitch still need
        self._at = -LEFT
        self._mels = 0  # rows of mel so far
        self._mel = torch.zeros(0, N_MELS)  # those of the frame that is not whole yet, dB
        self._normal = torch.zeros(0, N_MELS)  # the last four, normalised
        self._level: torch.Tensor | None = None  # the follower's after the last mel row; None before the first
        self._levels = torch.zeros(0)  # (k,) at the rows of `_mel`
        self._frames = 0  # frames whose pitch is known
        self._loudness = torch.zeros(0)  # of frames that wait for the network, (n,)
        self._voice = torch.zeros(0, 2)  # the same: pitch and voicing, (n, 2)
        self._next: torch.Tensor | None = None  # (1, AHEAD, W), the network's rows after the last final one, if known
        self._told: np.ndarray | None = None  # what `ahead` answered after the last row; asked once, it will be asked again:
        self._asked = False  # the next row is made in one pass with those after it
        self._given = 0  # rows
        self._last = torch.zeros(encoder.size)  # the last of them
        self._done = False

    def push(self, samples: np.ndarray) -> np.ndarray:
        """(N,) float32 mono 16 kHz, any N >= 0, to the rows that have become final, (n, F) float32."""
        if self._done:
            raise ValueError("the stream is finished; make a new one")
        sound = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
        self.heard += len(sound)
        return self._join([self._hear(part) for part in sound.split(self.chunk * FRAME)] if len(sound) else [])

    def finish(self) -> np.ndarray:
        """The remaining rows, (n, F): with what `push` gave, n_frames(N, 16000, 25) for N samples in all."""
        total = n_frames(self.heard, RATE, FPS)
        if self._done or total == 0:
            self._done = True
            return self._join([])
        silence = torch.zeros(FRAME * total + LEFT - self.heard)  # the last frame's pitch window; for its mel rows 120 would do
        rows = [self._hear(silence), self._rows(torch.zeros(0, N_MELS), last=True)]
        self._done = True
        return self._join(rows)

    @torch.inference_mode()
    def ahead(self) -> np.ndarray:
        """The next rows as they are likely to be, (AHEAD, F), from the sound so far; loudness and pitch of the first KNOWN are
        certain. None, (0, F), before the first row is final and after `finish`. The answer changes when a row becomes final."""
        if self._given == 0 or self._done:
            return np.zeros((0, self.encoder.size), np.float32)
        if self._told is None:
            partial = self._partial()
            if self._next is None:
                self._next = self._student.push(partial[:, :0], held(partial))[1]
            prosody = self.encoder.prosody(self._loudness[:KNOWN], self._voice[:KNOWN])
            found = clues(self._next, partial, prosody[None], self._last[None])
            self._told = anticipate(self.encoder, found)[0].numpy()
            self._asked = True
        return self._told.copy()

    def _partial(self) -> torch.Tensor:
        """(1, p, 80), 1 <= p <= 4: the normalised mel rows known of the fourth frame after the last final one."""
        return self._normal[-((self._mels - 1) % MELS_PER_FRAME + 1) :][None]

    def _join(self, rows: list[torch.Tensor]) -> np.ndarray:
        return np.concatenate([np.zeros((0, self.encoder.size), np.float32), *(r.numpy() for r in rows)])

    @torch.inference_mode()
    def _hear(self, sound: torch.Tensor) -> torch.Tensor:
        """Some more sound to the rows that are complete, (n, F)."""
        self._sound = torch.cat([self._sound, sound])
        end = self._at + len(self._sound)
        self._listen_to_voice(end)
        mels = (end + LEFT_PAD - WINDOW) // HOP + 1  # rows that can be known by now
        if mels <= self._mels:
            return torch.zeros(0, self.encoder.size)
        first = self._mels * HOP - LEFT_PAD - self._at
        mel = mel_power_db(self._sound[first : (mels - 1) * HOP - LEFT_PAD + WINDOW - self._at])  # (k, 80)
        self._mels = mels
        self._forget()
        level = follow_level(mel, self._level)
        self._level = level[-1]
        self._listen_to_loudness(mel, level)
        mel = normalise(mel, level)
        self._normal = torch.cat([self._normal, mel])[-MELS_PER_FRAME:].clone()
        return self._rows(mel)

    def _listen_to_voice(self, end: int) -> None:
        """Pitch and voicing of the frames whose window ends by sample `end`."""
        frames = (end + LEFT - PITCH_WINDOW) // FRAME + 1
        if frames > self._frames:
            first = self._frames * FRAME - LEFT - self._at
            last = (frames - 1) * FRAME - LEFT + PITCH_WINDOW - self._at
            self._voice = torch.cat([self._voice, pitch_and_voicing(self._sound[first:last])])
            self._frames = frames

    def _listen_to_loudness(self, mel: torch.Tensor, level: torch.Tensor) -> None:
        """Loudness of the frames that (k, 80) further mel rows, with their levels (k,), complete."""
        mel, level = torch.cat([self._mel, mel]), torch.cat([self._levels, level])
        whole = len(mel) // MELS_PER_FRAME * MELS_PER_FRAME
        self._loudness = torch.cat([self._loudness, loudness(mel[:whole], level[:whole])])
        self._mel, self._levels = mel[whole:].clone(), level[whole:].clone()

    def _forget(self) -> None:
        """Drop the sound that neither mel nor pitch will need."""
        needed = min(self._mels * HOP - LEFT_PAD, self._frames * FRAME - LEFT)
        self._sound = self._sound[needed - self._at :].clone()
        self._at = needed

    @torch.inference_mode()
    def _rows(self, mel: torch.Tensor, last: bool = False) -> torch.Tensor:
        """(k, 80) further normalised mel rows to the rows of features that the network completes, (n, F)."""
        final = (self._mels - 1) // MELS_PER_FRAME - KNOWN  # rows by now
        guess = held(self._partial()) if self._asked and final > self._given and not last else None
        (hidden,), following = self._student.push(mel[None], guess, last)  # (n, W)
        n = len(hidden)
        if n == 0:
            self._next = None  # more is known now
            return torch.zeros(0, self.encoder.size)
        rows = torch.cat([self.encoder.phonetic(hidden), self.encoder.prosody(self._loudness[:n], self._voice[:n])], dim=1)
        self._given += n
        self._next, self._told, self._asked = (None if guess is None else following), None, False
        self._last = rows[-1].clone()
        self._loudness, self._voice = self._loudness[n:].clone(), self._voice[n:].clone()
        return rows
