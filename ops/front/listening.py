"""Where `ops serve` listens, checked before anything starts, and what is said about it."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from agent import log
from agent.errors import StartError
from config.control import Serve
from config.livekit_auth import is_loopback

logger = log.get(__name__)

BACKLOG = 2048


def bound(host: str, port: int) -> socket.socket:
    """A socket that is bound. Raises StartError that names what cannot be used."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise StartError(f"serve.host: {host} is no address here ({error.strerror})") from error
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(
            f"serve.port: port {port} on {host} cannot be used ({error.strerror}): set"
            " VOICE_AGENT__SERVE__PORT or --port, 0 picks a free one"
        ) from error
    return listener


def url_of(listener: socket.socket, section: Serve) -> str:
    """What to call, as the socket is bound now."""
    host, port = listener.getsockname()[:2]
    scheme = "https" if section.tls_certificate else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def check_tls(section: Serve) -> None:
    """Raises StartError for files that make no TLS."""
    certificate, key = section.tls_certificate, section.tls_key
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        lacking = "tls_key" if certificate else "tls_certificate"
        raise StartError(f"serve.{lacking}: TLS needs both tls_certificate and tls_key")
    for name, file in (("tls_certificate", certificate), ("tls_key", key)):
        _check_readable(name, file)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_none)
    except (ssl.SSLError, OSError, _Encrypted) as error:
        raise StartError(
            f"serve.tls_certificate: {certificate} and {key} are no certificate with its key"
            f" (PEM, not encrypted): {getattr(error, 'reason', None) or error}"
        ) from None


def warn_when_open(section: Serve, host: str) -> None:
    """Say that keys and tokens travel in the clear, where they do."""
    if section.tls_certificate or section.trusted_proxies or is_loopback(host):
        return
    logger.warning(
        "client keys and tokens travel in the clear: nothing here speaks TLS",
        host=host,
        todo="set serve.tls_certificate and serve.tls_key, or put a proxy in front and name it in"
        " serve.trusted_proxies",
    )


class _Encrypted(Exception):
    """The key needs a password."""


def _none() -> str:
    raise _Encrypted("the key is encrypted")


def _check_readable(name: str, file: Path) -> None:
    try:
        file.open("rb").close()
    except OSError as error:
        raise StartError(f"serve.{name}: {file} cannot be read ({error.strerror})") from error
