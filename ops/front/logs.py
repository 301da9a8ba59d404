"""The log of a server process: one JSON object a line, or colours on a terminal."""

from __future__ import annotations

import logging
import sys

from agent import lines, log

QUIET = ("alembic", "uvicorn", "uvicorn.access", "uvicorn.error")
"""What they tell at info level, we tell ourselves, without query strings: those hold secrets."""


def set_up(level: str) -> None:
    """Write what is at least as serious as `level` to standard error, without personal data."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(lines.formatter(colours=sys.stderr.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    log.protect()
