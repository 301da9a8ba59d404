"""When certificates expire: that of a server, and that in a file, or why that is not known."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from ops.health import certificates

WITHIN = 2.0
"""Seconds in which a server shows its certificate."""

SECURE = ("wss", "https")


@dataclass(frozen=True, slots=True)
class Expiry:
    """Until when a certificate holds, or why that is not known."""

    name: str
    expires: datetime | None
    error: str = ""

    def days_left(self, now: datetime) -> int | None:
        """Whole days; negative once it has expired."""
        return (self.expires - now).days if self.expires else None


def of_server(name: str, url: str) -> Expiry | None:
    """Of the server at `url`; None where no TLS is spoken. Blocks."""
    if urlsplit(url).scheme not in SECURE:
        return None
    try:
        return Expiry(name, asyncio.run(_shown(url)))
    except TimeoutError:
        return Expiry(name, None, f"no certificate: no answer within {WITHIN:g} s")
    except (OSError, ValueError) as error:
        return Expiry(name, None, f"no certificate: {error}")


async def _shown(url: str) -> datetime:
    async with asyncio.timeout(WITHIN):
        return await certificates.of_server(url)


def of_file(name: str, path: Path) -> Expiry:
    """Of the chain in a PEM file: the certificate in it that ends first."""
    try:
        return Expiry(name, certificates.of_file(path))
    except OSError as error:
        return Expiry(name, None, f"{path}: {error.strerror}")
    except ValueError:
        return Expiry(name, None, f"{path}: no certificate in PEM form")
