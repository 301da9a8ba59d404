"""What somebody should look at: told once in a while, to the log and to whoever listens."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from agent import log
from agent.call import now

logger = log.get(__name__)

AGAIN_AFTER = 60.0
"""Seconds for which the same alert is only counted."""

MOST = 10_000
"""Alerts that are remembered at once."""

Level = Literal["info", "warning", "critical"]
"""`info`: what was told before is over."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that somebody should look at."""

    name: str
    level: Level
    message: str
    at: datetime
    about: dict[str, Any]
    left_out: int
    """How often it was held back since it was told last."""


@dataclass(slots=True)
class Alerts:
    """Passes alerts on. `listeners` are called at once, and must neither wait nor raise."""

    listeners: list[Callable[[Alert], None]] = field(default_factory=list)
    _told: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)

    def tell(
        self, name: str, message: str, level: Level = "warning", subject: str = "", **about: Any
    ) -> bool:
        """Alert of `name` about `subject`; whether it was told, and not held back.

        `message` is a static sentence; `about` holds values, none of them a secret.
        """
        key, moment = (name, f"{level} {subject}"), time.monotonic()
        before, left_out = self._told.get(key, (-AGAIN_AFTER, 0))
        if moment - before < AGAIN_AFTER:
            self._told[key] = before, left_out + 1
            return False
        if len(self._told) >= MOST:
            self._told.clear()
        self._told[key] = moment, 0
        # What ended is news when it begins again, and the other way round.
        for other in ("warning", "critical") if level == "info" else ("info",):
            self._told.pop((name, f"{other} {subject}"), None)
        if subject:
            about = {"subject": subject, **about}
        write = {"info": logger.info, "warning": logger.warning, "critical": logger.critical}
        write[level](message, alert=name, left_out=left_out, **about)
        for listener in self.listeners:
            listener(Alert(name, level, message, now(), about, left_out))
        return True
