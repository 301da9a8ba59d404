"""Whether the LiveKit server knows the key, and whether it may do all that the product needs.

Each grant is tried by one call that changes nothing: what a key may not do is refused (401, 403)
before the server looks for the room or the trunk, of which there are none by these names.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
from livekit import api

from agent.errors import LiveKitError, Unavailable
from agent.livekit import LiveKit
from config.livekit_auth import load_ring
from config.retries import Breaker, Policy, RetryPolicies
from config.sections import Livekit
from config.settings import Settings
from ops.doctor.attempt import Check, attempt_all
from ops.doctor.finding import Finding, Level
from ops.doctor.network import SECURE

ONCE = RetryPolicies(default=Policy(attempts=1), breaker=Breaker(failures=0))
REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
NOBODY = "voice-ai-doctor"
"""Begins the names of rooms that there are not."""
NO_TRUNK = "ST_doctor"
WORKER_DOOR = "grant agent (the door of workers)"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from one call; `code` is empty when it succeeded."""

    code: str = ""
    said: str = ""
    status: int = HTTPStatus.OK

    @property
    def is_refused(self) -> bool:
        """Whether the key was not let in."""
        return self.status in REFUSED

    @property
    def lacks_redis(self) -> bool:
        """Whether the server says that it has no Redis to reach the service by."""
        return "redis required" in self.said


def client_of(loaded: Settings) -> LiveKit:
    """The server's API. Everything is asked once: the doctor tells what the server is like now."""
    return LiveKit.of(loaded.livekit, load_ring(loaded).credentials, ONCE)


async def asked(call: Awaitable[object]) -> Answer:
    """What one call came to. Raises Unavailable when there was no answer."""
    try:
        await call
    except LiveKitError as error:
        if not error.status:
            raise
        said = error.said.partition("twirp error unknown: ")
        return Answer(error.code or "unknown", said[2] or said[0], error.status)
    return Answer()


def about_key(section: Livekit) -> str:
    """What is told of `key`."""
    return f"key at {urlsplit(section.url).hostname} (list rooms)"


async def key(loaded: Settings) -> list[Finding]:
    """The server answers as LiveKit and knows the key."""
    tried = about_key(loaded.livekit)
    try:
        async with client_of(loaded) as client:
            answer = await asked(client.room.list_rooms(api.ListRoomsRequest(names=[nobody()])))
    except Unavailable as error:
        todo = "check LIVEKIT_URL, the firewall, and whether the server runs"
        return [Finding(Level.BROKEN, tried, f"no answer: {error.said or error}", todo)]
    if answer.is_refused:
        todo = (
            "set LIVEKIT_API_KEY and its own LIVEKIT_API_SECRET as the server has them;"
            " a clock that is wrong by a minute has the same effect"
        )
        return [Finding(Level.BROKEN, tried, f"refused ({answer.status})", todo)]
    if answer.code:
        todo = "check LIVEKIT_URL: does it name a LiveKit server?"
        came_back = f"{answer.code} ({answer.status}), not a list of rooms"
        return [Finding(Level.BROKEN, tried, came_back, todo)]
    return [Finding(Level.WELL, tried, "accepted")]


async def grants(loaded: Settings) -> list[Finding]:
    """Every grant that the product needs, each by one call; the agent's by knocking at its door."""
    async with client_of(loaded) as client:
        calls = _calls(client)
        checks = [
            Check("grants", f"grant {grant}", _granted(grant, call, level), lost=level)
            for grant, (level, call) in calls.items()
        ]
        door = Check("grants", WORKER_DOOR, lambda: worker_door(loaded), lost=Level.BROKEN)
        return await attempt_all([door, *checks])


async def worker_door(loaded: Settings) -> list[Finding]:
    """Open the websocket of workers, and leave without registering."""
    tried = WORKER_DOOR
    token = (
        api.AccessToken(*load_ring(loaded).credentials())
        .with_grants(api.VideoGrants(agent=True))
        .with_ttl(timedelta(minutes=1))
        .to_jwt()
    )
    parts = urlsplit(loaded.livekit.url)
    scheme = "wss" if parts.scheme in SECURE else "ws"
    url = parts._replace(scheme=scheme, path=f"{parts.path.rstrip('/')}/agent").geturl()
    headers = {"Authorization": f"Bearer {token}"}
    try:
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(url, headers=headers, timeout=aiohttp.ClientWSTimeout(ws_close=1)),
        ):
            pass
    except aiohttp.WSServerHandshakeError as error:
        todo = "let workers through: proxies must pass /agent and websockets on"
        return [Finding(Level.BROKEN, tried, f"refused ({error.status})", todo)]
    except (aiohttp.ClientError, OSError) as error:
        todo = "check LIVEKIT_URL, the firewall, and whether the server runs"
        return [Finding(Level.BROKEN, tried, f"no answer: {type(error).__name__}", todo)]
    return [Finding(Level.WELL, tried, "open")]


def nobody() -> str:
    """The name of a room that there is not."""
    return f"{NOBODY}-{uuid4().hex[:8]}"


def _calls(client: LiveKit) -> dict[str, tuple[Level, Awaitable[object]]]:
    """One call for each grant, and how bad it is to lack it."""
    room = nobody()
    dial = api.CreateSIPParticipantRequest(
        sip_trunk_id=NO_TRUNK, sip_call_to="0", room_name=room, participant_identity="doctor"
    )
    return {
        "room create (delete no room)": (
            Level.BROKEN,
            client.room.delete_room(api.DeleteRoomRequest(room=room)),
        ),
        "room admin (participants of no room)": (
            Level.BROKEN,
            client.room.list_participants(api.ListParticipantsRequest(room=room)),
        ),
        "agent dispatch (those of no room)": (
            Level.BROKEN,
            client.agent_dispatch.list_dispatch(room),
        ),
        "sip admin (list trunks)": (
            Level.DEGRADED,
            client.sip.list_inbound_trunk(api.ListSIPInboundTrunkRequest()),
        ),
        "sip call (through no trunk)": (
            Level.DEGRADED,
            client.sip.create_sip_participant(dial),
        ),
        "egress (list)": (
            Level.DEGRADED,
            client.egress.list_egress(api.ListEgressRequest(room_name=room)),
        ),
        "ingress (list)": (
            Level.DEGRADED,
            client.ingress.list_ingress(api.ListIngressRequest(room_name=room)),
        ),
    }


def _granted(
    grant: str, call: Awaitable[object], level: Level
) -> Callable[[], Awaitable[list[Finding]]]:
    tried = f"grant {grant}"

    async def ask() -> list[Finding]:
        try:
            answer = await asked(call)
        except Unavailable as error:
            todo = "check the way to the server"
            return [Finding(level, tried, f"no answer: {error.said or error}", todo)]
        if answer.is_refused:
            todo = f"take a key that has the right: {grant.partition(' (')[0]}"
            return [Finding(level, tried, f"refused ({answer.status})", todo)]
        if answer.lacks_redis:
            # Let in, but nobody can tell what the service would have said.
            return [Finding(Level.WELL, tried, f"let in; {answer.said}")]
        return [Finding(Level.WELL, tried, "let in")]

    return ask
