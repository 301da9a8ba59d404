"""A stand-in for the egress and ingress services of a LiveKit server (Twirp over protobuf)."""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web
from livekit import api
from livekit.protocol import egress, ingress, models, room

from tests.sip_stand_in import KEY, SECRET, SipStandIn, _Refused

GRANTS = {"Egress": "room_record", "Ingress": "ingress_admin", "RoomService": "room_admin"}
SOURCES = {
    "StartRoomCompositeEgress": (egress.RoomCompositeEgressRequest, "room_composite"),
    "StartParticipantEgress": (egress.ParticipantEgressRequest, "participant"),
    "StartTrackCompositeEgress": (egress.TrackCompositeEgressRequest, "track_composite"),
    "StartTrackEgress": (egress.TrackEgressRequest, "track"),
    "StartWebEgress": (egress.WebEgressRequest, "web"),
}


class MediaStandIn(SipStandIn):
    """Keeps egress and ingress in memory. `tells` is done with each egress that changed."""

    def __init__(self) -> None:
        super().__init__()
        self.egress: dict[str, egress.EgressInfo] = {}
        self.ingress: dict[str, ingress.IngressInfo] = {}
        self.tracks: dict[str, str] = {}
        """Codec (as a MIME type) by SID."""
        self.asked: list[tuple[str, Any]] = []
        """Method and request, of what changes something."""
        self.refuses: dict[str, tuple[str, int]] = {}
        """Twirp code and HTTP status by method."""
        self.rtmp_base = "rtmp://live.example.com/x"

    def routes(self, app: web.Application) -> None:
        """See SipStandIn."""
        app.router.add_post("/twirp/livekit.{service}/{method}", self._on_media)

    def finish(self, egress_id: str, status: int = egress.EGRESS_COMPLETE, **values: Any) -> Any:
        """Let an egress come to its end."""
        info = self.egress[egress_id]
        info.status, info.ended_at = status, time.time_ns()
        info.MergeFrom(egress.EgressInfo(**values))
        return info

    async def _on_media(self, request: web.Request) -> web.Response:
        service, method = request.match_info["service"], request.match_info["method"]
        try:
            self._authorise(request, GRANTS[service])
            answer = self._answer(method, await request.read())
        except _Refused as refused:
            body = {"code": refused.code, "msg": refused.message}
            return web.json_response(body, status=refused.status)
        return web.Response(body=answer.SerializeToString(), content_type="application/protobuf")

    def _authorise(self, request: web.Request, grant: str) -> None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        claims = api.TokenVerifier(KEY, SECRET).verify(token)
        assert getattr(claims.video, grant), f"without {grant}"

    def _answer(self, method: str, body: bytes) -> Any:
        if method in self.refuses:
            raise _Refused(self.refuses[method][0], "refused", self.refuses[method][1])
        if method in SOURCES:
            return self._start(method, body)
        return getattr(self, f"_{method}")(body)

    def _start(self, method: str, body: bytes) -> egress.EgressInfo:
        kind, field = SOURCES[method]
        request = kind.FromString(body)
        self.asked.append((method, request))
        info = egress.EgressInfo(
            egress_id=f"EG_{len(self.egress) + 1}",
            room_name=getattr(request, "room_name", ""),
            status=egress.EGRESS_STARTING,
            started_at=time.time_ns(),
            **{field: request},
        )
        self.egress[info.egress_id] = info
        return info

    def _ListEgress(self, body: bytes) -> Any:  # noqa: N802 - Twirp's name, as all below
        asked = egress.ListEgressRequest.FromString(body)
        found = [
            info
            for info in self.egress.values()
            if asked.egress_id in ("", info.egress_id)
            and asked.room_name in ("", info.room_name)
            and (not asked.active or info.status <= egress.EGRESS_ENDING)
        ]
        return egress.ListEgressResponse(items=found)

    def _StopEgress(self, body: bytes) -> Any:  # noqa: N802
        request = egress.StopEgressRequest.FromString(body)
        self.asked.append(("StopEgress", request))
        info = self.egress[request.egress_id]
        info.status = egress.EGRESS_ENDING
        return info

    def _ListParticipants(self, _body: bytes) -> Any:  # noqa: N802
        tracks = [models.TrackInfo(sid=sid, mime_type=mime) for sid, mime in self.tracks.items()]
        return room.ListParticipantsResponse(participants=[models.ParticipantInfo(tracks=tracks)])

    def _CreateIngress(self, body: bytes) -> Any:  # noqa: N802
        request = ingress.CreateIngressRequest.FromString(body)
        self.asked.append(("CreateIngress", request))
        is_url = request.input_type == ingress.IngressInput.URL_INPUT
        info = ingress.IngressInfo(
            ingress_id=f"IN_{len(self.ingress) + 1}",
            name=request.name,
            stream_key="" if is_url else "the-stream-key",
            url=request.url if is_url else self.rtmp_base,
            input_type=request.input_type,
            room_name=request.room_name,
            participant_identity=request.participant_identity,
            participant_name=request.participant_name,
            reusable=not is_url,
        )
        self.ingress[info.ingress_id] = info
        return info

    def _UpdateIngress(self, body: bytes) -> Any:  # noqa: N802
        request = ingress.UpdateIngressRequest.FromString(body)
        self.asked.append(("UpdateIngress", request))
        info = self.ingress[request.ingress_id]
        for field, value in request.ListFields():
            setattr(info, field.name, value)
        return info

    def _ListIngress(self, body: bytes) -> Any:  # noqa: N802
        asked = ingress.ListIngressRequest.FromString(body)
        found = [
            info
            for info in self.ingress.values()
            if asked.ingress_id in ("", info.ingress_id) and asked.room_name in ("", info.room_name)
        ]
        return ingress.ListIngressResponse(items=found)

    def _DeleteIngress(self, body: bytes) -> Any:  # noqa: N802
        request = ingress.DeleteIngressRequest.FromString(body)
        self.asked.append(("DeleteIngress", request))
        if request.ingress_id not in self.ingress:
            raise _Refused("not_found", "ingress does not exist", 404)
        return self.ingress.pop(request.ingress_id)
