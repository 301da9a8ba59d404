"""Logs: structlog in front of the standard library, secrets and personal data kept out.

Records travel through the standard library, because the framework carries a job's records to the
worker's process that way and formats them there (JSON for `start`, colour for `dev`).
"""

from __future__ import annotations

import logging
from typing import Any

import structlog

PERSONAL = frozenset({"number", "called", "caller", "transcript", "text", "user_text", "identity"})
"""Keys whose values are personal data: they never reach a handler."""

PERSONAL_PREFIX = "lk.pii."
"""The framework marks personal data of its own records with this prefix."""


STACK = 4
"""Frames between a module that logs and the standard library's logger."""


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger for one module: a static sentence first, values as keyword arguments."""
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[
            structlog.stdlib.filter_by_level,
            _without_personal_data,
            structlog.stdlib.render_to_log_kwargs,
        ],
    )
    return logger


def protect() -> None:
    """Keep personal data out of every handler that the process has now."""
    for handler in logging.getLogger().handlers:
        if not any(isinstance(known, _PersonalData) for known in handler.filters):
            handler.addFilter(_PersonalData())


class _PersonalData(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        for key in [k for k in vars(record) if k.startswith(PERSONAL_PREFIX)]:
            setattr(record, key, "[personal data]")
        return True


def _without_personal_data(
    _logger: Any, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    event["stacklevel"] = STACK  # the line that logged, not structlog's own
    return {key: "[personal data]" if key in PERSONAL else value for key, value in event.items()}
