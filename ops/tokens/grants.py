"""What each kind of token may do. The table of `ops/docs/tokens.md` says the same; a test compares.

What is not held is denied in words where the server would take its absence for a yes
(`canPublish`, `canSubscribe`, `canPublishData`), and left out elsewhere.
"""

from __future__ import annotations

from typing import Any, Literal

from livekit import api

RoomKind = Literal["participant", "admin", "viewer"]
PlainKind = Literal["agent", "sip"]
Kind = RoomKind | PlainKind


def granted(kind: Kind, room: str) -> tuple[api.VideoGrants | None, api.SIPGrants | None]:
    """The grants of a token of `kind`; `room` is that of a participant, admin or viewer."""
    match kind:
        case "participant":
            return _joins(room, publishes=True), None
        case "viewer":
            return _joins(room, publishes=False), None
        case "admin":
            return _silent(room_admin=True, room=room), None
        case "agent":
            return _silent(agent=True), None
        case "sip":
            return None, api.SIPGrants(admin=False, call=True)


def _joins(room: str, *, publishes: bool) -> api.VideoGrants:
    return api.VideoGrants(
        room_join=True,
        room=room,
        can_publish=publishes,
        can_subscribe=True,
        can_publish_data=publishes,
    )


def _silent(**grants: Any) -> api.VideoGrants:
    return api.VideoGrants(can_publish=False, can_subscribe=False, can_publish_data=False, **grants)
