"""The SIP API of a LiveKit server: what is there, and single changes. Errors in one line."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from livekit import api
from livekit.api.sip_service import SipService
from livekit.protocol.sip import SIPTransport

from agent.errors import AuthError, LiveKitError, VoiceAgentError
from agent.livekit import LiveKit
from agent.start import check_livekit
from config.settings import Settings
from ops.sip.plan import Change
from ops.sip.thing import Kind, Thing, is_withheld
from ops.sip.wire import IDS, WORDS, marked, read, write


class SipError(VoiceAgentError):
    """The telephone side cannot be read or changed."""


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Server]:
    """The server of the settings' `livekit` section. Raises StartError and SipError."""
    ring = check_livekit(settings)
    async with LiveKit.of(settings.livekit, ring.credentials) as livekit:
        yield Server(livekit.sip, settings.livekit.url)


@dataclass(slots=True)
class Server:
    """One LiveKit server. All methods raise SipError."""

    sip: SipService
    url: str

    async def things(self, owner: str) -> list[Thing]:
        """All trunks and rules. Rules name the trunks of `owner` by name, others by id."""
        with self._explained():
            inbound = await self.sip.list_inbound_trunk(api.ListSIPInboundTrunkRequest())
            outbound = await self.sip.list_outbound_trunk(api.ListSIPOutboundTrunkRequest())
            rules = await self.sip.list_dispatch_rule(api.ListSIPDispatchRuleRequest())
        trunks = [read(Kind.INBOUND, message, {}) for message in inbound.items]
        # Of two with one name, the first is the one that a plan keeps.
        first = {trunk.name: trunk.id for trunk in reversed(trunks) if trunk.owner == owner}
        names = {identity: name for name, identity in first.items()}
        outward = [read(Kind.OUTBOUND, message, {}) for message in outbound.items]
        return [*trunks, *outward, *(read(Kind.RULE, message, names) for message in rules.items)]

    async def create(self, thing: Thing, trunk_ids: Mapping[str, str]) -> str:
        """Make the thing: its id."""
        message: Any = write(thing, trunk_ids)
        made: Any
        with self._explained(thing):
            if thing.kind is Kind.INBOUND:
                trunk_in = api.CreateSIPInboundTrunkRequest(trunk=message)
                made = await self.sip.create_inbound_trunk(trunk_in)
            elif thing.kind is Kind.OUTBOUND:
                trunk_out = api.CreateSIPOutboundTrunkRequest(trunk=message)
                made = await self.sip.create_outbound_trunk(trunk_out)
            else:
                rule = api.CreateSIPDispatchRuleRequest(dispatch_rule=message)
                made = await self.sip.create_dispatch_rule(rule)
        return str(getattr(made, IDS[thing.kind]))

    async def replace(self, identity: str, thing: Thing, trunk_ids: Mapping[str, str]) -> None:
        """Give the thing of this id all of these fields."""
        message: Any = write(thing, trunk_ids)
        setattr(message, IDS[thing.kind], identity)
        with self._explained(thing):
            if thing.kind is Kind.INBOUND:
                await self.sip.update_inbound_trunk(identity, message)
            elif thing.kind is Kind.OUTBOUND:
                await self.sip.update_outbound_trunk(identity, message)
            else:
                await self.sip.update_dispatch_rule(identity, message)

    async def update(self, change: Change, trunk_ids: Mapping[str, str]) -> None:
        """Change single fields of a thing."""
        assert change.there is not None
        thing, identity = change.thing, change.there.id
        given = _given(change, write(thing, trunk_ids))
        with self._explained(thing):
            if thing.kind is Kind.INBOUND:
                await self.sip.update_inbound_trunk_fields(identity, **given)
            elif thing.kind is Kind.OUTBOUND:
                await self.sip.update_outbound_trunk_fields(identity, **given)
            else:
                await self.sip.update_dispatch_rule_fields(identity, **given)

    async def delete(self, thing: Thing) -> None:
        """Delete the thing."""
        with self._explained(thing):
            if thing.kind is Kind.RULE:
                request = api.DeleteSIPDispatchRuleRequest(sip_dispatch_rule_id=thing.id)
                await self.sip.delete_dispatch_rule(request)
            else:
                await self.sip.delete_trunk(api.DeleteSIPTrunkRequest(sip_trunk_id=thing.id))

    @contextmanager
    def _explained(self, thing: Thing | None = None) -> Iterator[None]:
        about = f"{thing}: " if thing else ""
        try:
            yield
        except LiveKitError as error:
            raise SipError(f"{about}{self._refusal(error)}") from None

    def _refusal(self, error: LiveKitError) -> str:
        said = re.sub(r"^twirp error \w+: ", "", error.said) or error.code
        if not error.status:
            return f"{self.url} cannot be reached: {error.said or error}"
        if isinstance(error, AuthError):
            return (
                f"{self.url} refused the key ({said}): check LIVEKIT_API_KEY and LIVEKIT_API_SECRET"
            )
        if "redis required" in said:
            return f"{self.url} has no SIP ({said}): give the server a `redis` section"
        if error.code in {"unknown", "bad_route"}:
            return f"{self.url} does not answer as a LiveKit server (HTTP {error.status})"
        return f"the server refused: {said}"


def _given(change: Change, message: Any) -> dict[str, Any]:
    """Arguments of `update_..._fields` for what differs; name and mark always go along."""
    differing = {difference.field.partition(".")[0] for difference in change.differences}
    differing = {field.partition("[")[0] for field in differing}
    given: dict[str, Any] = {"name": message.name, "metadata": marked(change.thing)}
    for field in differing & {"numbers", "allowed_addresses", "allowed_numbers"}:
        given[field] = list(getattr(message, field))
    if "auth" in differing:
        given |= _auth(change)
    if "address" in differing:
        given["address"] = message.address
    if "transport" in differing:
        word = change.thing.fields.get("transport", next(iter(WORDS["transport"])))
        given["transport"] = SIPTransport.Value(WORDS["transport"][word])
    if "trunks" in differing:
        given["trunk_ids"] = list(message.trunk_ids)
    if "attributes" in differing:
        given["attributes"] = dict(message.attributes)
    if differing & {"direct", "individual", "callee"}:
        given["rule"] = message.rule
    return given


def _auth(change: Change) -> dict[str, str]:
    wanted = change.thing.fields.get("auth", {})
    given = {"auth_username": wanted.get("username", "")}
    if not wanted or ("password" in wanted and not is_withheld(wanted["password"])):
        given["auth_password"] = wanted.get("password", "")
    return given
