"""What the call log gives back: frozen rows, and the interface that both call logs share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from agent.call import EndReason
from agent.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """One call. All times are UTC; what is not known yet is None or empty."""

    id: str
    worker_id: str
    pid: int | None
    room: str
    room_sid: str | None
    job_id: str
    agent_name: str
    identity: str
    caller_number: str
    called_number: str
    persona: str
    language: str
    providers: dict[str, str]
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    end_reason: EndReason | str | None
    """A plain text: a reason of a newer release, which had the database before this one."""
    end_detail: str
    end_provisional: bool
    usage: dict[str, Any]
    memory_bytes: int | None
    cost: dict[str, Any] | None
    """What `agent.costs.Cost.as_json` says; None when it is not known."""
    turn_count: int
    """Turns of the caller: the greeting is turn 0 and does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRow:
    """One turn of a call. Delays and latencies are seconds, as `agent.events` defines them."""

    number: int
    user_text: str
    agent_text: str
    confidence: float | None
    transcription_delay: float | None
    end_of_turn_delay: float | None
    latency: float | None
    llm_ttft: float | None
    tts_ttfb: float | None
    interrupted: bool
    stt: str
    llm: str
    tts: str
    tools: tuple[str, ...]
    committed_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingRow:
    """One recording of a call; `duration` is seconds."""

    uri: str
    channels: int
    duration: float
    made_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event of a call's history, without words and numbers: those are kept once, elsewhere.

    `name` is a note's name and empty for other kinds. The job counts `seq` from 1, its worker from
    WORKER_SEQ; below 1 is what the call log itself ended.
    """

    seq: int
    kind: str
    name: str
    at: datetime
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """Everything that is known of one call, in the order in which it happened."""

    call: CallRow
    turns: tuple[TurnRow, ...]
    recordings: tuple[RecordingRow, ...]
    events: tuple[EventRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One change that an operator made: who, what, object, when, from where."""

    at: datetime
    who: str
    what: str
    object: str
    source: str


class CallStore(Protocol):
    """The interface of the call log, shared by the database and its in-memory twin.

    Every method may raise StoreUnavailable: then nothing of it was written.
    """

    def apply(self, worker_id: str, events: Sequence[Event]) -> list[Event]:
        """Write a batch in one transaction; an event that is known already changes nothing.

        Returns those that were new. An event of a call that was never opened opens it, so order
        does not matter. Raises EventRefused for an event that no attempt can store; then none of
        the batch is written.
        """

    def end_call(
        self,
        call_id: str,
        reason: EndReason,
        *,
        at: datetime | None = None,
        detail: str = "",
        provisional: bool = False,
    ) -> bool:
        """End a call that cannot speak for itself; say whether this was the end that counts.

        A provisional end gives way to any later one that is not. Without `at` the call ended
        with its last event. Raises CallUnknown.
        """

    def close_orphans(
        self,
        is_gone: Callable[[str], bool],
        reason: EndReason = EndReason.WORKER_KILLED,
        at: datetime | None = None,
    ) -> list[str]:
        """End the open calls of every worker whose id `is_gone`; return the ids of those calls."""

    def list_calls(
        self,
        limit: int = 20,
        *,
        since: datetime | None = None,
        is_open: bool | None = None,
        number: str | None = None,
    ) -> list[CallRow]:
        """Return the newest calls first, at most `limit` of them.

        `since` is a start time, `is_open` True or False leaves out the others, `number` is
        the caller's pseudonym.
        """

    def get_call(self, call_id: str) -> CallRecord:
        """Return the call with this id or with the only id that begins so. Raises CallUnknown."""

    def audit(self, who: str, what: str, object: str, source: str) -> None:  # noqa: A002  the column
        """Add a line to the audit trail. There is no way to change or remove one."""

    def audit_trail(self, limit: int = 100) -> list[AuditRow]:
        """Return the newest lines of the audit trail first."""

    def close(self) -> None:
        """Let go of the database. Safe to call twice."""
