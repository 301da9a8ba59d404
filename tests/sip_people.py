"""People on telephones: what a test has them say, and how much of a text they have heard."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Protocol

import numpy as np

from plugins.line.caller import SimulatedCaller
from plugins.line.g711 import FRAME, Samples
from plugins.line.known import KnownSounds, Told
from plugins.line.phone import Moment
from plugins.line.scenario import CallerProfile, Scenario
from plugins.line.speech import offline_voice, speak
from tests.programs import eventually
from tests.recordings import spoken, told

MOST = 0.8
"""Of a sentence: who heard so much of it heard it."""


class Listener(Protocol):
    """Whoever keeps what was heard."""

    heard: list[Samples]


class PatientCaller(SimulatedCaller):
    """Stays after the scenario, says what there is to `say`, and hangs up when SIPp is told to."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        self.heard: list[Samples] = []
        self._saying: deque[Samples] = deque()

    def say(self, sound: Samples) -> None:
        """Say this next."""
        self._saying += (sound[at : at + FRAME] for at in range(0, len(sound), FRAME))

    def tick(self, heard: Samples) -> Moment:
        """See plugins.line.phone.Person."""
        self.heard.append(heard)
        moment = super().tick(heard)
        if self.failure or not moment.hang_up:
            return moment
        chunk = self._saying.popleft() if self._saying else np.zeros(0, np.int16)
        return Moment(np.pad(chunk, (0, FRAME - len(chunk))))


def voice(text: str) -> Samples:
    """How a person says it; `spoken` is how the agent does."""
    return speak(text, CallerProfile(), offline_voice)


def heard_by(listener: Listener) -> Samples:
    """All that a telephone has heard so far."""
    return np.concatenate([np.zeros(FRAME, np.int16), *listener.heard])


def share(listener: Listener, text: str, sound: Samples) -> float:
    """How much of a text, which sounds like this, a telephone has heard so far: 0 to 1."""
    found = KnownSounds([(text, sound)]).all_in(heard_by(listener))
    return max((one.share for one in found), default=0.0)


async def hears(listener: Listener, text: str, said_by: Callable[[str], Samples] = spoken) -> None:
    """Wait until a telephone has heard this."""
    sound = said_by(text)
    await eventually(lambda: share(listener, text, sound) >= MOST, f"heard: {text}")


def whole(phrase: str, recording: Samples) -> Told:
    """Where the agent says the first sentence of a phrase. Raises AssertionError."""
    first = sentences(phrase)[0]
    found = told(first, spoken(first), recording)
    assert found.share >= MOST
    return found


def sentences(phrase: str) -> list[str]:
    """Each of them is synthesised alone."""
    return re.split(r"(?<=[.?!]) ", phrase)
