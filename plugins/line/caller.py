"""The simulated caller: plays a scenario, 20 ms at a time, by what it hears.

It has no clock of its own: the same agent audio makes it do the same things.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np

from plugins.line.g711 import FRAME, FRAME_SECONDS, RATE, Samples
from plugins.line.hearing import SILENCE, audible, spans
from plugins.line.phone import Moment
from plugins.line.scenario import (
    AnyStep,
    Expect,
    Hangup,
    Listen,
    Play,
    Press,
    Say,
    Scenario,
    Silence,
    Wait,
    WhileAgentSpeaks,
    kind_of,
)
from plugins.line.speech import Voice, offline_voice, recorded, speak, text_of

_BETWEEN_KEYS = 0.2
_UTTERANCE_GAP = 1.0
"""Seconds of silence that part two utterances within one recorded file."""

Script: TypeAlias = Iterator[Moment]


class Manner(StrEnum):
    """How something was said."""

    SPEECH = "speech"
    CUT = "cut"
    BACKCHANNEL = "backchannel"
    BARGE_IN = "barge_in"
    RECORDED = "recorded"


@dataclass(slots=True)
class Utterance:
    """What the caller said, in seconds on the recording's clock, from audible to audible."""

    step: int
    """Its number in the scenario, from 0."""
    text: str
    manner: Manner
    start: float
    end: float
    expect: Expect | None = None


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys that the caller pressed, the first of them at `at` seconds."""

    step: int
    digits: str
    at: float
    expect: Expect | None = None


class SimulatedCaller:
    """A `Person` who plays a scenario. All speech is synthesised when it is made.

    `log` and `keys` say what was done so far; `failure` why the caller gave up, in a sentence
    that names the step. `on_step` is told the number of each step before it is done.
    Raises ScenarioError for a file that cannot be played.
    """

    def __init__(
        self,
        scenario: Scenario,
        voice: Voice = offline_voice,
        on_step: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.scenario = scenario
        self._on_step = on_step
        self.log: list[Utterance] = []
        self.keys: list[Keys] = []
        self.failure: str | None = None
        self._sounds = {
            number: sound
            for number, step in enumerate(scenario.steps)
            if (sound := _sound(step, scenario, voice)) is not None
        }
        self._ears = _Ears()
        self._ticks = 0
        self._script = self._play()

    def tick(self, heard: Samples) -> Moment:
        """Do the next 20 ms of the scenario."""
        self._ears.hear(heard)
        moment = next(self._script, Moment(_QUIET, hang_up=True))
        self._ticks += 1
        return moment

    def _play(self) -> Script:
        for number, step in enumerate(self.scenario.steps):
            self._on_step(number)
            yield from self._do(number, step)
            if self.failure:
                return

    def _do(self, number: int, step: AnyStep) -> Script:
        match step:
            case Listen(listen=patience):
                yield from self._listen(number, patience.quiet, patience.timeout)
            case Press():
                yield from self._press(number, step)
            case Wait(wait=seconds):
                yield from self._pause(seconds)
            case Silence(silence=until):
                yield from self._pause(until.timeout)
                self._give_up(number, f"the agent did not hang up within {until.timeout:g} s")
            case Hangup():
                yield Moment(_QUIET, hang_up=True)
            case _:
                yield from self._voice(number, step)

    def _voice(self, number: int, step: Say | Play | WhileAgentSpeaks) -> Script:
        match step:
            case Say():
                text, manner = text_of(step.say), Manner.CUT if step.cut else Manner.SPEECH
            case Play():
                text, manner = step.text, Manner.RECORDED
            case WhileAgentSpeaks(while_agent_speaks=words):
                text, manner = text_of(words.say), Manner(words.kind)
                yield from self._await_speech(number, words.after, words.timeout)
        if not self.failure:
            yield from self._utter(number, text, manner, step.expect)

    @property
    def _now(self) -> float:
        return self._ticks * FRAME_SECONDS

    def _pause(self, seconds: float) -> Script:
        for _ in range(round(seconds / FRAME_SECONDS)):
            yield Moment(_QUIET)

    def _press(self, number: int, step: Press) -> Script:
        self.keys.append(Keys(number, step.press, self._now, step.expect))
        for digit in step.press:
            yield Moment(_QUIET, digits=digit)
            yield from self._pause(_BETWEEN_KEYS)

    def _listen(self, number: int, quiet: float, timeout: float) -> Script:
        begun, heard = self._now, False
        while not (heard and self._ears.silent_for >= quiet):
            if self._now - begun > timeout:
                what = "did not fall silent" if heard else "was not heard"
                self._give_up(number, f"the agent {what} within {timeout:g} s")
                return
            yield Moment(_QUIET)
            heard = heard or self._ears.silent_for == 0

    def _await_speech(self, number: int, after: float, timeout: float) -> Script:
        begun = self._now
        while self._ears.speaking_for < max(after, FRAME_SECONDS):
            if self._now - begun > timeout:
                self._give_up(number, f"the agent did not speak for {after:g} s in {timeout:g} s")
                return
            yield Moment(_QUIET)

    def _utter(self, number: int, text: str, manner: Manner, expect: Expect | None) -> Script:
        sound, begun = self._sounds[number], self._now
        parts = spans(sound, _UTTERANCE_GAP if manner is Manner.RECORDED else len(sound) / RATE)
        for offset in range(0, len(sound), FRAME):
            played = (offset + FRAME) / RATE
            if parts and played > parts[0][0]:
                start, end = parts.pop(0)
                self.log.append(Utterance(number, text, manner, begun + start, begun + end, expect))
            yield Moment(np.pad(chunk := sound[offset : offset + FRAME], (0, FRAME - len(chunk))))

    def _give_up(self, number: int, why: str) -> None:
        self.failure = f"steps[{number}].{kind_of(self.scenario.steps[number])}: {why}"


_QUIET = np.zeros(FRAME, np.int16)


class _Ears:
    """Follows the agent's speech: for how long it has been speaking or silent, in seconds."""

    def __init__(self) -> None:
        self.speaking_for = 0.0
        self.silent_for = float("inf")

    def hear(self, frame: Samples) -> None:
        """A gap below 0.3 s does not end a talk spurt."""
        if audible(frame)[0]:
            self.speaking_for += FRAME_SECONDS
            self.silent_for = 0.0
            return
        self.silent_for += FRAME_SECONDS
        if self.silent_for >= SILENCE:
            self.speaking_for = 0.0
        elif self.speaking_for:
            self.speaking_for += FRAME_SECONDS


def _sound(step: AnyStep, scenario: Scenario, voice: Voice) -> Samples | None:
    """The samples of a step that makes a sound."""
    match step:
        case Say():
            whole = speak(step.say, scenario.caller, voice)
            return whole[: round(len(whole) * (step.cut or 1))]
        case WhileAgentSpeaks(while_agent_speaks=words):
            return speak(words.say, scenario.caller, voice)
        case Play():
            return recorded(step, scenario)
    return None
