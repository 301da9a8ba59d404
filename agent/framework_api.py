"""Every private name of LiveKit's API client that we use, with a contract test.

Written against livekit-api 1.2.2 (pinned). Apart from `agent.framework`: a command that asks the
LiveKit API need not wait a second for LiveKit Agents to be loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
from livekit.api import SIPGrants, VideoGrants
from livekit.api._failover import RegionCache, host_key, is_cloud, origin_of, pick_next
from livekit.api._service import Service

ApiService = TypeVar("ApiService", bound=Service)
_REGIONS = RegionCache()


def api_service(
    kind: type[ApiService], url: str, client: Any, credentials: Callable[[], tuple[str, str]]
) -> ApiService:
    """A service of livekit-api (`RoomService`) whose requests go through `client.request`.

    Each is signed with the key and secret that `credentials` tells at that moment.
    """
    service = kind(None, url, "", "")  # type: ignore[arg-type] # the session is the client's
    sign = service._auth_header  # noqa: SLF001 - no public way to replace a key, or the client

    def signed(grants: VideoGrants | None, sip: SIPGrants | None = None) -> dict[str, str]:
        service.api_key, service.api_secret = credentials()
        return sign(grants, sip)

    service._auth_header = signed  # type: ignore[method-assign] # noqa: SLF001 - as above
    service._client = client  # noqa: SLF001 - as above
    return service


async def another_region(
    session: aiohttp.ClientSession, url: str, headers: dict[str, str], tried: set[str]
) -> str | None:
    """Where else LiveKit Cloud has the API of `url` than at `tried`; of another server: nowhere."""
    if not is_cloud(urlsplit(url).hostname or ""):
        return None
    regions = await _REGIONS.region_origins(session, origin_of(url), headers)
    return pick_next(regions, {host_key(one) for one in tried})
