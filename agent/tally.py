"""The worker's figures of its calls: every event of every call becomes a metric here, once.

Nothing is kept of a call beyond its end, so that a thousand calls leave no more behind than ten.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self, get_args

from agent import events, log, metrics
from agent.call import RecordingStatus, Verdict
from agent.events import (
    CallEnded,
    CallerJoined,
    CallNote,
    CallOpened,
    Event,
    RecordingChanged,
    RecordingMade,
    TurnCommitted,
    TurnFinished,
)
from config.persona import Tool
from config.retries import METHODS

logger = log.get(__name__)


class Silent:
    """In the place of metrics: counts nothing."""

    def __getattr__(self, _name: str) -> Self:
        return self

    def __call__(self, *_values: object) -> Self:
        """Any method of any metric."""
        return self


class Without:
    """Metrics without some of them, which others tell."""

    def __init__(self, figures: Any, *names: str) -> None:
        self._figures, self._names = figures, names

    def __getattr__(self, name: str) -> Any:
        return Silent() if name in self._names else getattr(self._figures, name)


TOOLS = frozenset(get_args(Tool))
STATUS_DIGITS = 3
CURRENCY = re.compile(r"[A-Z]{3}")
"""As ISO 4217 writes them."""


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

    def __init__(self, figures: Any = metrics) -> None:
        """`figures` are the metrics, by their names in `agent.metrics`."""
        self._figures = figures
        self._going: dict[str, Going] = {}

    def count(self, event: Event) -> None:
        """Hear `event`; one that cannot be counted is told of in the log."""
        try:
            self.hear(event)
        except Exception:
            # The boundary of the figures: no call suffers for one that makes no sense.
            logger.exception("an event could not be counted", call=event.call_id, kind=event.kind)

    def hear(self, event: Event) -> None:
        """Count `event`, of a call of this worker."""
        if isinstance(event, RecordingMade | RecordingChanged):
            _recorded(self._figures, event)  # it may be known only after the call
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
                _committed(self._figures, call, event)
            case TurnFinished():
                _finished(self._figures, call, event)
            case CallNote():
                self._noted(call, event)
            case CallEnded():
                self._ended(call, event)

    def recall(self, call_id: str, events: Iterable[Event]) -> None:
        """Know of a call what these events tell, which were counted before."""
        before = Tally(Silent())
        for event in events:
            before.hear(event)
        self._going.pop(call_id, None)
        self._going.update(before._going)

    def forget(self) -> None:
        """Know of no call."""
        self._going.clear()

    @property
    def going(self) -> Collection[Going]:
        """The calls that go on."""
        return self._going.values()

    def _joined(self, call: Going, event: CallerJoined) -> None:
        if call.joined_at is None:
            call.joined_at = event.at
            self._figures.CALLS_ACTIVE.labels(call.kind).inc()

    def _noted(self, call: Going, event: CallNote) -> None:
        told = event.detail
        match event.name:
            case events.KIND:
                if told["kind"] in metrics.KINDS:
                    self._relabel(call, told["kind"])
            case "rejected":
                self._relabel(call, metrics.COURTESY)
                self._figures.REFUSALS.labels(Verdict(told["verdict"]).value).inc()
            case events.GREETED:
                self._figures.PICKUP_SECONDS.labels(call.kind).observe(told["after"])
            case events.SILENCE_OWED:
                self._figures.DEAD_AIR_SECONDS.labels(call.kind).observe(told["seconds"])
            case events.LINK:
                call.score = told["score"]
                self._score()
            case events.REQUEST:
                _requested(self._figures, **told)

    def _relabel(self, call: Going, kind: str) -> None:
        if call.joined_at is not None:
            self._figures.CALLS_ACTIVE.labels(call.kind).dec()
            self._figures.CALLS_ACTIVE.labels(kind).inc()
        call.kind = kind

    def _ended(self, call: Going, event: CallEnded) -> None:
        del self._going[event.call_id]
        reason = event.reason.value
        self._figures.CALLS.labels(call.kind, reason).inc()
        if event.reason in metrics.FAULTS:
            self._figures.CALL_FAILURES.labels(call.kind, reason).inc()
        if call.joined_at is not None:
            self._figures.CALLS_ACTIVE.labels(call.kind).dec()
            seconds = (event.at - call.joined_at).total_seconds()
            self._figures.CALL_SECONDS.labels(call.kind).observe(max(seconds, 0.0))
        self._score()
        _spent(self._figures, event)

    def _score(self) -> None:
        scores = [
            call.score
            for call in self._going.values()
            if call.score is not None and call.kind in metrics.BUSINESS
        ]
        self._figures.QUALITY.set(sum(scores) / len(scores) if scores else 0)


def _recorded(figures: Any, event: RecordingMade | RecordingChanged) -> None:
    """A recording that was made, or was not."""
    if isinstance(event, RecordingMade):
        figures.RECORDINGS.labels("worker", RecordingStatus.COMPLETE.value).inc()
    elif event.status == RecordingStatus.FAILED.value:
        by = "worker" if event.recording.endswith("-own") else "egress"
        figures.RECORDINGS.labels(by, event.status).inc()


def _requested(figures: Any, service: str, method: str, status: str, seconds: float | None) -> None:
    """A job's request, under names that there are: labels have few values."""
    is_known = f"{service}.{method}" in METHODS
    is_status = status in metrics.STATUSES or (status.isdigit() and len(status) == STATUS_DIGITS)
    if is_known and is_status:
        figures.requested(service, method, status, seconds)


def _committed(figures: Any, call: Going, event: TurnCommitted) -> None:
    if event.turn <= call.turn:
        return
    call.turn, call.tools = event.turn, 0
    figures.TURNS.labels(call.kind).inc()
    figures.observe(figures.CONFIDENCE, call.kind, event.confidence)
    figures.observe(figures.STT_SECONDS, call.kind, event.transcription_delay)
    figures.observe(figures.END_OF_TURN_SECONDS, call.kind, event.end_of_turn_delay)


def _finished(figures: Any, call: Going, event: TurnFinished) -> None:
    for tool in event.tools[call.tools :]:
        # A model may invent a name: labels have few values.
        figures.TOOL_CALLS.labels(tool if tool in TOOLS else "other").inc()
    call.tools = max(call.tools, len(event.tools))
    if event.interrupted and call.interrupted < event.turn:
        call.interrupted = event.turn
        figures.INTERRUPTIONS.labels(call.kind).inc()
    if event.latency is not None and call.answered < event.turn:
        call.answered = event.turn
        figures.observe(figures.RESPONSE_SECONDS, call.kind, event.latency)
        figures.observe(figures.LLM_SECONDS, call.kind, event.llm_ttft)
        figures.observe(figures.TTS_SECONDS, call.kind, event.tts_ttfb)


def _spent(figures: Any, event: CallEnded) -> None:
    if event.cost is None:
        return
    told = str(event.cost["currency"])
    # What a worker elsewhere reports may say anything: labels have few values.
    currency = told if CURRENCY.fullmatch(told) else "other"
    figures.COST.labels(currency).inc(float(event.cost["known"]))
    if event.cost["total"] is None:
        figures.COST_UNKNOWN.inc()
