"""A stand-in for all of a LiveKit server that the doctor asks: each part of it can be broken."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import Any

from aiohttp import web
from livekit import api
from livekit.protocol import agent_dispatch, egress, ingress, room, sip

from tests import canaries
from tests.sip_stand_in import KEY, SECRET, SipStandIn

CANARY = canaries.secret()

GRANTS = {
    "ListRooms": ("roomList", room.ListRoomsResponse),
    "DeleteRoom": ("roomCreate", room.DeleteRoomResponse),
    "ListParticipants": ("roomAdmin", room.ListParticipantsResponse),
    "ListDispatch": ("roomAdmin", agent_dispatch.ListAgentDispatchResponse),
    "ListEgress": ("roomRecord", egress.ListEgressResponse),
    "StartWebEgress": ("roomRecord", egress.EgressInfo),
    "ListIngress": ("ingressAdmin", ingress.ListIngressResponse),
    "CreateSIPParticipant": ("call", sip.SIPParticipantInfo),
    "ListSIPInboundTrunk": ("admin", sip.ListSIPInboundTrunkResponse),
}
"""What each call asks of a token (as its claim names it), and what it answers."""


class FrontDoor(SipStandIn):
    """Answers as a healthy server with SIP and egress does, until it is told otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses: set[str] = set()
        """Methods that the key may not call; `agent` is the door of workers."""
        self.hangs: set[str] = set()
        """Methods that are never answered."""
        self.knows_key = True
        self.ahead = 0.0
        """Seconds by which its clock is ahead."""
        self.has_egress = True
        self.has_sip = True
        self.calls: list[sip.CreateSIPParticipantRequest] = []
        self.deleted: list[str] = []

    def routes(self, app: web.Application) -> None:
        """See SipStandIn."""
        app.router.add_get("/", self._on_front)
        app.router.add_get("/agent", self._on_worker)
        app.router.add_post("/twirp/livekit.{service}/{method}", self._on_any)
        app.on_response_prepare.append(self._tell_time)

    async def _tell_time(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = formatdate(time.time() + self.ahead, usegmt=True)

    async def _on_front(self, _request: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def _on_worker(self, request: web.Request) -> web.StreamResponse:
        if "agent" in self.refuses or not self._claims(request).get("agent"):
            return web.Response(status=401)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            pass
        return socket

    async def _on_any(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        if method in self.hangs:
            await asyncio.sleep(60)
        if not self.knows_key or method in self.refuses:
            return web.Response(status=401)  # as the server does: without a body
        if method in GRANTS:
            grant, answer = GRANTS[method]
            assert self._claims(request).get(grant), f"{method} without {grant}"
            if refused := await self._refusal(method, request):
                code, message, status = refused
                return web.json_response({"code": code, "msg": message}, status=status)
            if method != "ListSIPInboundTrunk":
                body = answer().SerializeToString()
                return web.Response(body=body, content_type="application/protobuf")
        return await self._on_call(request)

    async def _refusal(self, method: str, request: web.Request) -> tuple[str, str, int] | None:
        body = await request.read()
        if method == "DeleteRoom":
            self.deleted.append(room.DeleteRoomRequest.FromString(body).room)
            return "not_found", "twirp error unknown: requested room does not exist", 404
        if method == "ListDispatch":
            return "unavailable", "twirp error unknown: no response from servers", 503
        if not self.has_redis and ("SIP" in method or "gress" in method):
            what = "sip" if "SIP" in method else "egress"
            return "internal", f"twirp error unknown: {what} not connected (redis required)", 500
        if method == "StartWebEgress":
            if not self.has_egress:
                await asyncio.sleep(60)
            return "invalid_argument", "request missing required field: url", 400
        if method == "CreateSIPParticipant":
            return self._call(sip.CreateSIPParticipantRequest.FromString(body))
        return None

    def _call(self, request: sip.CreateSIPParticipantRequest) -> tuple[str, str, int] | None:
        self.calls.append(request)
        if request.sip_trunk_id:
            return "not_found", "requested sip trunk does not exist", 404
        if not self.has_sip:
            return "unavailable", "twirp error unknown: no response from servers", 503
        return None

    def _claims(self, request: web.Request) -> dict[str, Any]:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        claims = api.TokenVerifier(KEY, SECRET).verify(token)
        granted = {
            "roomList": claims.video.room_list,
            "roomCreate": claims.video.room_create,
            "roomAdmin": claims.video.room_admin,
            "roomRecord": claims.video.room_record,
            "ingressAdmin": claims.video.ingress_admin,
            "agent": claims.video.agent,
        }
        return {**granted, "call": claims.sip.call, "admin": claims.sip.admin}


def a_rule(agent):
    rule = sip.SIPDispatchRuleInfo(name="voice-ai-dispatch", sip_dispatch_rule_id="SDR_1")
    rule.room_config.agents.add(agent_name=agent)
    return rule


def changed(before, after):
    """What is now told with another level, by the words it begins with."""
    return {
        tried: one["level"]
        for tried, one in after.items()
        if before.get(tried, {}).get("level", "ok") != one["level"]
    }
