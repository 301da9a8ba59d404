"""Logs: structlog in front of the standard library, secrets and personal data kept out.

Records travel through the standard library, because the framework carries a job's records to the
worker's process that way; there they are written (`agent.lines`; in colour for `dev`).
"""

from __future__ import annotations

import logging
import re
from typing import Any

import structlog

PERSONAL = frozenset({"number", "called", "caller", "transcript", "text", "user_text", "identity"})
"""Keys whose values are personal data: they never reach a handler."""

PERSONAL_PREFIX = "lk.pii."
"""The framework marks personal data of its own records with this prefix."""

FRAMEWORK = "livekit"
FRAMEWORK_PERSONAL = frozenset({"participant", "data"})
"""Keys of the framework's records that it does not mark: a SIP participant is named by its
number."""

WORDY = ("openai", "httpx2", "httpcore2", "websockets", "aiohttp", "asyncio", "urllib3", "hpack")
"""Libraries that log whole requests and answers at debug level: never below WARNING."""

HIDDEN = "[personal data]"

_NUMBER = re.compile(
    r"(?:(?<![0-9A-Za-z+])\+|%2[Bb])"
    r"(?:[0-9]{7,15}|(?=(?:[^0-9\n]{0,3}[0-9]){7})[0-9]{1,4}(?:[ \xa0().‐-―-]{1,3}[0-9]{2,8}){2,5})"
    r"(?![0-9])"
    r"|(?:(?<![0-9A-Za-z.+-])|(?<=sip_)|(?<=tel:)|(?<=%3[Aa]))"
    r"[0-9]{10,15}(?![0-9A-Za-z-]|\.[0-9A-Za-z])"
)
"""A phone number in a text: with its plus (`%2B` in a URL), in one piece or in groups, or long
enough to be one without. The plus of a version (`1.8.9+2026`) stands behind a letter or a digit;
an id goes on after a hyphen, seconds after a point."""

_ANSWER = re.compile(
    r"(\bbody=|\bError code: [0-9]{3} - |\binput_value=)"
    r"(?:(?!'?, status_code=|, retryable=|, input_type=|\n\nThe above|\n\nDuring handling).)*",
    re.DOTALL,
)
"""What a provider answered, and what pydantic refused, in the text of an error: both may quote
what was said."""

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
    """Keep personal data out of every handler that the process has now, at any level."""
    for name in WORDY:
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.WARNING))
    for handler in logging.getLogger().handlers:
        if not any(isinstance(known, _PersonalData) for known in handler.filters):
            handler.addFilter(_PersonalData())


def clean(text: str) -> str:
    """The text without phone numbers and without what providers answered."""
    return _NUMBER.sub(HIDDEN, _ANSWER.sub(rf"\1{HIDDEN}", text))


class _PersonalData(logging.Filter):
    """Rewrites a record before a handler formats it."""

    def filter(self, record: logging.LogRecord) -> bool:
        for key, value in list(vars(record).items()):
            if key in STANDARD:
                continue
            if key.startswith(PERSONAL_PREFIX) or _is_personal(record, key, value):
                setattr(record, key, HIDDEN)
            elif not isinstance(value, int | float | None) and (
                (cleaned := clean(str(value))) != str(value)
            ):
                setattr(record, key, cleaned)
        message = record.getMessage()
        if clean(message) != message:
            record.msg, record.args = clean(message), None
        if record.exc_info and not record.exc_text:
            record.exc_text = _FORMAT.formatException(record.exc_info)
        if record.exc_text:
            # The formatter of `start` writes `exc_info` anew: it must find the cleaned text only.
            record.exc_text, record.exc_info = clean(record.exc_text), None
        return True


_FORMAT = logging.Formatter()
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""What each record has: not values that somebody logged."""


def _is_personal(record: logging.LogRecord, key: str, value: Any) -> bool:
    """The framework's unmarked personal data, and what a provider sent as an error."""
    if record.name.partition(".")[0] != FRAMEWORK:
        return False
    return key in FRAMEWORK_PERSONAL or (key == "error" and isinstance(value, dict | list))


def _without_personal_data(
    _logger: Any, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    event["stacklevel"] = STACK  # the line that logged, not structlog's own
    return {key: HIDDEN if key in PERSONAL else value for key, value in event.items()}
