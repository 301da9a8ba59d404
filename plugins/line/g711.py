"""ITU-T G.711: 16-bit samples at 8 kHz to one byte each and back, by lookup tables.

Both laws are built from their decoding formula; a sample is encoded as the level nearest to it
in magnitude, which is what the decision values of G.711 (tables 1 and 2) say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

RATE = 8000
"""Samples a second on the line."""
FRAME = 160
"""Samples in one frame of 20 ms."""
FRAME_SECONDS = FRAME / RATE

Samples: TypeAlias = NDArray[np.int16]
Codes: TypeAlias = NDArray[np.uint8]
Law = Literal["ulaw", "alaw"]


def encode(samples: Samples, law: Law) -> bytes:
    """One byte for each 16-bit sample."""
    return _TABLES[law].codes[samples.view(np.uint16)].tobytes()


def decode(payload: bytes, law: Law) -> Samples:
    """One 16-bit sample for each byte."""
    return _TABLES[law].levels[np.frombuffer(payload, dtype=np.uint8)]


@dataclass(frozen=True, slots=True)
class _Table:
    levels: Samples
    """The level of each of the 256 codes."""
    codes: Codes
    """The code of each sample, indexed by its 16 bits read as an unsigned number."""


def _ulaw_levels() -> Samples:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    exponent, mantissa = (code >> 4) & 7, code & 15
    magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_levels() -> Samples:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent, mantissa = (code >> 4) & 7, code & 15
    linear = (mantissa << 4) + 8
    magnitude = np.where(exponent == 0, linear, (linear + 0x100) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


def _table(levels: Samples, positive: Codes, sign: int) -> _Table:
    """`positive` holds the codes of levels of zero and above; `sign` is the bit that negates."""
    ascending = positive[np.argsort(levels[positive], kind="stable")]
    steps = levels[ascending].astype(np.int32)
    borders = (steps[:-1] + steps[1:]) // 2
    samples = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    nearest = ascending[np.searchsorted(borders, np.abs(samples), side="right")]
    codes = np.where(samples < 0, nearest ^ sign, nearest).astype(np.uint8)
    return _Table(levels, codes)


# In both laws the sign is bit 7 on the wire, set for zero and above.
_POSITIVE = np.arange(128, 256, dtype=np.uint8)
_TABLES: dict[Law, _Table] = {
    "ulaw": _table(_ulaw_levels(), _POSITIVE, 0x80),
    "alaw": _table(_alaw_levels(), _POSITIVE, 0x80),
}
