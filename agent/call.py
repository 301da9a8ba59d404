"""What a call is: the caller, the call, and the vocabulary of its endings. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from uuid import uuid4


class EndReason(StrEnum):
    """Why a call ended. Exactly one for each call: the first that is known wins."""

    CALLER_HANGUP = "caller_hangup"
    AGENT_HANGUP = "agent_hangup"
    SILENCE = "silence"
    MAX_DURATION = "max_duration"
    TRANSFERRED = "transferred"
    CALLER_NEVER_JOINED = "caller_never_joined"
    NO_AGENT = "no_agent"
    PROVIDER_FAILURE = "provider_failure"
    AGENT_ERROR = "agent_error"
    PROCESS_KILLED = "process_killed"
    WORKER_KILLED = "worker_killed"
    WORKER_SHUTDOWN = "worker_shutdown"
    LIVEKIT_LOST = "livekit_lost"
    CALLER_LOST = "caller_lost"
    MEDIA_FAILURE = "media_failure"
    TRUNK_FAILURE = "trunk_failure"
    REJECTED_BUSY = "rejected_busy"
    REJECTED_CLOSED = "rejected_closed"
    REJECTED_BLOCKED = "rejected_blocked"
    REJECTED_TOO_OFTEN = "rejected_too_often"
    VOICEMAIL = "voicemail"
    CALLEE_BUSY = "callee_busy"
    NOT_ANSWERED = "not_answered"
    CALLEE_REFUSED = "callee_refused"


class Verdict(StrEnum):
    """What admission says of a call, before the job starts or once the caller is there."""

    ADMITTED = "admitted"
    BUSY = "busy"
    """Every worker is full: the caller hears so."""
    CLOSED = "closed"
    """Outside business hours: the caller hears so."""
    BLOCKED = "blocked"
    """The lists of callers say no: nobody picks up."""
    TOO_OFTEN = "too_often"
    """The number has used up its calls of this hour: nobody picks up."""

    @property
    def end_reason(self) -> EndReason:
        """How a call ends that is not admitted."""
        return EndReason(f"rejected_{self.value}")


class RecordingStatus(StrEnum):
    """How far a recording is. It goes down this list, and never up."""

    ASKED = "asked"
    STARTING = "starting"
    ACTIVE = "active"
    FAILED = "failed"
    """By egress's word, or since nothing was heard of it in time; a late COMPLETE still counts."""
    COMPLETE = "complete"

    @property
    def is_over(self) -> bool:
        """Whether nothing more is recorded."""
        return self in {RecordingStatus.FAILED, RecordingStatus.COMPLETE}


VERDICT_ATTRIBUTE = "voice.verdict"
"""The attribute of the agent's participant that tells others why a room is not a conversation."""


HANGUP_TOPIC = "voice.hangup"
"""The topic of a data message from the server's API, which no participant can send: the call ends
by an operator's word."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is on the line. `number` and `called` are E.164 or empty when the network hides them."""

    identity: str
    number: str = ""
    called: str = ""
    kind: str = "sip"
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def is_telephone(self) -> bool:
        """Whether a telephone network vouches for the caller: not a browser or an SDK client."""
        return self.kind != "standard"


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it is opened in the record, before anybody has joined."""

    id: str
    room: str
    room_sid: str
    job_id: str
    agent_name: str
    started_at: datetime

    @staticmethod
    def new(*, room: str, room_sid: str, job_id: str, agent_name: str) -> Call:
        """A call that starts now, with an identifier of its own (32 hexadecimal digits)."""
        return Call(uuid4().hex, room, room_sid, job_id, agent_name, now())


def stand_in_id(room_sid: str) -> str:
    """The id of the call in this room as long as no job has told of it: the same for everybody.

    A record with it gives way to the job's own as soon as that is opened.
    """
    return sha256(f"call in {room_sid}".encode()).hexdigest()[:32]


def now() -> datetime:
    """The present moment in UTC, with its time zone."""
    return datetime.now(UTC)
