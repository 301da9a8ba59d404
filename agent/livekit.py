"""The LiveKit API: the one way to it, for the worker, its jobs, the sidecars and the commands.

    async with LiveKit.of(settings.livekit, ring.credentials) as livekit:
        await livekit.room.list_rooms(api.ListRoomsRequest())

The services are livekit-api's own, with their types; what is under them is ours: connections that
are kept, time-outs, repeated requests, a breaker, metrics, and errors by kind (`agent.errors`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from livekit import api
from livekit.api.agent_dispatch_service import AgentDispatchService
from livekit.api.egress_service import EgressService
from livekit.api.ingress_service import IngressService
from livekit.api.room_service import RoomService
from livekit.api.sip_service import SipService

from agent import framework_api, log
from agent.errors import AuthError, LiveKitError, NotFound
from agent.livekit_client import Client, Report
from config.errors import SettingsError
from config.retries import RetryPolicies, load_retries
from config.sections import Livekit

if TYPE_CHECKING:
    from livekit.agents import JobContext  # a second to load, and commands have no job

logger = log.get(__name__)

Credentials = Callable[[], tuple[str, str]]
"""The API key that signs now, and its secret."""


class LiveKit:
    """One LiveKit server's API, for one event loop. Connections are made when they are needed."""

    def __init__(self, url: str, credentials: Credentials, policies: RetryPolicies) -> None:
        """`credentials` is asked before each request, so that a key can be replaced.

        Where it raises SettingsError, or tells none, requests raise AuthError.
        """
        self.url = url
        self.policies = policies
        self._client = Client(url, policies)

        def signing() -> tuple[str, str]:
            try:
                key, secret = credentials()
            except SettingsError as error:
                raise AuthError(str(error)) from None
            if not key or not secret:
                raise AuthError("there is no LiveKit API key to sign with")
            return key, secret

        self.room = framework_api.api_service(RoomService, url, self._client, signing)
        self.egress = framework_api.api_service(EgressService, url, self._client, signing)
        self.ingress = framework_api.api_service(IngressService, url, self._client, signing)
        self.sip = framework_api.api_service(SipService, url, self._client, signing)
        self.agent_dispatch = framework_api.api_service(
            AgentDispatchService, url, self._client, signing
        )

    @classmethod
    def of(
        cls, section: Livekit, credentials: Credentials, policies: RetryPolicies | None = None
    ) -> LiveKit:
        """The server of the settings. The credentials are those of a ring (config.livekit_auth).

        Without `policies` those of the settings' file are read. Raises SettingsError.
        """
        policies = policies or load_retries(section.retry_policies)
        return cls(section.url, credentials, policies)

    def report(self, told: Report) -> None:
        """Let `told` hear of each request, in the place of the metrics of this process."""
        self._client.report = told

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
