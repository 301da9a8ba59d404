"""What the routes of tokens take and give, as the OpenAPI describes it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ops.tokens.grants import Kind, PlainKind, RoomKind
from ops.tokens.token import LONGEST, Check, Token

SHORTEST = 10
"""Seconds of a token's life, at least."""

LONGEST_JWT = 200_000
"""Characters of a token that is taken."""

LONGEST_MADE = LONGEST_JWT - 10_000
"""Characters of a new one: those that are refreshed from it may be a little longer."""

PRINTABLE = r"^[^\u0000-\u001f\u007f]+$"

Name = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=PRINTABLE)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=PRINTABLE)]
Value = Annotated[str, StringConstraints(max_length=2048)]
Jwt = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST_JWT), Field(description="The JWT.")
]
Life = Annotated[int, Field(ge=SHORTEST, le=LONGEST, description="Seconds.")]


class _Taken(BaseModel):
    """What a caller sends: nothing that is not described, `roomConfig` least of all."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class _Asked(_Taken):
    identity: Name
    name: str = Field("", max_length=256, description="The name that others see.")
    metadata: str = Field("", max_length=16_384)
    attributes: dict[Key, Value] = Field(
        default_factory=dict,
        max_length=32,
        description="Those that begin sip., voice. or lk. need the scope tokens:attributes.",
    )
    ttl: Life | None = Field(None, description="Seconds; else tokens.life. 24 hours at most.")


class RoomTokenAsked(_Asked):
    """A token for one room."""

    kind: RoomKind
    room: Name


class PlainTokenAsked(_Asked):
    """A token that opens no room: for a worker, or to place calls."""

    kind: PlainKind


TokenAsked = Annotated[RoomTokenAsked | PlainTokenAsked, Field(discriminator="kind")]


class RefreshAsked(_Taken):
    """A token of ours that has not expired."""

    token: Jwt
    ttl: Life | None = Field(None, description="Seconds; else as long as the token lived.")


class RevokeAsked(_Taken):
    """A token of ours, be it expired or refreshed."""

    token: Jwt


class ValidateAsked(_Taken):
    """A token, and what it should be good for."""

    token: Jwt
    kind: Kind | None = Field(None, description="The grants of this kind must be its own.")
    room: Name | None = Field(None, description="It must be for this room.")


class Issued(BaseModel):
    """A new token."""

    token: str
    url: str = Field(description="The LiveKit server's address; empty: not configured.")
    id: str = Field(description="Its jti.")
    kind: Kind
    identity: str
    room: str
    issued_at: datetime
    expires_at: datetime
    refreshable_until: datetime = Field(description="24 hours from the first of its generation.")

    @classmethod
    def of(cls, token: Token, signed: str, url: str) -> Issued:
        """As it is answered."""
        return cls(
            token=signed,
            url=url,
            id=token.id,
            kind=token.kind,
            identity=token.identity,
            room=token.room,
            issued_at=_at(token.issued),
            expires_at=_at(token.expires),
            refreshable_until=_at(token.latest),
        )


class Validated(BaseModel):
    """Whether a token is good; if not, the first check that failed."""

    valid: bool
    failed: Check | None = Field(
        description="origin: not made here; refreshed: another one took its place."
    )
    detail: str
    kind: Kind | None = None
    identity: str | None = None
    room: str | None = None
    expires_at: datetime | None = None


class Revoked(BaseModel):
    """A token that is dead, and all that were refreshed from the same first one."""

    revoked: Literal[True] = True
    removed: bool = Field(description="Whether a participant was removed from the room just now.")
    until: datetime = Field(description="Until then whoever joins with it is removed.")


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
