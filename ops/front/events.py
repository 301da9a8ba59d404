"""Who wants to hear of webhook events: handlers by the event's name.

A sidecar says `plane.events.on("egress_ended", handler)` before it starts. Each event is given to
each of its handlers once; if one of them raises, to all of them again later, and after a crash in
the middle as well: a handler must do no harm the second time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from livekit.protocol.webhook import WebhookEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event as LiveKit sent it, but for keys and callers' numbers (`ops.webhooks.redaction`)."""

    id: str
    event: str
    room: str
    room_sid: str
    at: datetime
    """When it happened, by LiveKit's clock, in whole seconds."""
    body: WebhookEvent = field(repr=False)


Handler = Callable[[Told], Awaitable[None]]

ANY = "*"
"""The name under which a handler hears of every event."""


class Events:
    """The handlers of one process."""

    def __init__(self) -> None:
        self._handlers: dict[str, list[Handler]] = {}

    def on(self, event: str, handler: Handler) -> None:
        """Have `handler` told of every event of this name; it has some seconds for each."""
        self._handlers.setdefault(event, []).append(handler)

    def handlers(self, event: str) -> Sequence[Handler]:
        """Who is to be told of it."""
        return [*self._handlers.get(event, ()), *self._handlers.get(ANY, ())]
