"""What the caller of one row heard: judged from the audio of the line and the call's record. Pure.

What the agent said is known from the recording itself: every text that a stand-in was asked to
speak is looked for in it by its sound.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent.call import EndReason
from agent.rehearsal.verdict import Story, story_of
from config.persona import Fact, Persona
from ops.bench.rows import TALKS, Line, Row
from ops.bench.stage import Placed
from plugins.line import hearing
from plugins.line.caller import Utterance
from plugins.line.g711 import RATE, Samples
from plugins.line.known import KnownSounds, Told

HONEST = ("apology", "cut_off")
"""Phrases of the persona that say that we cannot answer, or not to the end."""
FILLERS = ("filler",)
COMPLETE = 0.65
"""The share of a text that must be heard for it to count as said: short words escape the ear."""
END = 3
"""Of so many last words of an answer one must be heard: an end that is missing was not said."""
SLIP = 0.1
"""Seconds by which an answer may begin before the caller's last sound."""
AGAIN = 0.5
"""The share of a text from which hearing it a second time is hearing the answer twice."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that a caller may have to wait."""

    silence: float = 3.0
    answer: float = 8.0


@dataclass(frozen=True, slots=True)
class Heard:
    """One turn as the caller heard it. Seconds; `answered` from the end of the utterance."""

    said: str
    silence: float
    unending: bool
    """The longest silence was the last: the answer was never heard to its end."""
    answered: float | None
    fillers: int
    apology: bool
    answer: str
    """The agent's words that were heard, fillers aside."""
    share: float
    """How much of the right answer they are, 0 to 1."""
    twice: str
    """What of the answer was heard twice."""
    committed: tuple[str, ...]
    """The turns that the record has for it."""


@dataclass(frozen=True, slots=True)
class Miss:
    """Something that should have been otherwise. `turn` counts from 1; 0 is the whole call."""

    turn: int
    what: str
    """In a word or two: silence, late, sentence, answer, twice, ending, unsound."""
    seen: str

    def __str__(self) -> str:
        return f"{f'turn {self.turn}: ' if self.turn else ''}{self.what}: {self.seen}"


@dataclass(frozen=True, slots=True)
class Judged:
    """One call: its turns, how it ended, and what was missed (empty: all is as it should be)."""

    turns: tuple[Heard, ...]
    """In the order of the call, without the parting."""
    reason: str
    missed: tuple[Miss, ...]
    struck: tuple[Heard, ...] = ()
    """The turns from the one in which the fault struck, as far as the call came."""


def judge(
    row: Row,
    persona: Persona,
    placed: Placed,
    sounds: Sequence[tuple[str, Samples]],
    limits: Limits,
) -> Judged:
    """Judge one call. `sounds`: how each text that the agent can have said sounds, at 8 kHz."""
    view = _View(
        persona,
        placed.recording.agent,
        story_of(placed.events, placed.answered_at),
        KnownSounds(sounds).all_in(placed.recording.agent),
    )
    talk, log = TALKS[persona.language], placed.caller.log
    lines = [talk.greeted, talk.asked[row.asks], *([talk.following] if row.for_good else [])]
    turns: list[Heard] = []
    missed: list[Miss] = []
    for number, (line, said) in enumerate(zip(lines, log, strict=False), start=1):
        until = log[number].start if number < len(log) else placed.recording.duration
        turn = view.turn(said, until, line)
        turns.append(turn)
        gives_up = row.ends is EndReason.PROVIDER_FAILURE and number > 1
        wrong = _missed(turn, line, view.fact(line), limits, gives_up=gives_up, row=row)
        missed += [Miss(number, what, seen) for what, seen in wrong]
    reason = view.story.reason.value if view.story.reason else "none"
    whole = _missed_at_all(row, placed, reason, len(lines) - len(turns))
    missed += [Miss(0, what, seen) for what, seen in whole]
    struck = tuple(turns[0 if row.at_start else 1 :])
    return Judged(tuple(turns), reason, tuple(missed), struck)


