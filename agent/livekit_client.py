"""How the LiveKit API is asked: by policy, through a breaker, measured (`agent.livekit`)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import uuid4

import aiohttp
import stamina
from google.protobuf.message import DecodeError, Message
from livekit.api.twirp_client import REQUEST_ID_HEADER
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from agent import breaker, framework_api, log, metrics, twirp
from agent.errors import LiveKitError, RateLimited, SipFailed, Unavailable, Unsupported
from config.retries import SERVICES, Policy, RetryPolicies, method_name

logger = log.get(__name__)

Answer = TypeVar("Answer", bound=Message)

MOST_CONNECTIONS = 50
"""Connections at once of one client; more requests wait."""

VITAL = frozenset({("room", "delete_room")})
"""What is asked however often it failed: a caller may be sitting in that room."""

SERVER_FAILURE = 500

Report = Callable[[str, str, str, float | None], None]
"""Hears of a request: service, method, status and seconds; None: it was not even sent."""


@dataclass(frozen=True, slots=True)
class _Request:
    """One request in LiveKit's form."""

    service: str
    method: str
    path: str
    body: bytes = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    seconds: float

    @property
    def is_vital(self) -> bool:
        return (self.service, self.method) in VITAL

    def undone(self, why: str) -> Unavailable:
        """What is raised when it is not even sent."""
        return Unavailable(
            why,
            service=self.service,
            method=self.method,
            code=twirp.UNAVAILABLE,
            not_done=True,
        )


class Client:
    """Takes the place of livekit-api's TwirpClient under its services. For one event loop."""

    def __init__(self, url: str, policies: RetryPolicies) -> None:
        self._url = _http_url(url)
        self._policies = policies
        self._breakers = {
            ours: breaker.Breaker(policies.breaker.failures, policies.breaker.open, _is_outage)
            for ours, _ in SERVICES.values()
        }
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False
        self.report: Report = metrics.requested
        """Told of each attempt."""

    async def request(
        self,
        service: str,
        method: str,
        data: Message,
        headers: dict[str, str],
        response_class: type[Answer],
        *,
        timeout: aiohttp.ClientTimeout | None = None,  # noqa: ASYNC109 - the services pass it
    ) -> Answer:
        """Ask, by the method's policy. Raises LiveKitError."""
        ours = SERVICES[service][0], method_name(method)
        policy = self._policies.of(*ours)
        request = _Request(
            *ours,
            path=f"/twirp/livekit.{service}/{method}",
            body=data.SerializeToString(),
            headers={
                **headers,
                "Content-Type": "application/protobuf",
                # The same for each attempt, so that the server may tell them from two requests.
                REQUEST_ID_HEADER: str(uuid4()),
            },
            seconds=(timeout.total if timeout else None) or policy.timeout,
        )
        if not self._url:
            raise request.undone("no livekit.url is set")
        told = await self._repeated(request, policy)
        try:
            return response_class.FromString(told)
        except DecodeError:
            raise Unsupported(
                "what answers is not LiveKit",
                code="unknown",
                service=request.service,
                method=request.method,
                status=200,
            ) from None

    async def aclose(self) -> None:
        """Close the connections."""
        self._is_closed = True
        if self._session:
            await self._session.close()

    async def _repeated(self, request: _Request, policy: Policy) -> bytes:
        guard, moves, tried = self._breakers[request.service], False, [self._url]

        def again(error: Exception) -> bool | float:
            nonlocal moves
            moves = not isinstance(error, RateLimited)
            if not isinstance(error, LiveKitError) or not _may_repeat(error, policy):
                return False
            if self._is_closed or (guard.state is breaker.State.OPEN and not request.is_vital):
                return False
            if error.retry_after is None:
                return True
            longest = error.retry_after <= policy.max_wait
            return longest and error.retry_after + random.uniform(0, policy.first_wait)

        async for attempt in stamina.retry_context(
            again,
            attempts=policy.attempts,
            timeout=None,
            wait_initial=policy.first_wait,
            wait_max=policy.max_wait,
            wait_jitter=policy.first_wait,
        ):
            if moves:
                tried.append(await self._elsewhere(request, tried))
            with attempt:
                return await self._asked(request, guard, tried[-1])
        raise AssertionError  # the last attempt raises what it met

    async def _elsewhere(self, request: _Request, tried: list[str]) -> str:
        """Where to ask next: at LiveKit Cloud in another region, else at the same place."""
        session = self._opened(request)
        other = await framework_api.another_region(session, self._url, request.headers, {*tried})
        return other or tried[-1]

    async def _asked(self, request: _Request, guard: breaker.Breaker, url: str) -> bytes:
        """One request through the breaker, measured."""
        begun = 0.0
        status = "breaker_open"
        try:
            with guard.passing(always=request.is_vital):
                begun = time.perf_counter()
                status = "cancelled"
                told = await self._sent(request, url)
                status = "200"
        except LiveKitError as error:
            status = _status(error)
            raise
        except breaker.Refused:
            raise request.undone(f"not asked, as {request.service} keeps failing") from None
        finally:
            took = time.perf_counter() - begun if begun else None
            self.report(request.service, request.method, status, took)
        return told

    async def _sent(self, request: _Request, url: str) -> bytes:
        return await twirp.ask(
            self._opened(request),
            url + request.path,
            request.body,
            request.headers,
            request.seconds,
            service=request.service,
            method=request.method,
        )

    def _opened(self, request: _Request) -> aiohttp.ClientSession:
        """Where connections are kept, made by the first request. Raises Unavailable once closed."""
        if self._is_closed:
            raise request.undone("closed")
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=MOST_CONNECTIONS)
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session


def _http_url(url: str) -> str:
    """Where the API of the server at `url` (ws://, wss://) is: https://..., without a slash."""
    return f"http{url[2:]}".rstrip("/") if url.startswith("ws") else url.rstrip("/")


def _may_repeat(error: LiveKitError, policy: Policy) -> bool:
    return error.not_done or (bool(policy.repeatable) and error.may_pass)


def _is_outage(error: Exception) -> bool:
    """Whether a service is down, and not only unwilling."""
    if not isinstance(error, LiveKitError) or isinstance(error, SipFailed | Unsupported):
        return False
    return error.status == 0 or error.status >= SERVER_FAILURE


def _status(error: LiveKitError) -> str:
    if error.status:
        return str(error.status)
    return "timeout" if error.code == twirp.TIMED_OUT else "unreachable"


def _log_retry(details: RetryDetails) -> None:
    error = details.caused_by
    if isinstance(error, LiveKitError):
        logger.info(
            "a request to LiveKit is repeated",
            error=str(error),
            attempt=details.retry_num + 1,
            wait=round(details.wait_for, 2),
        )


# Its own hooks would print to standard output, between the lines of a command's JSON.
set_on_retry_hooks([_log_retry])
