"""The LiveKit API: the one way to it, for the worker, its jobs, the sidecars and the commands.

    async with LiveKit.of(settings.livekit) as livekit:
        await livekit.room.list_rooms(api.ListRoomsRequest())

The services are livekit-api's own, with their types; what is under them is ours: connections that
are kept, time-outs, repeated requests, a breaker, metrics, and errors by kind (`agent.errors`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self, TypeVar
from uuid import uuid4

import aiohttp
import stamina
from google.protobuf.message import DecodeError, Message
from livekit import api
from livekit.agents import JobContext
from livekit.api.agent_dispatch_service import AgentDispatchService
from livekit.api.egress_service import EgressService
from livekit.api.ingress_service import IngressService
from livekit.api.room_service import RoomService
from livekit.api.sip_service import SipService
from livekit.api.twirp_client import REQUEST_ID_HEADER
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from agent import breaker, framework, log, metrics, twirp
from agent.errors import AuthError, LiveKitError, NotFound, SipFailed, Unavailable, Unsupported
from config.errors import SettingsError
from config.retries import SERVICES, Policy, RetryPolicies, load_retries, method_name
from config.sections import Livekit

logger = log.get(__name__)

Answer = TypeVar("Answer", bound=Message)

Credentials = Callable[[], tuple[str, str]]
"""The API key that signs now, and its secret."""

MOST_CONNECTIONS = 50
"""Connections at once of one LiveKit; more requests wait."""

VITAL = frozenset({("room", "delete_room")})
"""What is asked however often it failed: a caller may be sitting in that room."""

SERVER_FAILURE = 500


class LiveKit:
    """One LiveKit server's API, for one event loop. Connections are made when they are needed."""

    def __init__(self, url: str, credentials: Credentials, policies: RetryPolicies) -> None:
        """`credentials` is asked before each request, so that a key can be replaced.

        Where it raises SettingsError, or tells none, requests raise AuthError.
        """
        self.url = url
        self.policies = policies
        self._client = _Client(url, policies)

        def signing() -> tuple[str, str]:
            try:
                key, secret = credentials()
            except SettingsError as error:
                raise AuthError(str(error)) from None
            if not key or not secret:
                raise AuthError("there is no LiveKit API key to sign with")
            return key, secret

        self.room = framework.api_service(RoomService, url, self._client, signing)
        self.egress = framework.api_service(EgressService, url, self._client, signing)
        self.ingress = framework.api_service(IngressService, url, self._client, signing)
        self.sip = framework.api_service(SipService, url, self._client, signing)
        self.agent_dispatch = framework.api_service(
            AgentDispatchService, url, self._client, signing
        )

    @classmethod
    def of(
        cls,
        section: Livekit,
        policies: RetryPolicies | None = None,
        credentials: Credentials | None = None,
    ) -> LiveKit:
        """The server of the settings; without `credentials`, with the one key of the settings.

        Without `policies` those of the settings' file are read. Raises SettingsError.
        """
        key, secret = section.api_key.get_secret_value(), section.api_secret.get_secret_value()
        policies = policies or load_retries(section.retry_policies)
        return cls(section.url, credentials or (lambda: (key, secret)), policies)

    async def delete_room(self, room: str) -> bool:
        """Delete `room`, so that every leg in it ends: whether there is none now.

        A failure is logged: nobody waits for it. Without a server there are no rooms.
        """
        if not self.url:
            return True
        try:
            await self.room.delete_room(api.DeleteRoomRequest(room=room))
        except NotFound:
            return True
        except LiveKitError as error:
            logger.warning("a room could not be deleted", room=room, error=str(error))
            return False
        return True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; what is asked from now on is Unavailable."""
        await self._client.aclose()


def of_job(ctx: JobContext) -> LiveKit:
    """The API as a call's process has it: `agent.preload` makes it, `agent.job` closes it."""
    livekit: LiveKit = ctx.proc.userdata["livekit"]
    return livekit


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


class _Client:
    """Takes the place of livekit-api's TwirpClient under its services."""

    def __init__(self, url: str, policies: RetryPolicies) -> None:
        self._url = _http_url(url)
        self._policies = policies
        self._breakers = {
            ours: breaker.Breaker(policies.breaker.failures, policies.breaker.open, _is_outage)
            for ours, _ in SERVICES.values()
        }
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

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
        self._is_closed = True
        if self._session:
            await self._session.close()

    async def _repeated(self, request: _Request, policy: Policy) -> bytes:
        guard = self._breakers[request.service]

        def again(error: Exception) -> bool | float:
            if not isinstance(error, LiveKitError) or not _may_repeat(error, policy):
                return False
            if guard.state is breaker.State.OPEN and not request.is_vital:
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
            with attempt:
                return await self._asked(request, guard)
        raise AssertionError  # the last attempt raises what it met

    async def _asked(self, request: _Request, guard: breaker.Breaker) -> bytes:
        """One request through the breaker, measured."""
        labels = request.service, request.method
        begun = 0.0
        status = "breaker_open"
        try:
            with guard.passing(always=request.is_vital):
                begun = time.perf_counter()
                status = "cancelled"
                told = await self._sent(request)
                status = "200"
        except LiveKitError as error:
            status = _status(error)
            raise
        except breaker.Refused:
            raise Unavailable(
                f"not asked, as {request.service} keeps failing",
                service=request.service,
                method=request.method,
                code=twirp.UNAVAILABLE,
                not_done=True,
            ) from None
        finally:
            metrics.API_REQUESTS.labels(*labels, status).inc()
            if begun:
                metrics.API_SECONDS.labels(*labels).observe(time.perf_counter() - begun)
        return told

    async def _sent(self, request: _Request) -> bytes:
        if self._is_closed or not self._url:
            raise Unavailable(
                "closed" if self._is_closed else "no livekit.url is set",
                service=request.service,
                method=request.method,
                code=twirp.UNAVAILABLE,
                not_done=True,
            )
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=MOST_CONNECTIONS)
            self._session = aiohttp.ClientSession(connector=connector)
        return await twirp.ask(
            self._session,
            self._url + request.path,
            request.body,
            request.headers,
            request.seconds,
            service=request.service,
            method=request.method,
        )


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
