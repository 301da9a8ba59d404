"""Keeps a token fresh for a client that lives longer than it, through failures of whoever gives it.

async with TokenRefresher(HttpTokens(session, url, key, asked)) as refresher:
    room.connect(livekit_url, refresher.token)
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol, Self

import aiohttp

from agent import log, tasks
from agent.errors import VoiceAgentError

logger = log.get(__name__)

MARGIN = 120.0
"""Seconds before its end at which a token is refreshed; half of its life where that is less."""

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
"""Seconds between attempts: doubled after each failure, with jitter."""

ANSWERS_WITHIN = 10.0


class TokenLost(VoiceAgentError):
    """The token was revoked: none takes its place."""


class TokenUnusable(VoiceAgentError):
    """The token cannot be refreshed any more; another one can be asked for."""


class TokenNotGiven(VoiceAgentError):
    """No token was given now; it may be later."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """A token, and the seconds that it lives from now on."""

    token: str
    life: float


class Source(Protocol):
    """Whoever gives tokens. Both methods raise TokenNotGiven."""

    async def issue(self) -> Fresh:
        """A new token."""

    async def refresh(self, token: str) -> Fresh:
        """One in the place of `token`. Raises TokenUnusable and TokenLost, too."""


class TokenRefresher:
    """Owns one token and the task that keeps it fresh."""

    def __init__(self, source: Source, *, margin: float = MARGIN) -> None:
        """`margin`: seconds before a token's end at which the next one is asked for."""
        self._source = source
        self._margin = margin
        self._fresh: Fresh | None = None
        self._ends_at = 0.0
        self._keeping: asyncio.Task[None] | None = None
        self.changed: list[Callable[[str], None]] = []
        """Each is called with the new token, in the event loop."""
        self.is_lost = False
        """Whether the token was revoked: it is refreshed no more."""

    async def start(self) -> str:
        """The first token. Raises TokenNotGiven."""
        self._take(await self._source.issue())
        self._keeping = tasks.spawn(self._keep(), "token-refresher")
        return self.token

    async def aclose(self) -> None:
        """Refresh no more."""
        await tasks.end(self._keeping)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.aclose()

    @property
    def token(self) -> str:
        """The newest token. Raises TokenLost, and TokenNotGiven when it has expired."""
        if self.is_lost:
            raise TokenLost
        if self._fresh is None or time.monotonic() >= self._ends_at:
            raise TokenNotGiven
        return self._fresh.token

    async def _keep(self) -> None:
        failures = 0
        while not self.is_lost:
            await asyncio.sleep(self._wait(failures))
            try:
                self._take(await self._next())
            except TokenLost:
                self.is_lost = True
                logger.warning("the token was revoked")
            except TokenNotGiven as error:
                failures += 1
                logger.warning("a token could not be refreshed", error=str(error), times=failures)
            else:
                failures = 0

    async def _next(self) -> Fresh:
        assert self._fresh is not None
        if time.monotonic() >= self._ends_at:
            return await self._source.issue()
        try:
            return await self._source.refresh(self._fresh.token)
        except TokenUnusable:  # such as: refreshed, and the answer was lost on its way
            return await self._source.issue()

    def _take(self, fresh: Fresh) -> None:
        self._fresh, self._ends_at = fresh, time.monotonic() + fresh.life
        for tell in self.changed:
            tell(fresh.token)

    def _wait(self, failures: int) -> float:
        if failures:
            longest = min(FIRST_WAIT * float(2 ** min(failures - 1, 10)), LONGEST_WAIT)
            return random.uniform(0.5, 1) * longest
        assert self._fresh is not None
        margin = min(self._margin, self._fresh.life / 2)
        # Not all clients of one start at once.
        return max(0.0, self._ends_at - time.monotonic() - margin * random.uniform(1, 1.1))


@dataclass(frozen=True, slots=True)
class HttpTokens:
    """Tokens of an `ops serve`."""

    session: aiohttp.ClientSession
    url: str
    """Such as https://voice.example.com."""
    client_key: str
    asked: Mapping[str, Any]
    """The body of POST /tokens: kind, identity, room and so on."""

    async def issue(self) -> Fresh:
        """See Source."""
        return await self._post("/tokens", self.asked)

    async def refresh(self, token: str) -> Fresh:
        """See Source."""
        return await self._post("/tokens/refresh", {"token": token})

    async def _post(self, path: str, body: Mapping[str, Any]) -> Fresh:
        headers = {"Authorization": f"Bearer {self.client_key}"}
        limit = aiohttp.ClientTimeout(total=ANSWERS_WITHIN)
        try:
            async with self.session.post(
                self.url + path, json=body, headers=headers, timeout=limit, allow_redirects=False
            ) as answer:
                told = await answer.json()
            if answer.status == HTTPStatus.OK:
                issued, expires = (
                    datetime.fromisoformat(told[name]) for name in ("issued_at", "expires_at")
                )
                return Fresh(str(told["token"]), (expires - issued).total_seconds())
            check, _, detail = str(told["detail"]).partition(": ")
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
            # Also what is no answer of ours: that of a proxy in between.
            raise TokenNotGiven(f"{path}: {type(error).__name__}") from None
        if answer.status == HTTPStatus.CONFLICT:
            raise TokenLost if check == "revocation" else TokenUnusable(detail)
        raise TokenNotGiven(f"{path}: {answer.status}")

    def __repr__(self) -> str:
        return f"HttpTokens({self.url})"
