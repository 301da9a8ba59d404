"""Recordings as tests listen to them: both sides at 8 kHz, and the texts that are in them."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from plugins.line.g711 import RATE, Samples
from plugins.line.known import KnownSounds, Told
from plugins.line.recording import Recording


def opened(path: Path) -> Recording:
    """The two channels of any file of sound. Raises what PyAV raises."""
    resampler = av.AudioResampler(format="s16", layout="stereo", rate=RATE)
    with av.open(path) as container:
        heard = [
            frame for packet in container.decode(audio=0) for frame in resampler.resample(packet)
        ]
        heard += resampler.resample(None)
    both = np.concatenate([frame.to_ndarray().reshape(-1, 2) for frame in heard])
    return Recording.of(both[:, 0].copy(), both[:, 1].copy())


def told(text: str, sound: Samples, recording: Samples) -> Told:
    """How much of `text`, which sounds like `sound`, is in a recording. Raises AssertionError."""
    found = KnownSounds([(text, sound)]).all_in(recording)
    assert found, f"nothing of {text!r} is in the recording"
    return max(found, key=lambda one: one.share)
