"""When certificates expire: that of a server, and that in a file.

Whether they are trusted is the doctor's question; this one is answered for one that has expired,
too.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

WITHIN = 2.0
"""Seconds in which a server shows its certificate."""

SECURE = ("wss", "https")
END = "-----END CERTIFICATE-----"

UTC_TIME, LONG_FORM, VERSION = 0x17, 0x80, 0xA0


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
    parts = urlsplit(url)
    if parts.scheme not in SECURE or not parts.hostname:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent; an expired one is told of, too
    try:
        with (
            socket.create_connection((parts.hostname, parts.port or 443), WITHIN) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname) as secure,
        ):
            shown = secure.getpeercert(binary_form=True)
        return Expiry(name, not_after(shown or b""))
    except (OSError, ValueError) as error:
        return Expiry(name, None, f"no certificate: {error}")


def of_file(name: str, path: Path) -> Expiry:
    """Of the first certificate in a PEM file: the server's own, before those of its chain."""
    try:
        begun, end, _ = path.read_text("ascii").partition(END)
        pem = begun[begun.index("-----BEGIN CERTIFICATE") :] + end
        return Expiry(name, not_after(ssl.PEM_cert_to_DER_cert(pem)))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no certificate in PEM form"
        return Expiry(name, None, f"{path}: {why}")


def not_after(der: bytes) -> datetime:
    """The end of a certificate's validity (RFC 5280, 4.1). Raises ValueError for anything else."""
    try:
        (certificate,) = _parts(der)
        fields = _parts(_parts(certificate[1])[0][1])
        if fields[0][0] == VERSION:
            del fields[0]
        _serial, _algorithm, _issuer, validity = fields[:4]
        _begin, (kind, text) = _parts(validity[1])
        form = "%y%m%d%H%M%SZ" if kind == UTC_TIME else "%Y%m%d%H%M%SZ"
        return datetime.strptime(text.decode("ascii"), form).replace(tzinfo=UTC)
    except (IndexError, ValueError) as error:
        raise ValueError("not an X.509 certificate") from error


def _parts(der: bytes) -> list[tuple[int, bytes]]:
    """The tags and contents of what stands one after the other (X.690, 8.1)."""
    found, at = [], 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & LONG_FORM:
            wide = length & ~LONG_FORM
            length = int.from_bytes(der[at : at + wide])
            at += wide
        if at + length > len(der):
            raise ValueError("cut off")
        found.append((tag, der[at : at + length]))
        at += length
    return found
