"""URLs of Redis behind sentinels: redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME/DB."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

SENTINEL_SCHEMES = ("redis+sentinel", "rediss+sentinel")
"""The second speaks TLS to Redis."""

PORT = 26379

_URL = re.compile(
    r"(?P<scheme>rediss?\+sentinel)://(?:(?P<user>[^:@/]*)(?::(?P<password>[^@/]*))?@)?"
    r"(?P<hosts>[^/@]+)/(?P<name>[^/?#]+)(?:/(?P<db>\d+))?"
)
_HOST = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\s\[\]]+)(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Whom to ask for the master, by which name, and how to speak to it then."""

    hosts: tuple[tuple[str, int], ...]
    name: str
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False


def sentinels_of(url: str) -> Sentinels | None:
    """What the URL says; None when it is of one Redis. Raises ValueError when it says too little.

    User and password are those of Redis.
    """
    if url.partition("://")[0] not in SENTINEL_SCHEMES:
        return None
    parts = _URL.fullmatch(url)
    hosts = [_HOST.fullmatch(one) for one in parts["hosts"].split(",")] if parts else []
    if parts is None or not all(hosts):
        raise ValueError("expected redis+sentinel://HOST:PORT,HOST:PORT/NAME/DB")
    return Sentinels(
        tuple((one["host"].strip("[]"), int(one["port"] or PORT)) for one in hosts if one),
        unquote(parts["name"]),
        int(parts["db"] or 0),
        unquote(parts["user"] or "") or None,
        unquote(parts["password"] or "") or None,
        parts["scheme"].startswith("rediss"),
    )