@dataclass(frozen=True, slots=True)
class _View:
    """A call as it can be looked at: `agent` is that side of the recording."""

    persona: Persona
    agent: Samples
    story: Story
    told: Sequence[Told]

    def fact(self, line: Line) -> Fact:
        """The fact that answers a line."""
        return next(fact for fact in self.persona.facts if fact.name == line.fact)

    def turn(self, said: Utterance, until: float, line: Line) -> Heard:
        """What was heard from the end of an utterance until the caller spoke again."""
        phrases = self.persona.phrases.model_dump()
        names = {text: name for name, text in phrases.items()}
        here = [told for told in self.told if said.end - SLIP <= told.start < until]
        fillers = [told for told in here if names.get(told.text) in FILLERS]
        honest = [told for told in here if names.get(told.text) in HONEST]
        answers = [told for told in here if told.text not in names]
        words = " ".join(told.words for told in answers)
        closed = any(told.share >= COMPLETE for told in honest)
        share = _share(self.fact(line).answer, words)
        complete = closed or _is_whole(self.fact(line).answer, words)
        last = max((told.end for told in (*answers, *honest)), default=until)
        silence, unending = _longest_silence(
            _without(self.agent, fillers[1:]),
            said.end,
            min(last, until) if complete else until,
            complete=complete,
        )
        first = min((told.start for told in (*answers, *honest)), default=None)
        return Heard(
            said=said.text,
            silence=silence,
            unending=unending,
            answered=None if first is None else max(0.0, first - said.end),
            fillers=len(fillers),
            apology=closed,
            answer=words,
            share=share,
            twice=_twice(answers),
            committed=tuple(
                turn.user_text
                for turn in self.story.turns.values()
                if turn.number and said.start <= turn.at < until
            ),
        )


def _missed(
    turn: Heard, line: Line, fact: Fact, limits: Limits, *, gives_up: bool, row: Row
) -> Iterator[tuple[str, str]]:
    if turn.silence > limits.silence:
        yield "silence", f"{turn.silence:.1f} s"
    if turn.answered is None or turn.answered > limits.answer:
        yield "late", "never" if turn.answered is None else f"{turn.answered:.1f} s"
    if [_words(text) for text in turn.committed] != [line.text]:
        yield "sentence", f"{' | '.join(turn.committed) or 'nothing'!r}"
    answered = _is_whole(fact.answer, turn.answer)
    excused = turn.apology and (gives_up or row.may_close)
    if not (excused or (answered and not gives_up)):
        yield "answer", f"{turn.answer or 'nothing'!r}"
    if turn.twice:
        yield "twice", turn.twice


def _missed_at_all(
    row: Row, placed: Placed, reason: str, turns_short: int
) -> Iterator[tuple[str, str]]:
    if turns_short:
        yield "unsound", f"{turns_short} turns never came"
    if placed.caller.failure:
        yield "ending", f"the caller gave up: {placed.caller.failure}"
    if reason != row.ends.value:
        yield "ending", f"{reason}, not {row.ends.value}"
    if row.faults and not placed.struck:
        yield "unsound", "the fault never struck"


def _longest_silence(
    agent: Samples, start: float, until: float, *, complete: bool
) -> tuple[float, bool]:
    """Seconds, and whether it was the last. After a complete answer the time is the caller's."""
    window = agent[round(start * RATE) : round(until * RATE)]
    edges = hearing.spans(window)
    ends = [0.0, *(end for _, end in edges)]
    begins = [*(begin for begin, _ in edges), *([] if complete else [len(window) / RATE])]
    gaps = [begin - end for end, begin in zip(ends, begins, strict=False)]
    longest = max(gaps, default=0.0)
    return longest, not complete and longest == gaps[-1]


def _without(agent: Samples, told: Sequence[Told]) -> Samples:
    """The agent's side without some of what was told: a filler ends a silence once a turn."""
    left = agent.copy() if told else agent
    for one in told:
        left[round((one.start - SLIP) * RATE) : round((one.end + SLIP) * RATE)] = 0
    return left


def _share(answer: str, heard: str) -> float:
    """How much of the words of an answer was heard."""
    wanted, there = Counter(_words(answer).split()), Counter(_words(heard).split())
    return (wanted & there).total() / wanted.total()


def _is_whole(answer: str, heard: str) -> bool:
    """Whether an answer was heard from its beginning to its end, as far as the ear can tell."""
    last = _words(answer).split()[-END:]
    return _share(answer, heard) >= COMPLETE and not set(last).isdisjoint(_words(heard).split())


def _twice(answers: Sequence[Told]) -> str:
    """What was said again; empty when nothing was."""
    counted = Counter(told.text for told in answers if told.share >= AGAIN)
    return next((text for text, times in counted.items() if times > 1), "")


def _words(text: str) -> str:
    return " ".join(re.findall(r"[\w'-]+", text.lower()))
