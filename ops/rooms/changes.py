"""What an event tells of rooms and participants (pure): each event by itself, in any order."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from livekit.protocol.models import DisconnectReason, ParticipantInfo, Room

from agent.store.room_rows import ABORTED, SIP, Change, Opening, ParticipantRow, RoomRow
from ops.front.events import Told
from ops.webhooks.reading import moment

JOINED, LEFT = "participant_joined", "participant_left"
NOT_CONNECTED = "participant_connection_aborted"
STARTED, FINISHED = "room_started", "room_finished"


def change(told: Told, prefix: str) -> Change:
    """What the event changes; a call is opened only in a room whose name begins with `prefix`."""
    room = _room(told)
    person = _participant(told) if room else None
    opens = None
    if room and person and person.kind == SIP and told.room.startswith(prefix):
        opens = _opening(told.body.participant, person, told.at)
    return Change(event_id=told.id, room=room, participant=person, opens=opens)


def _room(told: Told) -> RoomRow | None:
    room = told.body.room
    if not room.sid:
        return None
    started = _moment(room) or (told.at if told.event == STARTED else None)
    ended = told.at if told.event == FINISHED else None
    return RoomRow(sid=room.sid, name=told.room, started_at=started, ended_at=ended)


def _participant(told: Told) -> ParticipantRow | None:
    """Only these events tell all of a participant; those about tracks name it, and no more."""
    person = told.body.participant
    if told.event not in {JOINED, LEFT, NOT_CONNECTED} or not person.sid:
        return None
    is_here = told.event == JOINED
    reason = ""
    if told.event == NOT_CONNECTED:
        reason = ABORTED
    elif told.event == LEFT:
        reason = name_of(DisconnectReason, person.disconnect_reason)
    joined = _joined(person) or (told.at if is_here else None)
    return ParticipantRow(
        sid=person.sid,
        room_sid=told.body.room.sid,
        kind=name_of(ParticipantInfo.Kind, person.kind),
        identity=person.identity,
        joined_at=None if reason == ABORTED else joined,
        left_at=None if is_here else told.at,
        reason=reason,
    )


def _opening(person: ParticipantInfo, row: ParticipantRow, at: datetime) -> Opening | None:
    if row.reason == ABORTED:
        return None
    attributes = person.attributes
    return Opening(
        identity=row.identity,
        number=attributes.get("sip.phoneNumber", ""),
        called=attributes.get("sip.trunkPhoneNumber", ""),
        at=row.joined_at or at,
    )


def name_of(kinds: EnumTypeWrapper, value: int) -> str:
    """The name of an enumerated value, in small letters; one of a newer server is its number."""
    try:
        return str(kinds.Name(value)).lower()
    except ValueError:
        return str(value)


def _moment(room: Room) -> datetime | None:
    return moment(room.creation_time_ms / 1000) or moment(room.creation_time)


def _joined(person: ParticipantInfo) -> datetime | None:
    return moment(person.joined_at_ms / 1000) or moment(person.joined_at)
