"""The signature of a webhook: a JWT of a key that we know, over the hash of this very body.

LiveKit puts the token into `Authorization`, without a scheme; its claim `sha256` is the Base64 of
the SHA-256 of the raw body (livekit/protocol, webhook/notifier.go).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from datetime import timedelta

import jwt
from livekit.api import TokenVerifier
from pydantic import SecretStr

LEEWAY = 60.0
"""Seconds by which the clocks of LiveKit and of this machine may differ."""

SecretOf = Callable[[str], SecretStr | None]
"""The secret of a key of the ring; None: no key of ours."""


class Forged(Exception):
    """Whoever sent this does not have a key of ours, or sent it before."""


def verify(body: bytes, authorization: str, secret_of: SecretOf, max_age: float) -> None:
    """Raise Forged unless the body was signed by a key of the ring, at most so many seconds ago."""
    token = authorization.removeprefix("Bearer ").strip()
    try:
        told = jwt.decode(token, options={"verify_signature": False})
        issuer = str(told.get("iss", ""))
        secret = secret_of(issuer)
        if secret is None or not secret.get_secret_value():
            raise Forged("the key is not in the ring")
        verifier = TokenVerifier(
            issuer, secret.get_secret_value(), leeway=timedelta(seconds=LEEWAY)
        )
        claims = verifier.verify(token)
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError) as error:
        raise Forged(f"the token is not valid: {type(error).__name__}") from None
    made = told.get("iat", told.get("nbf"))
    if isinstance(made, int | float) and time.time() - made > max_age + LEEWAY:
        raise Forged("the token is too old")
    ours = base64.b64encode(hashlib.sha256(body).digest())
    if not hmac.compare_digest(ours, str(claims.sha256 or "").encode()):
        raise Forged("the token is not about this body")
