"""What can be heard in a recording: pure functions of samples at 8 kHz.

Audible means above -45 dBFS (RMS) in a 20 ms frame. Edges are refined to the first or the last
sample of the edge frame whose magnitude is above the same threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from plugins.line.g711 import FRAME, RATE, Samples

THRESHOLD_DBFS = -45.0
SILENCE = 0.3
"""Seconds without an audible frame after which a side counts as silent."""

Span = tuple[float, float]
"""Start and end in seconds."""


class Timed(Protocol):
    """Something the caller said, in seconds on the recording's clock."""

    @property
    def start(self) -> float:
        """When it became audible."""
        ...

    @property
    def end(self) -> float:
        """When it stopped being audible."""
        ...


class Answer(StrEnum):
    """What followed an utterance of the caller."""

    HEARD = "heard"
    NEVER = "never"
    """The caller spoke again, or the call ended, before the agent was heard."""
    OVERLAPPED = "overlapped"
    """The agent was audible when the caller finished, so there was nothing to wait for."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The answer to one utterance; `latency` in seconds only for `Answer.HEARD`."""

    answer: Answer
    latency: float | None = None


def amplitude(dbfs: float) -> float:
    """The 16-bit amplitude of a level below full scale (0 dBFS is 32768)."""
    return float(32768 * 10 ** (dbfs / 20))


_THRESHOLD = amplitude(THRESHOLD_DBFS)


def audible(samples: Samples) -> NDArray[np.bool_]:
    """Whether each 20 ms frame is audible; a last, shorter frame is padded with silence."""
    frames = -(-len(samples) // FRAME)
    padded = np.zeros(frames * FRAME, np.float32)
    padded[: len(samples)] = samples
    power = np.mean(np.square(padded.reshape(frames, FRAME)), axis=1)
    return np.asarray(power > _THRESHOLD**2, dtype=np.bool_)


def spans(channel: Samples, min_gap: float = SILENCE) -> list[Span]:
    """The talk spurts of one side; pauses shorter than `min_gap` seconds belong to them."""
    found: list[Span] = []
    for first, last in _runs(audible(channel)):
        start, end = _first_loud(channel, first), _last_loud(channel, last)
        if found and start - found[-1][1] < min_gap:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def heard_latency(
    caller: Samples,
    agent: Samples,
    utterances: Sequence[Timed],
    fillers: Iterable[Span] = (),
) -> list[Heard]:
    """For each utterance, seconds from its last audible sample to the agent's first one after it.

    The wait ends where the next utterance starts. `fillers` are spans of the agent's side that
    do not count as an answer.
    """
    silenced = agent.copy()
    for start, end in fillers:
        silenced[_at(start) : _at(end)] = 0
    limits = [spoken.start for spoken in utterances] + [len(agent) / RATE]
    return [
        _answer(caller, silenced, spoken, until)
        for spoken, until in zip(utterances, limits[1:], strict=True)
    ]


def silenced_after(agent: Samples, start: float) -> float | None:
    """Seconds from `start` until the agent fell silent for at least 0.3 s.

    0.0 if it was silent already, None if it never fell silent before the recording ended.
    """
    end = _silent_from(agent, start)
    return None if end is None else max(0.0, end - start)


def agent_resumed(agent: Samples, start: float) -> float | None:
    """Seconds for which the agent was silent after `start` before it went on.

    0.0 if it never fell silent for 0.3 s, None if it fell silent for good.
    """
    silent = _silent_from(agent, start)
    if silent is None:
        return 0.0
    silent = max(silent, start)
    again = next((begin for begin, _ in spans(agent, 0.0) if begin > silent), None)
    return None if again is None else again - silent


def audible_time(channel: Samples, start: float, end: float) -> float:
    """Seconds of audible frames between two moments."""
    return float(audible(channel[_at(start) : _at(end)]).sum()) * FRAME / RATE


def _answer(caller: Samples, agent: Samples, spoken: Timed, until: float) -> Heard:
    own = caller[_at(spoken.start) : _at(spoken.end) + FRAME]
    edges = spans(own, min_gap=len(own) / RATE)
    end = spoken.start + edges[-1][1] if edges else spoken.end
    talking = audible(agent[: _at(until)])
    frame = min(int(end * RATE) // FRAME, len(talking) - 1)
    if frame < 0:
        return Heard(Answer.NEVER)
    if talking[frame]:
        return Heard(Answer.OVERLAPPED)
    later = np.flatnonzero(talking[frame:])
    if not len(later):
        return Heard(Answer.NEVER)
    return Heard(Answer.HEARD, _first_loud(agent, frame + int(later[0])) - end)


def _silent_from(channel: Samples, start: float) -> float | None:
    """When the first silence of 0.3 s at or after `start` begins (it may have begun before)."""
    end_of_call = len(channel) / RATE
    quiet_since = 0.0
    for begin, end in spans(channel):
        if begin > start and begin - max(quiet_since, start) >= SILENCE:
            return quiet_since
        quiet_since = end
    enough = end_of_call - max(quiet_since, start) >= SILENCE
    return quiet_since if enough else None


def _runs(frames: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last index of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], frames, [False])).astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _first_loud(channel: Samples, frame: int) -> float:
    offset = frame * FRAME
    return (offset + int(_loud(channel[offset : offset + FRAME])[0])) / RATE


def _last_loud(channel: Samples, frame: int) -> float:
    """The moment just after the last loud sample of a frame."""
    offset = frame * FRAME
    return (offset + int(_loud(channel[offset : offset + FRAME])[-1]) + 1) / RATE


def _loud(frame: Samples) -> NDArray[np.intp]:
    return np.flatnonzero(np.abs(frame.astype(np.int32)) > _THRESHOLD)


def _at(seconds: float) -> int:
    return max(0, round(seconds * RATE))
