"""The call's record as its job writes it: opened at answer, a row a turn, closed exactly once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.call import Call, Caller, EndReason
from agent.channel import Channel
from agent.events import (
    CallEnded,
    CallerJoined,
    CallNote,
    CallOpened,
    Event,
    TurnCommitted,
    TurnFinished,
)
from agent.spool import Spool


class Record:
    """One call's record. Every method returns at once: the channel carries the event away."""

    def __init__(self, call: Call, channel: Channel) -> None:
        self.call = call
        self.memory_bytes: int | None = None
        self._channel = channel
        self._seq = 0
        self._closed = False

    @classmethod
    async def open(
        cls, call: Call, *, socket: Path, spool: Path, worker_id: str, pid: int
    ) -> Record:
        """Open the record of `call` through the worker's socket, or the spool without a worker."""
        record = cls(call, await Channel.open(socket, call.id, Spool(spool), worker_id))
        record._send(
            CallOpened,
            room=call.room,
            room_sid=call.room_sid,
            job_id=call.job_id,
            agent_name=call.agent_name,
            pid=pid,
        )
        return record

    def caller_joined(
        self, caller: Caller, *, persona: str, language: str, providers: Mapping[str, str]
    ) -> None:
        """The caller is on the line and `persona` answers with these first providers."""
        self._send(
            CallerJoined,
            identity=caller.identity,
            number=caller.number,
            called=caller.called,
            persona=persona,
            language=language,
            providers=dict(providers),
        )

    def turn_committed(self, turn: int, **values: Any) -> None:
        """The user's turn is over; `values` are the fields of `TurnCommitted`."""
        self._send(TurnCommitted, turn=turn, **values)

    def turn_finished(self, turn: int, **values: Any) -> None:
        """The reply was heard, as far as it went; `values` are the fields of `TurnFinished`."""
        self._send(TurnFinished, turn=turn, **values)

    def note(self, name: str, **detail: Any) -> None:
        """Keep something in the call's history."""
        self._send(CallNote, name=name, detail=detail)

    async def close(self, reason: EndReason, detail: str, usage: Mapping[str, Any]) -> None:
        """Write the end and part from the worker. A second close changes nothing."""
        if self._closed:
            return
        self._closed = True
        self._send(
            CallEnded,
            reason=reason,
            detail=detail,
            usage=dict(usage),
            memory_bytes=self.memory_bytes,
        )
        await self._channel.aclose()

    def _send(self, kind: type[Event], **values: Any) -> None:
        self._seq += 1
        self._channel.send(kind(call_id=self.call.id, seq=self._seq, **values))
