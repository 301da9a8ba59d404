"""Was the scenario met? The call's record judged against what its caller expected. Pure.

What the recording alone can tell (who was audible when) is judged by `plugins.line.judge`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.call import EndReason
from agent.events import CallEnded, CallerJoined, CallOpened, Event, TurnCommitted, TurnFinished
from config.persona import Persona
from plugins.line.caller import Keys, SimulatedCaller, Utterance
from plugins.line.judge import Verdict
from plugins.line.scenario import Expect

EARLY = 0.3
"""Seconds before the audible end of an utterance at which its turn may be committed: a voice
fades below what is audible while the recogniser is done with it."""


@dataclass(slots=True)
class Turn:
    """One turn as the record tells it; `at` in seconds on the recording's clock."""

    number: int
    at: float
    user_text: str = ""
    agent_text: str = ""
    tools: tuple[str, ...] = ()
    interrupted: bool = False


@dataclass(slots=True)
class Story:
    """One call as its events tell it."""

    call_id: str = ""
    pid: int = 0
    persona: str = ""
    reason: EndReason | None = None
    memory_bytes: int | None = None
    turns: dict[int, Turn] = field(default_factory=dict)


def story_of(events: Sequence[Event], zero: float) -> Story:
    """The call that `events` tell; `zero` is when the recording began (UNIX seconds)."""
    story = Story()
    for event in events:
        match event:
            case CallOpened():
                story.call_id, story.pid = event.call_id, event.pid
            case CallerJoined():
                story.persona = event.persona
            case TurnCommitted():
                at = event.at.timestamp() - zero
                story.turns[event.turn] = Turn(event.turn, at, event.user_text)
            case TurnFinished():
                turn = story.turns[event.turn]
                turn.agent_text, turn.tools = event.agent_text, event.tools
                turn.interrupted = event.interrupted
            case CallEnded():
                story.reason, story.memory_bytes = event.reason, event.memory_bytes
    return story


def judge_record(caller: SimulatedCaller, story: Story, persona: Persona) -> list[Verdict]:
    """The expectations that the record settles, in the order of the scenario."""
    inputs: list[Utterance | Keys] = sorted([*caller.log, *caller.keys], key=_end)
    verdicts: list[Verdict] = []
    for number, said in enumerate(inputs):
        if said.expect is None:
            continue
        until = _end(inputs[number + 1]) if number + 1 < len(inputs) else float("inf")
        answering = [
            turn
            for turn in story.turns.values()
            if turn.number and _end(said) - EARLY <= turn.at < until - EARLY
        ]
        verdicts += _judge_answer(said.step, said.expect, answering, persona)
    return verdicts + _judge_outcome(caller, story)


def _end(said: Utterance | Keys) -> float:
    return said.end if isinstance(said, Utterance) else said.at


def _judge_answer(step: int, expect: Expect, turns: list[Turn], persona: Persona) -> list[Verdict]:
    heard = " ".join(turn.agent_text for turn in turns)
    tools = [tool for turn in turns for tool in turn.tools]
    words = " ".join(turn.user_text for turn in turns)
    verdicts = []
    if expect.fact:
        met = _states(persona, expect.fact, heard)
        verdicts.append(Verdict(step, f"states {expect.fact}", met, heard or "no answer"))
    if expect.tool:
        met = expect.tool in tools
        seen = ", ".join(tools) or "no tool"
        verdicts.append(Verdict(step, f"calls {expect.tool}", met, seen))
    if expect.understood:
        expected = f"understands {' '.join(expect.understood)}"
        met = _in_order(expect.understood, re.findall(r"[\w'-]+", words.lower()))
        verdicts.append(Verdict(step, expected, met, words or "nothing"))
    return verdicts


def _judge_outcome(caller: SimulatedCaller, story: Story) -> list[Verdict]:
    expect = caller.scenario.expect
    turns = [turn for turn in story.turns.values() if turn.number]
    verdicts = []
    if expect.end_reason:
        seen = story.reason.value if story.reason else "no end in the record"
        expected = f"ends with {expect.end_reason}"
        verdicts.append(Verdict(None, expected, seen == expect.end_reason, seen))
    if expect.tools:
        tools = [tool for turn in story.turns.values() for tool in turn.tools]
        met = _in_order(expect.tools, tools)
        seen = ", ".join(tools) or "no tool"
        verdicts.append(Verdict(None, f"calls {', '.join(expect.tools)}", met, seen))
    if expect.turns is not None:
        met = len(turns) == expect.turns
        verdicts.append(Verdict(None, f"takes {expect.turns} turns", met, f"{len(turns)} turns"))
    return verdicts


def _states(persona: Persona, name: str, heard: str) -> bool:
    return any(fact.name == name and fact.is_met_by(heard) for fact in persona.facts)


def _in_order(expected: Sequence[str], seen: Sequence[str]) -> bool:
    remaining = iter(seen)
    return all(word in remaining for word in expected)
