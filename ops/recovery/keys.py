"""Our keys in Redis by what they begin with: which of them are a cache, and which must stay.

A cache is what workers tell anew by themselves within seconds; all else is somebody's word that
nobody would say again. Webhooks' ids are in the database, and have no key here.
"""

from __future__ import annotations

from collections.abc import Mapping

from agent import sessions
from ops.front import limits
from ops.health import stores
from ops.tokens import revocations

CACHES: Mapping[str, str] = {
    sessions.PREFIX: "live calls: told anew with every heartbeat, and the call log knows them",
}
"""What `recover` may clear."""

KEPT: Mapping[str, str] = {
    "voice-ai:places:": "places that jobs hold: without them more calls come in than may",
    "voice-ai:hourly": "calls of a number in the last hour",
    limits.PREFIX: "requests of a client in the last minute",
    revocations.PREFIX: "tokens that are dead",
    revocations.COMPLETE: "that all dead tokens are known here",
    stores.OWN_KEY: "trials of health checks, which expire",
}
"""What stays, whatever is wrong."""


def is_cache(key: str) -> bool | None:
    """Whether this key may be cleared; None: it is not one of ours."""
    name = key.removeprefix("{")
    if any(name.startswith(prefix) for prefix in CACHES):
        return True
    return False if any(name.startswith(prefix) for prefix in KEPT) else None
