"""The LiveKit server, and each of its services by a list call that changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus

import aiohttp
from livekit import api

from agent.errors import LiveKitError
from agent.livekit import LiveKit
from ops.front.plane import Plane
from ops.health.check import Check, Status, Unwell

NOBODY = "voice-ai-health"
"""A room and an ingress that there are not."""

Ask = Callable[[LiveKit], Awaitable[object]]

SERVICES: dict[str, Ask] = {
    "room": lambda livekit: livekit.room.list_rooms(api.ListRoomsRequest(names=[NOBODY])),
    "egress": lambda livekit: livekit.egress.list_egress(api.ListEgressRequest(room_name=NOBODY)),
    "ingress": lambda livekit: livekit.ingress.list_ingress(
        api.ListIngressRequest(room_name=NOBODY)
    ),
    "sip": lambda livekit: livekit.sip.list_inbound_trunk(
        api.ListSIPInboundTrunkRequest(trunk_ids=["ST_health"])
    ),
}
"""One request a service: what there is of something that there is none of."""


def checks(plane: Plane) -> list[Check]:
    """The server itself, its services, and the keys that we speak to it with."""
    section = plane.settings.health

    def check(name: str, ask: Callable[[], Awaitable[str]]) -> Check:
        return Check(name, ask, section.every, section.within)

    return [
        check("livekit", partial(_server, plane)),
        *(check(name, partial(_service, plane, ask)) for name, ask in SERVICES.items()),
        check("keys", partial(_keys, plane)),
    ]


async def _server(plane: Plane) -> str:
    url = _url(plane)
    if url.startswith("ws"):
        url = url.replace("ws", "http", 1)
    try:
        async with aiohttp.ClientSession() as client, client.get(url) as answer:
            status = answer.status
    except (aiohttp.ClientError, OSError) as error:
        raise Unwell(f"no answer: {type(error).__name__}") from error
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Unwell(f"answers {status}")
    return f"answers {status}"


async def _service(plane: Plane, ask: Ask) -> str:
    _url(plane)
    try:
        await ask(plane.livekit)
    except LiveKitError as error:
        if "redis required" in error.said:
            why = "the LiveKit server has no Redis, which this service needs"
            raise Unwell(why, Status.NOT_CONFIGURED) from error
        raise Unwell(str(error)) from error
    return "lists"


async def _keys(plane: Plane) -> str:
    ring = plane.ring.current
    if ring.signing is None:
        raise Unwell("the key ring is empty: set LIVEKIT_API_KEY and LIVEKIT_API_SECRET")
    return f"one key signs, {len(ring.verifying)} verify"


def _url(plane: Plane) -> str:
    url = plane.settings.livekit.url
    if not url:
        raise Unwell("livekit.url is empty", Status.NOT_CONFIGURED)
    return url
