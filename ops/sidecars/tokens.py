"""POST /tokens, /tokens/refresh, /tokens/validate, /tokens/revoke: see ops/docs/tokens.md."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Body, Depends, HTTPException

from agent import log, metrics
from agent.call import now
from agent.errors import LiveKitError, StoreError
from agent.store.access import RevocationRow
from config.livekit_auth import ApiKey
from ops.front import scopes
from ops.front.clients import Client, require
from ops.front.events import Told
from ops.front.plane import Plane
from ops.tokens import token as tokens
from ops.tokens.removal import SERVERS_OWN, Removal
from ops.tokens.revocations import Revocations
from ops.tokens.token import GENERATION, LONGEST, Refused, Token
from ops.tokens.wire import (
    LONGEST_MADE,
    Issued,
    RefreshAsked,
    RevokeAsked,
    Revoked,
    RoomTokenAsked,
    TokenAsked,
    ValidateAsked,
    Validated,
)

logger = log.get(__name__)

Caller = Annotated[Client, Depends(require("tokens"))]
RESERVED = ("sip.", "voice.", "lk.")
LEEWAY = timedelta(seconds=60)
"""For so long after its end LiveKit takes a token: clocks differ."""


class Tokens:
    """Gives tokens, and takes them back."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._revocations = Revocations(plane.database, plane.redis)
        self._removal = Removal(self._revocations, plane.livekit, plane.alerts)
        plane.events.on("participant_joined", self._on_joined)
        self.router = APIRouter(prefix="/tokens", tags=["tokens"])
        for path, route, summary in (
            ("", self._issue, "Make a token"),
            ("/refresh", self._refresh, "Exchange a token for one that lives longer"),
            ("/validate", self._validate, "Ask whether a token is good"),
            ("/revoke", self._revoke, "Take a token back, and its participant out of the room"),
        ):
            self.router.add_api_route(path, route, methods=["POST"], summary=summary)

    async def start(self) -> None:
        """Keep those out whose token was revoked."""
        self._removal.start()

    async def aclose(self) -> None:
        """See Sidecar."""
        await self._removal.aclose()

    async def _on_joined(self, told: Told) -> None:
        # Sooner than the next look at the rooms, which finds whoever is missed here.
        who = told.body.participant
        await self._removal.joined(told.room, who.identity, who.attributes)

    async def _issue(self, asked: Annotated[TokenAsked, Body()], client: Caller) -> Issued:
        room = asked.room if isinstance(asked, RoomTokenAsked) else ""
        self._check_allowed(client, "issue", asked.kind, room, asked.attributes)
        key = self._signing("issue")
        if room:
            most = self._plane.settings.tokens.rooms_a_minute
            self._plane.suspicion.room(client.name, room, most)
        token = tokens.new(
            asked.kind,
            asked.identity,
            asked.ttl or self._plane.settings.tokens.life,
            room=room,
            name=asked.name,
            metadata=asked.metadata,
            attributes=asked.attributes,
        )
        return self._issued("issue", token, key)

    async def _refresh(self, asked: RefreshAsked, client: Caller) -> Issued:
        old = self._ours("refresh", asked.token, client)
        self._check_allowed(client, "refresh", old.kind, old.room, old.attributes)
        key = self._signing("refresh")
        try:
            tokens.check_life(old)
            await self._check_not_revoked(old)
            fresh = tokens.refreshed(old, asked.ttl)
            await self._bury(old)
        except Refused as refused:
            _count("refresh", "invalid")
            raise HTTPException(409, f"{refused.check}: {refused.why}") from None
        except StoreError:
            _count("refresh", "unavailable")
            raise HTTPException(503, "it cannot be known whether the token was revoked") from None
        return self._issued("refresh", fresh, key)

    async def _validate(self, asked: ValidateAsked, client: Caller) -> Validated:
        token: Token | None = None
        try:
            token = self._read(asked.token, client)
            tokens.check_life(token)
            await self._check_not_revoked(token)
            _check_wanted(token, asked)
        except Refused as refused:
            _count("validate", "invalid")
            return _told(token, refused)
        except StoreError:
            _count("validate", "unavailable")
            raise HTTPException(503, "it cannot be known whether the token was revoked") from None
        _count("validate", "done")
        return _told(token, None)

    async def _revoke(self, asked: RevokeAsked, client: Caller) -> Revoked:
        token = self._ours("revoke", asked.token, client)
        self._check_allowed(client, "revoke", token.kind, token.room, token.attributes)
        try:
            row = await self._revocation(token)
            is_new = await self._revocations.add(row)
        except StoreError:
            _count("revoke", "unavailable")
            raise HTTPException(503, "the revocation cannot be kept now") from None
        if is_new:
            await self._audit(client, token)
        else:
            await self._revocations.prolong(row, row.expires_at)
        removed = False
        if token.room and self._plane.livekit.url:
            try:
                removed = await self._removal.remove_unless_newer(row, token.identity)
            except LiveKitError as error:  # the next look tries again
                logger.warning("a revoked token's participant stays for now", error=str(error))
        _count("revoke", "done")
        return Revoked(removed=removed, until=row.expires_at)

    def _check_allowed(
        self, client: Client, operation: str, kind: str, room: str, attributes: Mapping[str, str]
    ) -> None:
        """Raises HTTPException (403) for what the client's scopes do not say."""
        why = ""
        if not scopes.allows(client.scopes, kind, room):
            why = f"the client key may not have tokens of kind {kind}"
            why += " for this room" if room else ""
        elif GENERATION in attributes:
            why = f"the attribute {GENERATION} is ours"
        elif any(name.startswith(RESERVED) for name in attributes) and not client.may(
            "tokens:attributes"
        ):
            why = "attributes that begin sip., voice. or lk. need the scope tokens:attributes"
        if why:
            _count(operation, "refused")
            self._plane.suspicion.note("refused_grant", client.name)
            raise HTTPException(403, why)

    def _signing(self, operation: str) -> ApiKey:
        key = self._plane.ring.current.signing
        if key is None:
            _count(operation, "unavailable")
            raise HTTPException(
                503, "there is no LiveKit API key to sign with: LIVEKIT_API_KEY, or ops keys add"
            )
        return key

    def _read(self, text: str, client: Client) -> Token:
        try:
            return tokens.read(text, self._plane.ring.current)
        except Refused as refused:
            if refused.check == "signature":
                self._plane.suspicion.note("bad_signature", client.name)
            raise

    def _ours(self, operation: str, text: str, client: Client) -> Token:
        """What our token says. Raises HTTPException (409) for any other."""
        try:
            return self._read(text, client)
        except Refused as refused:
            _count(operation, "invalid")
            raise HTTPException(409, f"{refused.check}: {refused.why}") from None

    async def _check_not_revoked(self, token: Token) -> None:
        """Raises Refused, and StoreUnavailable when that cannot be known."""
        found = await self._revocations.among(token.id, token.generation)
        if token.generation in found:
            raise Refused("revocation", "revoked")
        if token.id in found:
            raise Refused("refreshed", "another one took its place")

    async def _bury(self, token: Token) -> None:
        """Let the token be dead to us. Raises Refused when it was, and StoreUnavailable."""
        if not await self._revocations.add(_dead(token)):
            await self._check_not_revoked(token)
            raise Refused("refreshed", "another one took its place")

    async def _revocation(self, token: Token) -> RevocationRow:
        """Of the token's generation, for as long as any of it may be valid.

        The token is buried first: so nobody can refresh it meanwhile, and it is known whether
        others came after it. Of one that has expired that is forgotten.
        """
        latest = token.until
        is_dated = token.expires <= time.time()
        if is_dated or not await self._revocations.add(_dead(token)):
            latest = token.latest
        return RevocationRow(
            id=token.generation,
            kind="generation",
            room=token.room,
            revoked_at=now(),
            expires_at=max(datetime.fromtimestamp(latest, UTC) + LEEWAY, now() + SERVERS_OWN),
        )

    async def _audit(self, client: Client, token: Token) -> None:
        what = f"{token.kind} {token.generation}"
        try:
            await self._plane.database.run(
                lambda log: log.audit(client.name, "tokens.revoke", what, "POST /tokens/revoke")
            )
        except StoreError as error:
            logger.warning("a revocation is not in the audit trail", what=what, error=str(error))

    def _issued(self, operation: str, token: Token, key: ApiKey) -> Issued:
        signed = tokens.sign(token, key)
        if operation == "issue" and len(signed) > LONGEST_MADE:  # nobody could take it back
            _count(operation, "refused")
            raise HTTPException(422, "body: metadata and attributes are too long for a token")
        _count(operation, "done")
        metrics.TOKENS_ISSUED.labels(token.kind).inc()
        return Issued.of(token, signed, self._plane.settings.livekit.url)


def _check_wanted(token: Token, asked: ValidateAsked) -> None:
    """Raises Refused for a token that is good for something else."""
    if asked.kind not in {None, token.kind}:
        raise Refused("grants", f"its kind is {token.kind}")
    if asked.room not in {None, token.room}:
        raise Refused("room", "it is not for this room")


def _dead(token: Token) -> RevocationRow:
    return RevocationRow(
        id=token.id,
        kind="token",
        room=token.room,
        revoked_at=now(),
        expires_at=datetime.fromtimestamp(min(token.expires, token.first + LONGEST), UTC) + LEEWAY,
    )


def _told(token: Token | None, refused: Refused | None) -> Validated:
    return Validated(
        valid=refused is None,
        failed=refused.check if refused else None,
        detail=refused.why if refused else "good",
        kind=token.kind if token else None,
        identity=token.identity if token else None,
        room=token.room if token else None,
        expires_at=datetime.fromtimestamp(token.expires, UTC) if token else None,
    )


def _count(operation: str, outcome: str) -> None:
    metrics.TOKEN_REQUESTS.labels(operation, outcome).inc()
