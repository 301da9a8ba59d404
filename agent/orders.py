"""Orders in a job's metadata: signed with an API secret, since others write metadata of jobs, too.

A token server may copy what a browser asks for; whoever can sign could dispatch the job anyway.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from agent import log
from config.errors import SettingsError
from config.livekit_auth import load_ring
from config.settings import Settings

logger = log.get(__name__)


def body_of(metadata: str) -> dict[str, Any]:
    """The JSON object of a job's metadata; empty for what somebody else wrote there."""
    try:
        body = json.loads(metadata) if metadata else {}
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def signature(secret: str, purpose: str, room: str, *ordered: str) -> str:
    """HMAC-SHA256 (RFC 2104) with the API secret as its key; good for `room` alone."""
    signed = json.dumps([purpose, room, *ordered])  # no other use of the key looks so
    return hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest()


def is_signed(settings: Settings, theirs: object, purpose: str, room: str, *ordered: str) -> bool:
    """Whether somebody with an API secret of our ring gave this order.

    The ring is read anew: whoever gives the order may know of a newer key than we did.
    """
    given = str(theirs).encode(errors="replace")
    return any(
        hmac.compare_digest(signature(secret, purpose, room, *ordered).encode(), given)
        for secret in _secrets(settings)
    )


def _secrets(settings: Settings) -> list[str]:
    """What an order may be signed with now. A ring that cannot be read signs nothing."""
    try:
        ring = load_ring(settings)
    except SettingsError as error:
        logger.error("the key ring cannot be read", why=str(error))
        return []
    return [one.secret.get_secret_value() for one in ring.verifying]
