"""What may come into a room: checked here, turned into LiveKit's requests. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from livekit.protocol.ingress import CreateIngressRequest, IngressInput, UpdateIngressRequest

from agent.errors import VoiceAgentError
from config.rooms import ROOM_PREFIX

FILES = frozenset({".m3u8", ".mp4", ".mov", ".mp3", ".ogg", ".m4a"})
INSTEAD = {
    ".mpd": "DASH is not read: use HLS (.m3u8)",
    ".webm": "WebM is not read: use MP4 or OGG",
    ".mkv": "Matroska is not read: use MP4",
    ".wav": "WAV is not read: use OGG, MP3 or M4A",
}
SCHEMES = frozenset({"https", "http"})
TAKEN = ("sip_", "agent-", "EG_", "IN_")
"""Beginnings of identities that others have: telephones, agents, egress."""


class IngressRefused(VoiceAgentError):
    """This ingress cannot be made; the message says what is wrong."""


class Kind(StrEnum):
    """How it comes: pushed to us (RTMP, RTMPS, WHIP) or fetched by LiveKit (URL)."""

    RTMP = "rtmp"
    RTMPS = "rtmps"
    WHIP = "whip"
    URL = "url"


INPUTS = {
    Kind.RTMP: IngressInput.RTMP_INPUT,
    Kind.RTMPS: IngressInput.RTMP_INPUT,
    Kind.WHIP: IngressInput.WHIP_INPUT,
    Kind.URL: IngressInput.URL_INPUT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One ingress that somebody wants."""

    kind: Kind
    room: str
    identity: str
    name: str = ""
    participant_name: str = ""
    url: str = ""
    """Of what is fetched: HLS, MP4, MOV, MP3, OGG or M4A by its ending."""
    transcode: bool | None = None
    """WHIP: encode anew (None: LiveKit's own default, which passes it through)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an ingress is to be from now on; None: as it is."""

    name: str | None = None
    room: str | None = None
    identity: str | None = None
    participant_name: str | None = None
    enabled: bool | None = None


def create_request(wanted: Wanted, *, into_calls: bool = False) -> CreateIngressRequest:
    """The request. Raises IngressRefused. `into_calls`: rooms of telephone calls are allowed."""
    _check_room(wanted.room, into_calls=into_calls)
    _check_identity(wanted.identity)
    if wanted.kind is Kind.URL:
        _check_file(wanted.url)
    elif wanted.url:
        raise IngressRefused(f"{wanted.kind} is pushed to LiveKit: leave url out, or use kind url")
    if wanted.transcode is not None and wanted.kind is not Kind.WHIP:
        raise IngressRefused("transcode is for whip: everything else is always encoded anew")
    request = CreateIngressRequest(
        input_type=INPUTS[wanted.kind],
        url=wanted.url,
        name=wanted.name,
        room_name=wanted.room,
        participant_identity=wanted.identity,
        participant_name=wanted.participant_name or wanted.identity,
    )
    if wanted.transcode is not None:
        request.enable_transcoding = wanted.transcode
    return request


def update_request(
    ingress_id: str, change: Change, *, into_calls: bool = False
) -> UpdateIngressRequest:
    """The request. Raises IngressRefused."""
    request = UpdateIngressRequest(ingress_id=ingress_id)
    if change.room is not None:
        _check_room(change.room, into_calls=into_calls)
        request.room_name = change.room
    if change.identity is not None:
        _check_identity(change.identity)
        request.participant_identity = change.identity
    if change.name is not None:
        request.name = change.name
    if change.participant_name is not None:
        request.participant_name = change.participant_name
    if change.enabled is not None:
        request.enabled = change.enabled
    if len(request.ListFields()) == 1:
        raise IngressRefused("nothing to change")
    return request


def _check_room(room: str, *, into_calls: bool) -> None:
    if not room.strip():
        raise IngressRefused("room is needed: the name of the room that it comes into")
    if room.startswith(ROOM_PREFIX) and not into_calls:
        raise IngressRefused("the room of a telephone call: only scope admin may send into it")


def _check_identity(identity: str) -> None:
    if not identity.strip():
        raise IngressRefused("identity is needed: who it is in the room")
    if identity.startswith(TAKEN):
        raise IngressRefused(f"identity: {', '.join(TAKEN)} are the beginnings of others")


def _check_file(url: str) -> None:
    """Only by its name: LiveKit finds out what it is. The address is checked by `agent.targets`."""
    try:
        ending = PurePosixPath(urlsplit(url).path).suffix.lower()
    except ValueError:
        raise IngressRefused("url: not a URL") from None
    if ending not in FILES:
        known = ", ".join(sorted(FILES))
        raise IngressRefused(INSTEAD.get(ending, f"url: expected an address that ends in {known}"))
