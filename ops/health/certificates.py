"""When the TLS certificates end that callers and clients meet: LiveKit's, and our own.

Each is looked at once an hour. A certificate is read also where it is not trusted or has ended:
when it ended is what has to be told.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from agent import log, metrics, tasks
from agent.call import now
from ops.front.alerts import Alerts, Level

logger = log.get(__name__)

EVERY = 3600.0
"""Seconds between two looks."""

WITHIN = 10.0
"""Seconds for a connection."""

SOON, VERY_SOON = 14, 3
"""Days before the end at which a warning and a critical alert are told."""

NAME = "CertificateExpiring"
LIVEKIT, SERVE = "livekit", "serve"
PORT = 443


class Certificates:
    """Watches the certificates of one `ops serve` from `start` to `aclose`."""

    def __init__(self, livekit_url: str, own: Path | None, alerts: Alerts) -> None:
        """`own` is the file of `serve.tls_certificate`."""
        self._url = livekit_url if urlsplit(livekit_url).scheme in {"wss", "https"} else ""
        self._own = own
        self._alerts = alerts
        self._levels: dict[str, Level] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with the first look."""
        if self._url or self._own:
            self._task = tasks.spawn(self._keep_looking(), "certificates")

    async def aclose(self) -> None:
        """Look no more."""
        await tasks.end(self._task)

    async def look(self) -> Mapping[str, datetime]:
        """When each ends. What cannot be read keeps its last figure, and is told in the log."""
        ends: dict[str, datetime] = {}
        if self._url:
            try:
                ends[LIVEKIT] = await of_server(self._url)
            except (OSError, ValueError) as error:
                logger.warning("a certificate cannot be read", of=LIVEKIT, why=str(error))
        if self._own:
            try:
                ends[SERVE] = await asyncio.to_thread(of_file, self._own)
            except (OSError, ValueError) as error:
                logger.warning("a certificate cannot be read", of=SERVE, why=str(error))
        for name, end in ends.items():
            metrics.CERTIFICATE.labels(name).set(end.timestamp())
            self._tell(name, end)
        return ends

    async def _keep_looking(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(EVERY)

    def _tell(self, name: str, end: datetime) -> None:
        days = (end - now()).days
        level: Level = "critical" if days < VERY_SOON else "warning" if days < SOON else "info"
        if level == self._levels.get(name, "info"):
            return
        self._levels[name] = level
        message = "a certificate was renewed" if level == "info" else "a certificate ends soon"
        self._alerts.tell(NAME, message, level, name, ends=end.isoformat(), days=days)


async def of_server(url: str) -> datetime:
    """When the certificate ends that the server of a `wss` or `https` URL shows.

    Raises OSError (ssl.SSLError and TimeoutError too) or ValueError.
    """
    parts = urlsplit(url)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent
    async with asyncio.timeout(WITHIN):
        _, writer = await asyncio.open_connection(
            parts.hostname, parts.port or PORT, ssl=context, server_hostname=parts.hostname
        )
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return x509.load_der_x509_certificate(shown).not_valid_after_utc


def of_file(path: Path) -> datetime:
    """When the first certificate of a PEM chain ends. Raises OSError or ValueError."""
    chain = x509.load_pem_x509_certificates(path.read_bytes())
    return min(one.not_valid_after_utc for one in chain).astimezone(UTC)
