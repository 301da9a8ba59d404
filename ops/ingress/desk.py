"""Ingress on a LiveKit server: create, update, list, delete. A stream key is told once.

The URL of a source is checked when it is created. LiveKit fetches it later, resolves its host again
and follows redirects: what that may reach is for a firewall around the ingress service.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from livekit import api
from livekit.protocol.ingress import IngressInfo, IngressInput, IngressState

from agent.errors import NotFound
from agent.livekit import LiveKit
from agent.targets import Resolve, check_url, resolve
from config.settings import Settings
from ops.ingress.wanted import (
    SCHEMES,
    Change,
    IngressRefused,
    Kind,
    Wanted,
    create_request,
    update_request,
)
from ops.recordings.studio import Database

KINDS = {
    IngressInput.RTMP_INPUT: Kind.RTMP,
    IngressInput.WHIP_INPUT: Kind.WHIP,
    IngressInput.URL_INPUT: Kind.URL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingress:
    """One ingress. `stream_key` is empty but in the answer to its creation."""

    id: str
    kind: str
    name: str
    room: str
    identity: str
    participant_name: str
    url: str
    """Where to push to; for kind url, the host that it is fetched from."""
    enabled: bool
    status: str
    error: str
    stream_key: str = field(default="", repr=False)


@dataclass(slots=True)
class Desk:
    """Every method raises LiveKitError; changes raise StoreUnavailable, before they are made."""

    settings: Settings
    database: Database
    livekit: LiveKit
    resolving: Resolve = resolve

    async def create(
        self, wanted: Wanted, who: str, source: str, *, into_calls: bool = False
    ) -> Ingress:
        """Make one: with its stream key, which is told here only.

        Raises IngressRefused and TargetRefused before the server is asked.
        """
        request = create_request(wanted, into_calls=into_calls)
        if wanted.kind is Kind.URL:
            targets = self.settings.recording.targets
            await check_url(wanted.url, targets, SCHEMES, resolving=self.resolving)
        await self._audit(who, "create ingress", f"{wanted.kind} into {wanted.room}", source)
        info = await self.livekit.ingress.create_ingress(request)
        if wanted.kind is Kind.RTMPS and not info.url.startswith("rtmps://"):
            await self.livekit.ingress.delete_ingress(
                api.DeleteIngressRequest(ingress_id=info.ingress_id)
            )
            raise IngressRefused(
                "rtmps: this server takes RTMP without TLS only (its rtmp_base_url is not rtmps://)"
            )
        return told(info, with_key=True)

    async def update(
        self, ingress_id: str, change: Change, who: str, source: str, *, into_calls: bool = False
    ) -> Ingress:
        """Change one that is pushed to. Raises IngressRefused for one that is fetched."""
        request = update_request(ingress_id, change, into_calls=into_calls)
        there = await self.get(ingress_id)
        if there.kind == Kind.URL:
            raise IngressRefused("an ingress by url cannot be changed: delete it, and make another")
        await self._audit(who, "update ingress", ingress_id, source)
        return told(await self.livekit.ingress.update_ingress(request))

    async def list(self, room: str = "") -> list[Ingress]:
        """All of them, or those of a room."""
        found = await self.livekit.ingress.list_ingress(api.ListIngressRequest(room_name=room))
        return [told(info) for info in found.items]

    async def get(self, ingress_id: str) -> Ingress:
        """One of them. Raises NotFound."""
        found = await self.livekit.ingress.list_ingress(
            api.ListIngressRequest(ingress_id=ingress_id)
        )
        for info in found.items:
            if info.ingress_id == ingress_id:
                return told(info)
        raise NotFound(service="ingress", method="list_ingress", status=404, code="not_found")

    async def delete(self, ingress_id: str, who: str, source: str) -> Ingress:
        """End and remove one."""
        await self._audit(who, "delete ingress", ingress_id, source)
        return told(
            await self.livekit.ingress.delete_ingress(
                api.DeleteIngressRequest(ingress_id=ingress_id)
            )
        )

    async def _audit(self, who: str, what: str, thing: str, source: str) -> None:
        await self.database.run(lambda log: log.audit(who, what, thing, source))


def told(info: IngressInfo, *, with_key: bool = False) -> Ingress:
    """An ingress without what must not be told twice: keys, and addresses that may hold one."""
    kind = KINDS.get(info.input_type, Kind.URL)
    url = info.url
    if kind is Kind.URL:
        url = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    elif info.url.startswith("rtmps://"):
        kind = Kind.RTMPS
    status = IngressState.Status.Name(info.state.status).removeprefix("ENDPOINT_").lower()
    return Ingress(
        id=info.ingress_id,
        kind=kind.value,
        name=info.name,
        room=info.room_name,
        identity=info.participant_identity,
        participant_name=info.participant_name,
        url=url,
        enabled=info.enabled if info.HasField("enabled") else True,
        status=status,
        error=info.state.error[:500],
        stream_key=info.stream_key if with_key else "",
    )
