"""What the recording says about a scenario's expectations. Pure.

Facts, tools, turns and the end reason are judged elsewhere, from the call's record.
"""

from __future__ import annotations

from dataclasses import dataclass

from plugins.line.caller import SimulatedCaller, Utterance
from plugins.line.hearing import Answer, Heard, audible_time
from plugins.line.recording import Recording, agent_resumed, heard_latency, silenced_after

STOPS_WITHIN = 0.8
"""Seconds in which a barge-in must silence the agent."""
GOES_ON_WITHIN = 2.5
"""Seconds for which the agent may pause after a backchannel."""
_SLIP = 0.1
"""Seconds of agent audio that may fall into an utterance: the end of what it said before."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One expectation. `step` counts from 0; None is about the whole call."""

    step: int | None
    expected: str
    met: bool
    seen: str


def judge_line(caller: SimulatedCaller, recording: Recording) -> list[Verdict]:
    """The expectations that the recording settles, in the order of the scenario."""
    verdicts = []
    for spoken, heard in zip(caller.log, heard_latency(recording, caller.log), strict=True):
        if spoken.expect and spoken.expect.agent == "stops":
            verdicts.append(_stops(spoken, recording))
        if spoken.expect and spoken.expect.agent == "goes_on":
            verdicts.append(_goes_on(spoken, recording))
        if spoken.expect and spoken.expect.answered:
            verdicts.append(_answered(spoken, heard, recording))
    if caller.failure:
        verdicts.append(
            Verdict(None, "the caller gets through the scenario", False, caller.failure)
        )
    return verdicts


def _stops(spoken: Utterance, recording: Recording) -> Verdict:
    expected = f"the agent is silent {STOPS_WITHIN} s after the barge-in began, until it is over"
    after = silenced_after(recording, spoken.start)
    if after is None:
        return Verdict(spoken.step, expected, False, "it spoke on")
    again = audible_time(recording.agent, spoken.start + after, spoken.end)
    met = after <= STOPS_WITHIN and again <= _SLIP
    return Verdict(
        spoken.step, expected, met, f"silent after {after:.2f} s, then {again:.2f} s audible"
    )


def _goes_on(spoken: Utterance, recording: Recording) -> Verdict:
    expected = f"the agent goes on, after {GOES_ON_WITHIN} s of silence at most"
    pause = agent_resumed(recording, spoken.start)
    if pause is None:
        return Verdict(spoken.step, expected, False, "it fell silent for good")
    return Verdict(spoken.step, expected, pause <= GOES_ON_WITHIN, f"silent for {pause:.2f} s")


def _answered(spoken: Utterance, heard: Heard, recording: Recording) -> Verdict:
    expected = "the agent waits for the end of the utterance, then answers"
    early = audible_time(recording.agent, spoken.start, spoken.end)
    if early > _SLIP:
        return Verdict(spoken.step, expected, False, f"it spoke for {early:.2f} s in between")
    if heard.answer is not Answer.HEARD:
        return Verdict(spoken.step, expected, False, "no answer was heard")
    return Verdict(spoken.step, expected, True, f"answered after {heard.latency:.2f} s")
