"""Which addresses others may be sent to: hosts by an allow list, and never a private network.

Names are resolved and every address is judged. What LiveKit connects to (egress, ingress) it
resolves again, and it follows redirects by itself: there, this check is all that can be done from
here, and a firewall around egress and ingress is the rest. What we connect to ourselves is judged
once more at the very address that the socket is opened to (`connector`).
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import aiohttp

from agent.errors import TargetRefused
from config.recording import Targets

Address: TypeAlias = IPv4Address | IPv6Address
Resolve = Callable[[str], Awaitable[Sequence[str]]]

NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are an IPv4 address."""

NEVER = (IPv6Network("::/96"), IPv6Network("64:ff9b:1::/48"), IPv6Network("fec0::/10"))
"""What `ipaddress` takes to be public and is not: IPv4-compatible addresses (RFC 4291), a network's
own NAT64 (RFC 8215), site-local addresses (RFC 3879)."""

HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")


async def resolve(host: str) -> Sequence[str]:
    """The addresses of `host`, as this machine finds them. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


async def check_url(
    url: str,
    targets: Targets,
    schemes: Collection[str],
    *,
    known: Collection[str] = (),
    resolving: Resolve = resolve,
) -> None:
    """Raise TargetRefused unless `url` may be reached: its scheme, its host, all its addresses.

    `known` are hosts that count as listed. The message never holds the URL: it may hold a key.
    """
    host = host_of(url, schemes)
    if not is_listed(host, (*targets.hosts, *known)):
        raise TargetRefused(f"{host} is not in recording.targets.hosts")
    try:
        addresses = await resolving(host)
    except (OSError, UnicodeError):
        raise TargetRefused(f"{host} cannot be resolved") from None
    if not addresses:
        raise TargetRefused(f"{host} has no address")
    for address in addresses:
        check_address(address, targets)


def host_of(url: str, schemes: Collection[str]) -> str:
    """The host of a URL in lower case. Raises TargetRefused for what is no such URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise TargetRefused("not a URL") from None
    if parts.scheme not in schemes:
        raise TargetRefused(f"expected a URL that begins with {' or '.join(sorted(schemes))}://")
    if parts.username is not None or parts.password is not None:
        raise TargetRefused("a user name does not belong into the URL")
    if not HOST.fullmatch(host) or port == 0 or any(char <= " " or char == "\\" for char in url):
        raise TargetRefused("not the URL of a host (names in ASCII, as in xn--...)")
    return host.rstrip(".")


def is_listed(host: str, hosts: Collection[str]) -> bool:
    """Whether a host is one of `hosts`, or below one that is written as *.example.com."""
    return any(
        host.endswith(one[1:]) and len(host) > len(one) - 1 if one.startswith("*.") else host == one
        for one in hosts
    )


def check_address(text: str, targets: Targets) -> None:
    """Raise TargetRefused for an address that is neither public nor in an allowed network."""
    try:
        address: Address = ip_address(text.partition("%")[0])
    except ValueError:
        raise TargetRefused("not an address") from None
    for one in _meant(address):
        is_allowed = any(
            one in network for network in targets.private if network.version == one.version
        )
        is_public = one.is_global and not (one.is_multicast or _is_never_public(one))
        if not (is_public or is_allowed):
            raise TargetRefused(
                f"{one} is not a public address (recording.targets.private lists exceptions)"
            )


def connector(targets: Targets) -> aiohttp.TCPConnector:
    """Connections of our own: each address is judged when the socket to it is opened."""

    def opened(info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        try:
            check_address(str(address[0]), targets)
        except TargetRefused as refused:
            raise OSError(str(refused)) from refused
        return socket.socket(family, kind, protocol)

    return aiohttp.TCPConnector(socket_factory=opened, use_dns_cache=False)


def _is_never_public(address: Address) -> bool:
    return any(address in network for network in NEVER if network.version == address.version)


def _meant(address: Address) -> list[Address]:
    """The address itself, or the IPv4 address inside: mapped, 6to4, Teredo, NAT64."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    if address.sixtofour:
        return [address.sixtofour]
    if address.teredo:
        return list(address.teredo)
    if address in NAT64:
        return [IPv4Address(int(address) & 0xFFFF_FFFF)]
    return [address]
