"""What each kind of token may do. The table of `ops/docs/tokens.md` says the same; a test compares.

What is not held is denied in words where the server would take its absence for a yes
(`canPublish`, `canSubscribe`, `canPublishData`), and left out elsewhere.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from livekit import api

RoomKind = Literal["participant", "admin", "viewer"]
PlainKind = Literal["agent", "sip"]
Kind = RoomKind | PlainKind


def claimed(kind: Kind, room: str) -> dict[str, Any]:
    """The claims of grants of a token of `kind`; `room` is for a participant, admin or viewer."""
    claims = _claims(kind)
    if room:
        return {**claims, "video": {**claims["video"], "room": room}}
    return {**claims}


@cache  # livekit-api needs longer to write the grants down than the signature takes
def _claims(kind: Kind) -> dict[str, Any]:
    token = api.AccessToken("key", "secret")
    match kind:
        case "participant":
            token.with_grants(_joins(publishes=True))
        case "viewer":
            token.with_grants(_joins(publishes=False))
        case "admin":
            token.with_grants(_silent(room_admin=True))
        case "agent":
            token.with_grants(_silent(agent=True))
        case "sip":
            token.with_sip_grants(api.SIPGrants(admin=False, call=True))
    return token.claims.asdict()


def _joins(*, publishes: bool) -> api.VideoGrants:
    return api.VideoGrants(
        room_join=True,
        can_publish=publishes,
        can_subscribe=True,
        can_publish_data=publishes,
    )


def _silent(**grants: Any) -> api.VideoGrants:
    return api.VideoGrants(can_publish=False, can_subscribe=False, can_publish_data=False, **grants)
