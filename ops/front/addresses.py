"""Whose request it is: the address of the peer, or the one that a trusted proxy tells."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

SITE = 56
"""Bits of an IPv6 address that tell customers apart (RFC 6177): who has one below has them all."""


class Addresses:
    """Reads X-Forwarded-For, and believes no more of it than trusted proxies wrote."""

    def __init__(self, trusted: Sequence[str]) -> None:
        """`trusted` are addresses and networks of proxies. Raises ValueError."""
        self._trusted = tuple(ipaddress.ip_network(text, strict=False) for text in trusted)

    def trusts(self, peer: str) -> bool:
        """Whether the peer is one of the proxies."""
        address = parsed(peer)
        return address is not None and self._is_proxy(address)

    def client(self, peer: str, forwarded: str) -> str:
        """The address that a request came from.

        The list is read from its end, where the nearest proxy wrote, up to the first address
        that is no trusted proxy: what stands before it may be anybody's invention.
        """
        address = parsed(peer)
        if address is None:
            return peer
        for part in reversed(forwarded.split(",") if forwarded else ()):
            if not self._is_proxy(address):
                break
            before = parsed(part)
            if before is None:
                break
            address = before
        return str(address)

    def _is_proxy(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


@lru_cache(maxsize=4096)
def site(address: str) -> str:
    """What is counted as one address."""
    known = parsed(address)
    if not isinstance(known, ipaddress.IPv6Address):
        return address
    return str(ipaddress.IPv6Network((int(known), SITE), strict=False))


@lru_cache(maxsize=4096)
def parsed(text: str) -> Address | None:
    """The address in `text`, with a port or without; None for anything else."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
