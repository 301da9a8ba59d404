"""How a line of the log looks: the same from worker, jobs and sidecars, and libraries under them.

One JSON object: `timestamp`, `level`, `logger`, `event` and `pid`, then the record's own values.
Every line of a call has the call's id as `call`.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import structlog

from agent.log import STANDARD

NAMES_A_JOB = ("job_id", "job")
"""Values by which a record tells of a job: the framework's, and ours."""

MOST_JOBS = 256
"""Jobs whose calls are remembered: those that go on, and the last that ended."""


def formatter(*, colours: bool = False) -> logging.Formatter:
    """Writes records as such lines; with `colours`, for a terminal."""
    renderer: structlog.typing.Processor = structlog.dev.ConsoleRenderer()
    if not colours:
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[_told_by_the_record],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            renderer,
        ],
    )


class CallIds(logging.Filter):
    """Names the call in lines of others that name its job: the framework knows no calls."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[str, str] = {}

    def attach(self) -> None:
        """Do so in every line that the process writes from now on."""
        for handler in logging.getLogger().handlers:
            handler.addFilter(self)

    def detach(self) -> None:
        """Do so no more."""
        for handler in logging.getLogger().handlers:
            handler.removeFilter(self)

    def know(self, job: str, call: str) -> None:
        """The job answers this call."""
        self._calls[job] = call
        if len(self._calls) > MOST_JOBS:
            del self._calls[next(iter(self._calls))]

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging.Filter: every record is written."""
        if not hasattr(record, "call"):
            jobs = (getattr(record, name, None) for name in NAMES_A_JOB)
            calls = (self._calls.get(job) for job in jobs if isinstance(job, str))
            if call := next(filter(None, calls), None):
                record.call = call
        return True


def _told_by_the_record(
    _logger: Any, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """All that a record tells. One of a job tells when and where it was made."""
    record: logging.LogRecord = event["_record"]
    told = {
        "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": event.pop("event"),
        "pid": record.process,
        **event,
    }
    for key, value in vars(record).items():
        if key not in STANDARD and not key.startswith("_"):
            told.setdefault(key, value)
    if record.exc_text:
        # `agent.log` has left the traceback there, without personal data.
        told["exception"] = record.exc_text
        told.pop("exc_info", None)
    return told
