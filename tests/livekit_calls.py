"""Every method of the LiveKit API: how it is called, what must arrive, and with which rights.

The keys are `service.method` of `agent.livekit.LiveKit`; a test compares them with the installed
livekit-api.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from livekit import api
from livekit.protocol import sip
from livekit.protocol.models import ListUpdate

from agent.livekit import LiveKit

ROOM, WHO = "room-1", "somebody"
BY_DEFAULT = {"canPublish": True, "canSubscribe": True, "canPublishData": True}
"""What livekit-api grants beside the rights that a request needs."""
CREATE, LIST = {"roomCreate": True}, {"roomList": True}
ADMIN = {"roomAdmin": True, "room": ROOM}
ELSEWHERE = {**ADMIN, "destinationRoom": "room-2"}
RECORD, INGRESS = {"roomRecord": True}, {"ingressAdmin": True}
SIP_ADMIN, SIP_CALL = {"admin": True, "call": False}, {"admin": False, "call": True}


@dataclass(frozen=True)
class Call:
    """One method: what it is on the wire, and the grants that its token must have."""

    path: str
    message: Message
    video: dict[str, Any]
    sip: dict[str, bool] | None = None
    arguments: tuple[Any, ...] | None = None
    """Those of the method; None: the message itself."""
    keywords: tuple[tuple[str, Any], ...] = ()

    def on(self, livekit: LiveKit, name: str) -> Awaitable[Any]:
        """Call the method of this name."""
        service, _, method = name.partition(".")
        bound: Callable[..., Awaitable[Any]] = getattr(getattr(livekit, service), method)
        arguments = (self.message,) if self.arguments is None else self.arguments
        return bound(*arguments, **dict(self.keywords))


def _room(method: str, message: Message, video: dict[str, Any] = ADMIN) -> Call:
    return Call(f"RoomService/{method}", message, video)


def _egress(method: str, message: Message) -> Call:
    return Call(f"Egress/{method}", message, RECORD)


def _ingress(method: str, message: Message) -> Call:
    return Call(f"Ingress/{method}", message, INGRESS)


def _sip(method: str, message: Message, *arguments: Any, **keywords: Any) -> Call:
    given = arguments or None
    return Call(f"SIP/{method}", message, {}, SIP_ADMIN, given, tuple(keywords.items()))


def _agent(method: str, message: Message, *arguments: Any) -> Call:
    return Call(f"AgentDispatchService/{method}", message, ADMIN, None, arguments or None)


WHOM = api.RoomParticipantIdentity(room=ROOM, identity=WHO)
TRUNK_IN = sip.SIPInboundTrunkInfo(name="in", numbers=["+15550100"])
TRUNK_OUT = sip.SIPOutboundTrunkInfo(name="out", address="sip.example.test")
RULE = sip.SIPDispatchRuleInfo(name="rule", trunk_ids=["ST_1"])

CALLS: dict[str, Call] = {
    "room.create_room": _room("CreateRoom", api.CreateRoomRequest(name=ROOM), CREATE),
    "room.list_rooms": _room("ListRooms", api.ListRoomsRequest(names=[ROOM]), LIST),
    "room.delete_room": _room("DeleteRoom", api.DeleteRoomRequest(room=ROOM), CREATE),
    "room.update_room_metadata": _room(
        "UpdateRoomMetadata", api.UpdateRoomMetadataRequest(room=ROOM, metadata="{}")
    ),
    "room.list_participants": _room("ListParticipants", api.ListParticipantsRequest(room=ROOM)),
    "room.get_participant": _room("GetParticipant", WHOM),
    "room.remove_participant": _room("RemoveParticipant", WHOM),
    "room.forward_participant": _room(
        "ForwardParticipant",
        api.ForwardParticipantRequest(room=ROOM, identity=WHO, destination_room="room-2"),
        ELSEWHERE,
    ),
    "room.move_participant": _room(
        "MoveParticipant",
        api.MoveParticipantRequest(room=ROOM, identity=WHO, destination_room="room-2"),
        ELSEWHERE,
    ),
    "room.mute_published_track": _room(
        "MutePublishedTrack",
        api.MuteRoomTrackRequest(room=ROOM, identity=WHO, track_sid="TR_1", muted=True),
    ),
    "room.update_participant": _room(
        "UpdateParticipant", api.UpdateParticipantRequest(room=ROOM, identity=WHO, name="n")
    ),
    "room.update_subscriptions": _room(
        "UpdateSubscriptions",
        api.UpdateSubscriptionsRequest(room=ROOM, identity=WHO, track_sids=["TR_1"]),
    ),
    "room.send_data": _room("SendData", api.SendDataRequest(room=ROOM, data=b"hello")),
    "egress.start_egress": _egress("StartEgress", api.StartEgressRequest(room_name=ROOM)),
    "egress.start_room_composite_egress": _egress(
        "StartRoomCompositeEgress", api.RoomCompositeEgressRequest(room_name=ROOM, audio_only=True)
    ),
    "egress.start_web_egress": _egress(
        "StartWebEgress", api.WebEgressRequest(url="https://example.test")
    ),
    "egress.start_participant_egress": _egress(
        "StartParticipantEgress", api.ParticipantEgressRequest(room_name=ROOM, identity=WHO)
    ),
    "egress.start_track_composite_egress": _egress(
        "StartTrackCompositeEgress", api.TrackCompositeEgressRequest(room_name=ROOM)
    ),
    "egress.start_track_egress": _egress(
        "StartTrackEgress", api.TrackEgressRequest(room_name=ROOM, track_id="TR_1")
    ),
    "egress.update_layout": _egress(
        "UpdateLayout", api.UpdateLayoutRequest(egress_id="EG_1", layout="grid")
    ),
    "egress.update_stream": _egress("UpdateStream", api.UpdateStreamRequest(egress_id="EG_1")),
    "egress.list_egress": _egress("ListEgress", api.ListEgressRequest(room_name=ROOM)),
    "egress.stop_egress": _egress("StopEgress", api.StopEgressRequest(egress_id="EG_1")),
    "ingress.create_ingress": _ingress("CreateIngress", api.CreateIngressRequest(name="in")),
    "ingress.update_ingress": _ingress("UpdateIngress", api.UpdateIngressRequest(name="in")),
    "ingress.list_ingress": _ingress("ListIngress", api.ListIngressRequest(room_name=ROOM)),
    "ingress.delete_ingress": _ingress(
        "DeleteIngress", api.DeleteIngressRequest(ingress_id="IN_1")
    ),
    "sip.create_inbound_trunk": _sip(
        "CreateSIPInboundTrunk", api.CreateSIPInboundTrunkRequest(trunk=TRUNK_IN)
    ),
    "sip.create_outbound_trunk": _sip(
        "CreateSIPOutboundTrunk", api.CreateSIPOutboundTrunkRequest(trunk=TRUNK_OUT)
    ),
    "sip.create_dispatch_rule": _sip(
        "CreateSIPDispatchRule", api.CreateSIPDispatchRuleRequest(dispatch_rule=RULE)
    ),
    "sip.update_inbound_trunk": _sip(
        "UpdateSIPInboundTrunk",
        sip.UpdateSIPInboundTrunkRequest(sip_trunk_id="ST_1", replace=TRUNK_IN),
        "ST_1",
        TRUNK_IN,
    ),
    "sip.update_outbound_trunk": _sip(
        "UpdateSIPOutboundTrunk",
        sip.UpdateSIPOutboundTrunkRequest(sip_trunk_id="ST_1", replace=TRUNK_OUT),
        "ST_1",
        TRUNK_OUT,
    ),
    "sip.update_dispatch_rule": _sip(
        "UpdateSIPDispatchRule",
        sip.UpdateSIPDispatchRuleRequest(sip_dispatch_rule_id="SDR_1", replace=RULE),
        "SDR_1",
        RULE,
    ),
    "sip.update_inbound_trunk_fields": _sip(
        "UpdateSIPInboundTrunk",
        sip.UpdateSIPInboundTrunkRequest(
            sip_trunk_id="ST_1",
            update=sip.SIPInboundTrunkUpdate(numbers=ListUpdate(set=["+15550100"]), name="n"),
        ),
        "ST_1",
        numbers=["+15550100"],
        name="n",
    ),
    "sip.update_outbound_trunk_fields": _sip(
        "UpdateSIPOutboundTrunk",
        sip.UpdateSIPOutboundTrunkRequest(
            sip_trunk_id="ST_1", update=sip.SIPOutboundTrunkUpdate(address="sip.example.test")
        ),
        "ST_1",
        address="sip.example.test",
    ),
    "sip.update_dispatch_rule_fields": _sip(
        "UpdateSIPDispatchRule",
        sip.UpdateSIPDispatchRuleRequest(
            sip_dispatch_rule_id="SDR_1", update=sip.SIPDispatchRuleUpdate(name="n")
        ),
        "SDR_1",
        name="n",
    ),
    "sip.list_inbound_trunk": _sip(
        "ListSIPInboundTrunk", api.ListSIPInboundTrunkRequest(numbers=["+15550100"])
    ),
    "sip.list_outbound_trunk": _sip(
        "ListSIPOutboundTrunk", api.ListSIPOutboundTrunkRequest(numbers=["+15550100"])
    ),
    "sip.list_dispatch_rule": _sip(
        "ListSIPDispatchRule", api.ListSIPDispatchRuleRequest(trunk_ids=["ST_1"])
    ),
    "sip.delete_trunk": _sip("DeleteSIPTrunk", api.DeleteSIPTrunkRequest(sip_trunk_id="ST_1")),
    "sip.delete_dispatch_rule": _sip(
        "DeleteSIPDispatchRule", api.DeleteSIPDispatchRuleRequest(sip_dispatch_rule_id="SDR_1")
    ),
    "sip.create_sip_participant": Call(
        "SIP/CreateSIPParticipant",
        api.CreateSIPParticipantRequest(sip_trunk_id="ST_1", room_name=ROOM),
        {},
        SIP_CALL,
    ),
    "sip.transfer_sip_participant": Call(
        "SIP/TransferSIPParticipant",
        api.TransferSIPParticipantRequest(
            room_name=ROOM, participant_identity=WHO, transfer_to="tel:+15550100"
        ),
        ADMIN,
        SIP_CALL,
    ),
    "agent_dispatch.create_dispatch": _agent(
        "CreateDispatch", api.CreateAgentDispatchRequest(room=ROOM, agent_name="voice-ai")
    ),
    "agent_dispatch.delete_dispatch": _agent(
        "DeleteDispatch",
        api.DeleteAgentDispatchRequest(dispatch_id="AD_1", room=ROOM),
        "AD_1",
        ROOM,
    ),
    "agent_dispatch.list_dispatch": _agent(
        "ListDispatch", api.ListAgentDispatchRequest(room=ROOM), ROOM
    ),
    "agent_dispatch.get_dispatch": _agent(
        "ListDispatch", api.ListAgentDispatchRequest(dispatch_id="AD_1", room=ROOM), "AD_1", ROOM
    ),
}

OLD_NAMES = {
    f"sip.{verb}_sip_{noun}": f"sip.{verb}_{noun}"
    for verb, nouns in {
        "create": ("inbound_trunk", "outbound_trunk", "dispatch_rule"),
        "list": ("inbound_trunk", "outbound_trunk", "dispatch_rule"),
        "delete": ("trunk", "dispatch_rule"),
        "update": (
            "inbound_trunk",
            "outbound_trunk",
            "dispatch_rule",
            "inbound_trunk_fields",
            "outbound_trunk_fields",
            "dispatch_rule_fields",
        ),
    }.items()
    for noun in nouns
}
"""Deprecated names, and the names of today that they stand for."""
