"""From 8 kHz to 16 kHz in steps of one frame, 1 ms late.

The framework's resampler (soxr) holds back 80 to 100 ms and answers in bursts at every quality
that filters; a caller would wait for that in each turn. A half-band filter needs no more.
"""

from __future__ import annotations

import numpy as np

from plugins.line.g711 import Samples

_REACH = 8
"""Samples of the input that the filter sees on each side of the new one."""
_BETA = 6.0
"""Shape of the Kaiser window: images are 50 dB down."""


class Doubler:
    """Puts one new sample between every two. The result is `_REACH` input samples late."""

    def __init__(self) -> None:
        self._past = np.zeros(2 * _REACH, np.float32)

    def push(self, samples: Samples) -> Samples:
        """Twice as many samples as were given."""
        line = np.concatenate((self._past, samples.astype(np.float32)))
        self._past = line[-2 * _REACH :]
        doubled = np.empty(2 * len(samples), np.float32)
        # The window of the n-th result begins at line[n + 1]; its middle lies between two samples.
        doubled[0::2] = line[_REACH : _REACH + len(samples)]
        doubled[1::2] = np.convolve(line[1:], _TAPS, mode="valid")
        return np.clip(np.rint(doubled), -32768, 32767).astype(np.int16)


def _taps() -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    distance = np.arange(2 * _REACH) - _REACH + 0.5
    taps = np.sinc(distance) * np.kaiser(2 * _REACH, _BETA)
    return np.asarray(taps / taps.sum(), dtype=np.float32)


_TAPS = _taps()
