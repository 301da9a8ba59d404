"""How a worker reports to `ops serve`: `POST /events`, one report at a time (`agent.remote`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import aiohttp

from agent import twirp
from agent.errors import LiveKitError, VoiceAgentError
from agent.events import Event, encode

PATIENCE = 15.0
"""Seconds for one report."""

UNREADABLE = frozenset(
    (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)
)
"""Answers to a report that will not be taken however often it is sent as it is."""


class NotTaken(VoiceAgentError):
    """The other side took nothing: it is to be sent again later."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        """`retry_after`: seconds that the other side asks us to wait."""
        super().__init__(message)
        self.retry_after = retry_after


class TooMuch(NotTaken):
    """The other side does not take this report in one piece."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a report: all of its events are kept now, but those that were refused."""

    refused: Mapping[int, str] = field(default_factory=dict)
    """Why, by the place among the events."""
    abandoned: tuple[str, ...] = ()
    """Rooms of calls that were closed because their worker is gone."""


class Reporter:
    """Sends the reports of one worker. For one event loop."""

    def __init__(self, url: str, key: str, worker_id: str) -> None:
        self._url = f"{url.rstrip('/')}/events"
        self._headers = {"authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._worker_id = worker_id
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self,
        entries: Sequence[tuple[str, Event]],
        *,
        gone: Sequence[str] = (),
        leaving: bool = False,
    ) -> Receipt:
        """Send these events, each with the id of its worker; without any it is a heartbeat.

        `gone` are workers of this machine that have ended. Raises NotTaken.
        """
        told = ",".join(
            f'{{"worker_id":{json.dumps(worker)},"event":{encode(event)}}}'
            for worker, event in entries
        )
        rest = json.dumps({"worker": self._worker_id, "gone": list(gone), "leaving": leaving})
        body = f'{rest[:-1]},"events":[{told}]}}'
        if self._session is None:
            self._session = aiohttp.ClientSession()
        try:
            answer = await twirp.ask(
                self._session,
                self._url,
                body.encode("utf-8", "replace"),
                self._headers,
                PATIENCE,
                service="ops",
                method="events",
            )
        except LiveKitError as error:
            if error.status in UNREADABLE:
                raise TooMuch(str(error)) from None
            raise NotTaken(str(error), error.retry_after) from None
        return _receipt(answer)

    async def aclose(self) -> None:
        """Close the connection."""
        if self._session:
            await self._session.close()


def _receipt(answer: bytes) -> Receipt:
    try:
        told: dict[str, Any] = json.loads(answer)
        refused = {int(one["index"]): str(one["why"]) for one in told["refused"]}
        return Receipt(refused, tuple(map(str, told["abandoned"])))
    except (KeyError, TypeError, ValueError):
        raise NotTaken("what answers is not ops serve") from None
