"""The call's record as its job writes it: opened at answer, a row a turn, closed exactly once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.availability import Availability
from agent.call import Call, Caller, EndReason, Verdict
from agent.channel import Channel
from agent.events import (
    KIND,
    LINK,
    REQUEST,
    CallEnded,
    CallerJoined,
    CallNote,
    CallOpened,
    Event,
    TurnCommitted,
    TurnFinished,
)
from agent.metrics import CALLER
from agent.pseudonym import Pseudonyms
from agent.quality import AUDIBLE, Link, mos
from agent.redaction import Redactor
from agent.spool import Spool
from config.persona import Persona

TURN = 6.0
"""Seconds for the worker to let a call start: more than it lets any wait (`agent.turnstile`)."""


class Record:
    """One call's record. Every method returns at once: the channel carries the event away.

    Whatever leaves it has been redacted: no number of the caller, no card, nothing that the
    persona's `privacy` keeps out.
    """

    def __init__(self, call: Call, channel: Channel, pseudonyms: Pseudonyms) -> None:
        self.call = call
        self.caller: Caller | None = None
        self.memory_bytes: int | None = None
        self.redactor = Redactor()
        self._pseudonyms = pseudonyms
        self._joined_at = 0.0
        self._score: float | None = None
        self._channel = channel
        self._seq = 0
        self._closed = False
        self.availability = Availability(self.note)
        """Which providers are up, as this call and its worker know; changes are noted."""
        channel.inform(self.availability)

    @classmethod
    async def open(
        cls,
        call: Call,
        *,
        socket: Path,
        spool: Path,
        worker_id: str,
        pid: int,
        pseudonyms: Pseudonyms,
    ) -> Record:
        """Open the record of `call` through the worker's socket, or the spool without a worker."""
        channel = await Channel.open(socket, call.id, Spool(spool), worker_id)
        record = cls(call, channel, pseudonyms)
        record._send(
            CallOpened,
            room=call.room,
            room_sid=call.room_sid,
            job_id=call.job_id,
            agent_name=call.agent_name,
            pid=pid,
        )
        return record

    @property
    def seconds(self) -> float:
        """How long the caller has been there."""
        return time.monotonic() - self._joined_at if self.caller else 0.0

    def caller_joined(
        self, caller: Caller, persona: Persona, *, providers: Mapping[str, str]
    ) -> None:
        """The caller is on the line and `persona` answers with these first providers."""
        self.caller, self._joined_at = caller, time.monotonic()
        self.redactor = Redactor(persona.privacy.redact)
        self._send(
            CallerJoined,
            identity=self._pseudonyms.within(caller.identity),
            number=self._pseudonyms.of_number(caller.number),
            called=caller.called,
            persona=persona.name,
            language=persona.language,
            providers=dict(providers),
        )

    def is_for(self, kind: str) -> None:
        """Whose call it is: one of `agent.metrics.KINDS`. A caller's, where nothing is told."""
        if kind != CALLER:
            self.note(KIND, kind=kind)

    def requested(self, service: str, method: str, status: str, seconds: float | None) -> None:
        """The LiveKit API was asked: counted by the worker, whose figures are exported."""
        if not self._closed:
            took = None if seconds is None else round(seconds, 4)
            self.note(REQUEST, service=service, method=method, status=status, seconds=took)

    async def turn_to_start(self) -> None:
        """Wait until the worker lets this call start, of those that begin at one moment."""
        await self._channel.ask({"start": self.call.job_id}, timeout=TURN)

    async def judged(self, caller: Caller, persona: str) -> Verdict:
        """What admission says of `caller`, whom `persona` is to answer.

        A worker that does not answer lets everybody in: a caller is worth more than a rule.
        """
        verdict = await self._channel.ask(
            {
                "job": self.call.job_id,
                "persona": persona,
                "number": caller.number,
                "is_telephone": caller.is_telephone,
            }
        )
        return Verdict(verdict) if verdict else Verdict.ADMITTED

    def turned_away(self, caller: Caller, persona: Persona, verdict: Verdict) -> None:
        """The caller is on the line and is not admitted."""
        self.caller_joined(caller, persona, providers={})
        self.note("rejected", verdict=verdict.value)

    def turn_committed(self, turn: int, **values: Any) -> None:
        """The user's turn is over; `values` are the fields of `TurnCommitted`."""
        said = self.redactor.said(values.pop("user_text", ""))
        self._send(TurnCommitted, turn=turn, user_text=said, **self.redactor.value(values))

    def turn_finished(self, turn: int, **values: Any) -> None:
        """The reply was heard, as far as it went; `values` are the fields of `TurnFinished`."""
        self._send(TurnFinished, turn=turn, **self.redactor.value(values))

    def note(self, name: str, /, **detail: Any) -> None:
        """Keep something in the call's history."""
        self._send(CallNote, name=name, detail=self.redactor.value(detail))

    def linked(self, link: Link) -> None:
        """How well the caller's audio arrives; kept when it sounds otherwise than before."""
        score = mos(link)
        if self._score is None or abs(score - self._score) >= AUDIBLE:
            self._score = score
            self.note(
                LINK,
                score=round(score, 2),
                loss=round(link.loss, 4),
                jitter=round(link.jitter, 4),
                round_trip=round(link.round_trip, 4),
            )

    def tell(self, kind: type[Event], **values: Any) -> None:
        """Tell of something that holds neither words nor numbers of the caller."""
        self._send(kind, **values)

    def keys_pressed(self, keys: str) -> None:
        """The caller pressed these keys one after the other: how many, and what may be kept."""
        detail = {"pressed": len(keys), "keys": self.redactor.pressed(keys)}
        self._send(CallNote, name="dtmf", detail=detail)

    def keys_collected(self, keys: str, *, is_complete: bool) -> None:
        """The caller typed these keys into a question: how many, and whether they are all."""
        self.redactor.typed(keys)
        self.note("digits_collected", count=len(keys), all=is_complete)

    async def close(self, reason: EndReason, detail: str, usage: Mapping[str, Any]) -> None:
        """Write the end and part from the worker. A second close changes nothing."""
        if self._closed:
            return
        self._closed = True
        self._send(
            CallEnded,
            reason=reason,
            detail=self.redactor.text(detail),
            usage=dict(usage),
            memory_bytes=self.memory_bytes,
        )
        await self._channel.aclose()

    def _send(self, kind: type[Event], **values: Any) -> None:
        self._seq += 1
        self._channel.send(kind(call_id=self.call.id, seq=self._seq, **values))
