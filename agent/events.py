"""What a job process tells its worker. Plain data that travels as one JSON object a line.

Every event carries its call's id and a sequence number that counts from 1 within the call, so
that an event sent twice (a replayed spool, a lost acknowledgement) is recognised and applied once.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar

from agent.call import EndReason, now

GREETED = "greeted"
"""The name of the note that the caller hears the agent for the first time."""

KIND = "kind"
"""Of the note that tells whose call it is: {"kind": "canary"}, see `agent.metrics.KINDS`."""

LINK = "link"
"""Of the note that tells how well the caller's audio arrives: `score` is a MOS, the rest is that of
`agent.quality.Link`."""

SILENCE_OWED = "silence_owed"
"""Of the note that a silence that was owed has ended, or was never broken: its `seconds`."""

REQUEST = "livekit_request"
"""Of the note that the job has asked the LiveKit API: `service`, `method`, `status`, `seconds`."""

LONG_SILENCE = 3.0
"""Seconds of silence owed from which that is kept in the call's history."""

WORKER_SEQ = 1_000_000_000
"""Sequence numbers from here on belong to the worker, which speaks for a job that cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The base of all events. `at` is when it happened, in UTC."""

    kind: ClassVar[str] = ""

    call_id: str
    seq: int
    at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOpened(Event):
    """A job took the call. The record's row is written from this one."""

    kind: ClassVar[str] = "call_opened"

    room: str
    room_sid: str
    job_id: str
    agent_name: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerJoined(Event):
    """The caller is there, and a persona answers.

    `number` is the caller's pseudonym (`agent.pseudonym`), which `identity` holds too where it
    held a number; `called` is the line that was rung, our own.
    """

    kind: ClassVar[str] = "caller_joined"

    identity: str
    number: str = ""
    called: str = ""
    persona: str = ""
    language: str = ""
    providers: dict[str, str] = field(default_factory=dict)
    """The first provider of each chain: {"stt": "deepgram", "llm": "openai", "tts": "cartesia"}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnCommitted(Event):
    """The user's turn was committed: its row is written now, the reply follows.

    Turn 0 is the greeting: it has no user text.
    """

    kind: ClassVar[str] = "turn_committed"

    turn: int
    user_text: str = ""
    confidence: float | None = None
    """The recogniser's own confidence, 0 to 1: a proxy, not accuracy."""
    transcription_delay: float | None = None
    """Seconds from the end of speech to the final transcript, as the framework measured."""
    end_of_turn_delay: float | None = None
    """Seconds from the end of speech to the decision that the turn is over."""
    stt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFinished(Event):
    """The reply to a turn was played to its end or interrupted: the turn's row is completed."""

    kind: ClassVar[str] = "turn_finished"

    turn: int
    agent_text: str = ""
    """What was really heard, cut at an interruption."""
    interrupted: bool = False
    latency: float | None = None
    """Seconds from the end of the user's speech to the first audio handed to the line."""
    llm_ttft: float | None = None
    tts_ttfb: float | None = None
    llm: str = ""
    tts: str = ""
    tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallNote(Event):
    """Something worth keeping in the call's history: DTMF, a transfer, a provider that failed."""

    kind: ClassVar[str] = "note"

    name: str
    detail: dict[str, Any] = field(default_factory=dict)


def is_passing(event: Event) -> bool:
    """Whether the event is counted as it comes, and not kept in the history."""
    if not isinstance(event, CallNote):
        return False
    is_short = event.name == SILENCE_OWED and event.detail.get("seconds", 0) < LONG_SILENCE
    return is_short or event.name == REQUEST


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingAsked(Event):
    """A recording of the call was asked for: of LiveKit's egress, or of the worker itself."""

    kind: ClassVar[str] = "recording_asked"

    recording: str
    """Its id, which is in the name of its file."""
    by: str
    """`egress` or `worker`."""
    what: str
    """The kind, such as `room-audio`."""
    output: str
    persona: str
    room: str = ""
    room_sid: str = ""
    uri: str = ""
    """Where it will be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingChanged(Event):
    """What became of a recording that was asked for. Empty: as it was."""

    kind: ClassVar[str] = "recording_changed"

    recording: str
    status: str = ""
    egress_id: str = ""
    uri: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingMade(Event):
    """A recording of the call exists: the worker's own."""

    kind: ClassVar[str] = "recording"

    uri: str
    channels: int
    duration: float
    """Seconds."""
    recording: str = ""
    """Its id among those that were asked for."""
    size: int | None = None
    """Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded(Event):
    """The call is over. Applied once: a later one for the same call changes nothing."""

    kind: ClassVar[str] = "call_ended"

    reason: EndReason
    detail: str = ""
    usage: dict[str, Any] = field(default_factory=dict)
    """Counters by provider and model, and minutes: see `agent.usage`. Empty: not known."""
    cost: dict[str, Any] | None = None
    """What that cost, put in by the worker's ledger: see `agent.costs`. None: not known."""
    memory_bytes: int | None = None
    """Private memory (USS) of the job process, in bytes, after its third turn."""


KINDS: dict[str, type[Event]] = {
    cls.kind: cls
    for cls in (
        CallOpened,
        CallerJoined,
        TurnCommitted,
        TurnFinished,
        CallNote,
        RecordingAsked,
        RecordingChanged,
        RecordingMade,
        CallEnded,
    )
}


def encode(event: Event) -> str:
    """One line of JSON, without the newline."""
    body = asdict(event)
    body["at"] = event.at.isoformat()
    return json.dumps({"kind": event.kind, **body}, ensure_ascii=False, separators=(",", ":"))


def decode(line: str | bytes) -> Event:
    """The event that `encode` wrote.

    Fields that this release does not know are passed over, and an end for a reason that it does
    not know is AGENT_HANGUP with that reason in its detail, so that a spool of a newer release can
    be read. Raises ValueError for anything else that is not an event.
    """
    try:
        body = json.loads(line)
        cls = KINDS[body.pop("kind")]
        known = {f.name for f in fields(cls)}
        values = {name: value for name, value in body.items() if name in known}
        values["at"] = datetime.fromisoformat(values["at"])
        if "reason" in values:
            _know_reason(values)
        if "tools" in values:
            values["tools"] = tuple(values["tools"])
        return cls(**values)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"not an event: {error}") from error


def _know_reason(values: dict[str, Any]) -> None:
    told = values["reason"]
    if not isinstance(told, str):
        raise TypeError("the reason is no text")
    try:
        values["reason"] = EndReason(told)
    except ValueError:
        detail = values.get("detail")
        values["reason"] = EndReason.AGENT_HANGUP
        values["detail"] = f"{told}: {detail}" if detail else told
