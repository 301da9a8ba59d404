"""One token: made, signed, read and checked. HS256 as LiveKit wants it (RFC 7519, RFC 7515).

Beside LiveKit's claims ours carry `voice`: the kind, the generation (the same for all that were
refreshed from one), when the first of it was made, and until when one of it may be valid.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import jwt

from config.livekit_auth import ApiKey, KeyRing
from ops.tokens.grants import Kind, claimed

LONGEST = 24 * 3600
"""Seconds that a generation lives, at most, from its first token."""

AHEAD = 60
"""Seconds by which the clock of whoever made a token may be ahead of ours."""

GENERATION = "voice.generation"
"""The attribute by which a participant's generation is known in its room."""

ALGORITHM = "HS256"
CLAIM = "voice"
KINDS: tuple[Kind, ...] = ("participant", "admin", "viewer", "agent", "sip")

Check = Literal[
    "format", "signature", "origin", "expiry", "refreshed", "revocation", "grants", "room"
]
"""What can be wrong with a token. `origin`: it is signed by our key, and we did not make it.
`refreshed`: another one took its place. `revocation`: it was taken back, and all like it."""


class Refused(Exception):
    """The token is not good: which check failed, and why."""

    def __init__(self, check: Check, why: str) -> None:
        super().__init__(why)
        self.check: Check = check
        self.why = why


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What a token says. Times are seconds since 1970."""

    kind: Kind
    identity: str
    room: str = ""
    name: str = ""
    metadata: str = field(default="", repr=False)
    attributes: Mapping[str, str] = field(default_factory=dict, repr=False)
    issued: int
    expires: int
    first: int
    """When the first token of the generation was made."""
    until: int
    """When the last token of the generation expires, as far as this one knows."""
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    generation: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    @property
    def life(self) -> int:
        """Seconds from its making to its end."""
        return self.expires - self.issued

    @property
    def latest(self) -> int:
        """When its generation ends, whatever is refreshed."""
        return self.first + LONGEST


def new(
    kind: Kind,
    identity: str,
    life: int,
    *,
    room: str = "",
    name: str = "",
    metadata: str = "",
    attributes: Mapping[str, str] | None = None,
) -> Token:
    """A token that begins a generation and lives `life` seconds."""
    moment = int(time.time())
    expires = moment + min(life, LONGEST)
    return Token(
        kind=kind,
        identity=identity,
        room=room,
        name=name,
        metadata=metadata,
        attributes=attributes or {},
        issued=moment,
        expires=expires,
        first=moment,
        until=expires,
    )


def refreshed(old: Token, life: int | None) -> Token:
    """The next token of the generation, for as long as `old` was or for `life` seconds."""
    moment = int(time.time())
    expires = min(moment + (life or old.life), old.latest)
    return replace(
        old,
        id=secrets.token_urlsafe(16),
        issued=moment,
        expires=expires,
        until=max(old.until, expires),
    )


def sign(token: Token, key: ApiKey) -> str:
    """The token as a JWT."""
    # Not AccessToken.to_jwt: it knows no jti, no iat, and reads the clock by itself.
    claims = {
        **claimed(token.kind, token.room),
        **{
            name: value
            for name, value in (("name", token.name), ("metadata", token.metadata))
            if value
        },
        "attributes": {**token.attributes, GENERATION: token.generation},
        "iss": key.key,
        "sub": token.identity,
        "iat": token.issued,
        "nbf": token.issued,
        "exp": token.expires,
        "jti": token.id,
        CLAIM: {
            "kind": token.kind,
            "generation": token.generation,
            "first": token.first,
            "until": token.until,
        },
    }
    return jwt.encode(claims, key.secret.get_secret_value(), algorithm=ALGORITHM)


def read(text: str, ring: KeyRing) -> Token:
    """What one of our tokens says, be it expired or not. Raises Refused."""
    claims = _verified(text, ring)
    own = claims.get(CLAIM)
    try:
        own = cast("dict[str, Any]", own)
        attributes = dict(claims["attributes"])
        generation = str(attributes.pop(GENERATION))
        token = Token(
            kind=own["kind"],
            identity=str(claims["sub"]),
            room=str(claims.get("video", {}).get("room", "")),
            name=str(claims.get("name", "")),
            metadata=str(claims.get("metadata", "")),
            attributes=attributes,
            issued=int(claims["iat"]),
            expires=int(claims["exp"]),
            first=int(own["first"]),
            until=int(own["until"]),
            id=str(claims["jti"]),
            generation=generation,
        )
        known = token.kind in KINDS and own["generation"] == generation
    except (KeyError, TypeError, ValueError, AttributeError):
        known = False
    if not known:
        raise Refused("origin", "signed by our key, but not made here")
    if claims.get("nbf", 0) > time.time() + AHEAD:
        raise Refused("expiry", "not valid yet")
    _check_grants(claims, token)
    return token


def check_life(token: Token) -> None:
    """Raises Refused for a token that has expired."""
    if token.expires <= time.time():
        raise Refused("expiry", "expired")


def _verified(text: str, ring: KeyRing) -> dict[str, Any]:
    try:
        # Without its signature: one that is no base64 is a wrong one, and the rest is a JWT.
        unsigned = f"{text.rpartition('.')[0]}."
        key_id = jwt.decode(unsigned, options={"verify_signature": False}).get("iss")
    except (jwt.InvalidTokenError, ValueError):
        raise Refused("format", "not a JWT") from None
    secret = ring.secret_of(key_id) if isinstance(key_id, str) else None
    if secret is None:
        raise Refused("signature", "signed by a key that is not in the ring")
    try:
        return jwt.decode(
            text,
            secret.get_secret_value(),
            algorithms=[ALGORITHM],
            # Times are ours to judge: each failed check has its name.
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )
    except (jwt.InvalidTokenError, ValueError):
        raise Refused("signature", "the signature is not right") from None


def _check_grants(claims: Mapping[str, Any], token: Token) -> None:
    """An older or newer release may have given this kind other grants: then it is not ours."""
    expected = claimed(token.kind, token.room)
    for name in ("video", "sip"):
        if claims.get(name) != expected.get(name):
            raise Refused("grants", f"its grants are not those of kind {token.kind}")
