"""What an attack looks like: counted, logged without secrets, and alerted when it is much.

Every kind is counted in a window of a minute for its subject: an address, or a client by its name.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from agent import log, metrics
from ops.front.alerts import Alerts

logger = log.get(__name__)

WINDOW = 60.0
"""Seconds over which things are counted."""

MOST = 10_000
"""Subjects that are counted at once; with more, the oldest half is forgotten."""

Kind = Literal["bad_key", "bad_signature", "refused_grant", "burst", "many_rooms"]


@dataclass(frozen=True, slots=True)
class Rule:
    """How often in a minute is too often, and what is then said."""

    too_often: int
    message: str


RULES: Mapping[Kind, Rule] = {
    "bad_key": Rule(10, "somebody tries client keys"),
    "bad_signature": Rule(5, "somebody sends things with a forged signature"),
    "refused_grant": Rule(10, "a client asks for tokens that it may not have"),
    "burst": Rule(1, "more requests than allowed"),
    "many_rooms": Rule(1, "a client asks for tokens for very many rooms"),
}


class Suspicion:
    """Counts what should not happen often."""

    def __init__(self, alerts: Alerts) -> None:
        self._alerts = alerts
        self._seen: dict[tuple[Kind, str], tuple[float, int]] = {}
        self._rooms: dict[str, tuple[float, set[str]]] = {}

    def note(self, kind: Kind, subject: str) -> None:
        """`subject` (an address, a client's name) did a thing of `kind`."""
        metrics.SUSPICIOUS.labels(kind).inc()
        moment = time.monotonic()
        since, count = self._seen.get((kind, subject), (moment, 0))
        if moment - since > WINDOW:
            since, count = moment, 0
        _make_room(self._seen)
        self._seen[kind, subject] = since, count + 1
        if count == 0:
            logger.info("suspicious", kind=kind, subject=subject)
        rule = RULES[kind]
        if count + 1 >= rule.too_often:
            # One alert for all subjects: an attack comes from many addresses.
            self._alerts.tell(f"suspicious_{kind}", rule.message, who=subject, times=count + 1)

    def room(self, client: str, room: str, most: int) -> None:
        """`client` asked for a token for `room`, and may do so for `most` a minute unnoticed."""
        moment = time.monotonic()
        since, rooms = self._rooms.get(client, (moment, set()))
        if moment - since > WINDOW:
            since, rooms = moment, set()
        if len(rooms) <= most:
            rooms.add(room)
            if len(rooms) == most + 1:
                self.note("many_rooms", client)
        _make_room(self._rooms)
        self._rooms[client] = since, rooms


def _make_room(seen: dict[Any, Any]) -> None:
    if len(seen) >= MOST:
        for key in list(seen)[: MOST // 2]:
            del seen[key]
