"""The worker's figures of its calls: every event of every call becomes a metric here, once.

Nothing is kept of a call beyond its end, so that a thousand calls leave no more behind than ten.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from agent import events, metrics
from agent.call import Verdict
from agent.events import (
    CallEnded,
    CallerJoined,
    CallNote,
    CallOpened,
    Event,
    TurnCommitted,
    TurnFinished,
)
from config.persona import Tool
from config.retries import METHODS

TOOLS = frozenset(get_args(Tool))
STATUS_DIGITS = 3


@dataclass(slots=True)
class Going:
    """A call that goes on."""

    kind: str = metrics.CALLER
    joined_at: datetime | None = None
    score: float | None = None
    turn: int = 0
    """The last turn that was counted: its row is written more than once."""
    interrupted: int = -1
    answered: int = -1
    tools: int = 0


class Tally:
    """Counts the calls of one worker."""

    def __init__(self) -> None:
        self._going: dict[str, Going] = {}

    def hear(self, event: Event) -> None:
        """Count `event`, of a call of this worker."""
        call = self._going.get(event.call_id)
        if call is None:
            # What comes after the end (a record that is corrected) is no news.
            if isinstance(event, CallOpened):
                self._going[event.call_id] = Going()
            return
        match event:
            case CallerJoined():
                self._joined(call, event)
            case TurnCommitted():
                _committed(call, event)
            case TurnFinished():
                _finished(call, event)
            case CallNote():
                self._noted(call, event)
            case CallEnded():
                self._ended(call, event)

    def _joined(self, call: Going, event: CallerJoined) -> None:
        if call.joined_at is None:
            call.joined_at = event.at
            metrics.CALLS_ACTIVE.labels(call.kind).inc()

    def _noted(self, call: Going, event: CallNote) -> None:
        told = event.detail
        match event.name:
            case events.KIND:
                if told["kind"] in metrics.KINDS:
                    self._relabel(call, told["kind"])
            case "rejected":
                self._relabel(call, metrics.COURTESY)
                metrics.REFUSALS.labels(Verdict(told["verdict"]).value).inc()
            case events.GREETED:
                metrics.PICKUP_SECONDS.labels(call.kind).observe(told["after"])
            case events.SILENCE_OWED:
                metrics.DEAD_AIR_SECONDS.labels(call.kind).observe(told["seconds"])
            case events.LINK:
                call.score = told["score"]
                self._score()
            case events.REQUEST:
                _requested(**told)

    def _relabel(self, call: Going, kind: str) -> None:
        if call.joined_at is not None:
            metrics.CALLS_ACTIVE.labels(call.kind).dec()
            metrics.CALLS_ACTIVE.labels(kind).inc()
        call.kind = kind

    def _ended(self, call: Going, event: CallEnded) -> None:
        del self._going[event.call_id]
        reason = event.reason.value
        metrics.CALLS.labels(call.kind, reason).inc()
        if event.reason in metrics.FAULTS:
            metrics.CALL_FAILURES.labels(call.kind, reason).inc()
        if call.joined_at is not None:
            metrics.CALLS_ACTIVE.labels(call.kind).dec()
            seconds = (event.at - call.joined_at).total_seconds()
            metrics.CALL_SECONDS.labels(call.kind).observe(max(seconds, 0.0))
        self._score()
        _spent(event)

    def _score(self) -> None:
        scores = [
            call.score
            for call in self._going.values()
            if call.score is not None and call.kind in metrics.BUSINESS
        ]
        metrics.QUALITY.set(sum(scores) / len(scores) if scores else 0)


def _requested(service: str, method: str, status: str, seconds: float | None) -> None:
    """A job's request, under names that there are: labels have few values."""
    is_known = f"{service}.{method}" in METHODS
    is_status = status in metrics.STATUSES or (status.isdigit() and len(status) == STATUS_DIGITS)
    if is_known and is_status:
        metrics.requested(service, method, status, seconds)


def _committed(call: Going, event: TurnCommitted) -> None:
    if event.turn <= call.turn:
        return
    call.turn, call.tools = event.turn, 0
    metrics.TURNS.labels(call.kind).inc()
    metrics.observe(metrics.CONFIDENCE, call.kind, event.confidence)
    metrics.observe(metrics.STT_SECONDS, call.kind, event.transcription_delay)
    metrics.observe(metrics.END_OF_TURN_SECONDS, call.kind, event.end_of_turn_delay)


def _finished(call: Going, event: TurnFinished) -> None:
    for tool in event.tools[call.tools :]:
        # A model may invent a name: labels have few values.
        metrics.TOOL_CALLS.labels(tool if tool in TOOLS else "other").inc()
    call.tools = max(call.tools, len(event.tools))
    if event.interrupted and call.interrupted < event.turn:
        call.interrupted = event.turn
        metrics.INTERRUPTIONS.labels(call.kind).inc()
    if event.latency is not None and call.answered < event.turn:
        call.answered = event.turn
        metrics.observe(metrics.RESPONSE_SECONDS, call.kind, event.latency)
        metrics.observe(metrics.LLM_SECONDS, call.kind, event.llm_ttft)
        metrics.observe(metrics.TTS_SECONDS, call.kind, event.tts_ttfb)


def _spent(event: CallEnded) -> None:
    if event.cost is None:
        return
    metrics.COST.labels(event.cost["currency"]).inc(float(event.cost["known"]))
    if event.cost["total"] is None:
        metrics.COST_UNKNOWN.inc()
