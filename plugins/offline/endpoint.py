"""Where speech starts and ends on a telephone line, by its level. A pure core."""

from __future__ import annotations

from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

BLOCK = 0.02
"""Seconds of audio in each step."""
START_BLOCKS = 2
"""Loud blocks in a row that start speech."""
END_BLOCKS = 8
"""Quiet blocks in a row that end it: 0.16 s, longer than the closure of a stop consonant."""
MAX_BLOCKS = 1000
"""Speech longer than this (20 s) is cut, so that a steady noise cannot go on for ever."""

QUIETEST_SPEECH = -50.0
"""dBFS. Speech is louder, whatever the noise of the line."""
ABOVE_NOISE = 10.0
"""dB. Speech is that much louder than the noise of the line."""
FIRST_NOISE = -62.0
"""dBFS. What the noise is taken to be until it was heard."""
RISE = 0.03
"""dB a block by which the noise may grow (1.5 dB/s)."""
STEADY = 1.5
"""dB. The level of speech varies by 3 dB and more (standard deviation), of noise and tones by 1."""


class Edge(Enum):
    """What a block of audio changed."""

    NONE = auto()
    START = auto()
    END = auto()


class Endpointer:
    """Follows the level of a line, one block at a time."""

    def __init__(self) -> None:
        self.speaking = False
        self.quiet_blocks = 0
        """Blocks since the last loud one."""
        self.noise = FIRST_NOISE
        """dBFS. The level of the line when nobody speaks."""
        self._loud_blocks = 0
        self._spoken_blocks = 0
        self._levels: list[float] = []

    @property
    def steady(self) -> bool:
        """Whether the present or last speech is a noise or a tone: nobody speaks that evenly."""
        inner = self._levels[1:-1]
        return len(inner) > 1 and float(np.std(inner)) < STEADY

    def push(self, block: NDArray[np.int16]) -> Edge:
        """Take the next block and tell whether speech started or ended with it."""
        level = level_of(block)
        loud = level > max(QUIETEST_SPEECH, self.noise + ABOVE_NOISE)
        self._follow_noise(level)
        self.quiet_blocks = 0 if loud else self.quiet_blocks + 1
        self._loud_blocks = self._loud_blocks + 1 if loud else 0
        if self.speaking:
            self._spoken_blocks += 1
            if loud:
                self._levels.append(level)
            if self.quiet_blocks >= END_BLOCKS or self._spoken_blocks >= MAX_BLOCKS:
                self.reset()
                return Edge.END
        elif self._loud_blocks >= START_BLOCKS:
            self.speaking = True
            self._levels = [level]
            return Edge.START
        return Edge.NONE

    def reset(self) -> None:
        """Speech is over, whatever the level: the next loud blocks start a new one."""
        self.speaking = False
        self._loud_blocks = 0
        self._spoken_blocks = 0

    def _follow_noise(self, level: float) -> None:
        if level < self.noise:
            self.noise += 0.2 * (level - self.noise)
        else:
            self.noise += min(RISE, level - self.noise)
        self.noise = max(self.noise, -80.0)


def level_of(block: NDArray[np.int16]) -> float:
    """The level of a block in dBFS (root mean square; digital silence is -120)."""
    power = float(np.mean(np.square(block, dtype=np.float64)))
    return 10.0 * float(np.log10(max(power / 32768.0**2, 1e-12)))
