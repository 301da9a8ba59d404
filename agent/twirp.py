"""One request to the LiveKit API, and its errors by kind: Twirp over HTTP.

Protocol: https://twitchtv.github.io/twirp/docs/spec_v7.html. Errors are JSON: code, msg, meta.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from typing import Any

import aiohttp

from agent import errors
from agent.errors import LiveKitError

CONNECT = 5.0
"""Seconds for a connection to be made: until then nothing was asked."""

TIMED_OUT, UNAVAILABLE = "deadline_exceeded", "unavailable"
"""The codes of what LiveKit itself did not answer."""

SAID = 500
"""Characters that are kept of what a server says."""

KINDS: Mapping[str, type[LiveKitError]] = {
    "unauthenticated": errors.AuthError,
    "permission_denied": errors.PermissionDenied,
    "not_found": errors.NotFound,
    "already_exists": errors.AlreadyExists,
    "invalid_argument": errors.InvalidRequest,
    "malformed": errors.InvalidRequest,
    "out_of_range": errors.InvalidRequest,
    "failed_precondition": errors.FailedPrecondition,
    "aborted": errors.FailedPrecondition,
    "resource_exhausted": errors.RateLimited,
    "unavailable": errors.Unavailable,
    "deadline_exceeded": errors.Unavailable,
    "canceled": errors.Unavailable,
    "internal": errors.ServerFailed,
    "unknown": errors.ServerFailed,
    "dataloss": errors.ServerFailed,
    "unimplemented": errors.Unsupported,
    "bad_route": errors.Unsupported,
}
"""By Twirp's code."""

BARE: Mapping[int, type[LiveKitError]] = {
    HTTPStatus.BAD_REQUEST: errors.InvalidRequest,
    HTTPStatus.UNAUTHORIZED: errors.AuthError,
    HTTPStatus.FORBIDDEN: errors.PermissionDenied,
    HTTPStatus.REQUEST_TIMEOUT: errors.Unavailable,
    HTTPStatus.CONFLICT: errors.FailedPrecondition,
    HTTPStatus.PRECONDITION_FAILED: errors.FailedPrecondition,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: errors.InvalidRequest,
    HTTPStatus.TOO_MANY_REQUESTS: errors.RateLimited,
    HTTPStatus.INTERNAL_SERVER_ERROR: errors.ServerFailed,
    HTTPStatus.BAD_GATEWAY: errors.Unavailable,
    HTTPStatus.SERVICE_UNAVAILABLE: errors.Unavailable,
    HTTPStatus.GATEWAY_TIMEOUT: errors.Unavailable,
}
"""By the status of an answer without a code: a proxy's, or that of LiveKit's own door (401)."""


async def ask(
    session: aiohttp.ClientSession,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    seconds: float,
    *,
    service: str,
    method: str,
) -> bytes:
    """Post `body` once; returns the answer's. Raises LiveKitError."""
    limit = aiohttp.ClientTimeout(total=seconds, sock_connect=min(CONNECT, seconds))
    failed = partial(errors.Unavailable, service=service, method=method)
    try:
        async with session.post(
            url, data=body, headers=headers, timeout=limit, allow_redirects=False
        ) as answer:
            told = await answer.read()
    except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError) as error:
        raise failed("no connection", code=UNAVAILABLE, said=str(error), not_done=True) from None
    except TimeoutError:
        raise failed(f"no answer within {seconds:g} s", code=TIMED_OUT) from None
    except aiohttp.ClientError as error:
        why = f"the connection broke ({type(error).__name__})"
        raise failed(why, code=UNAVAILABLE) from None
    if answer.status == HTTPStatus.OK:
        return told
    token = headers.get("authorization", "").removeprefix("Bearer ")
    raise refusal(answer, told, token=token, service=service, method=method)


def refusal(
    answer: aiohttp.ClientResponse,
    body: bytes,
    *,
    token: str,
    service: str,
    method: str,
) -> LiveKitError:
    """The error that an answer stands for. `token`: ours, which it must not repeat."""
    told, status = _told(body), answer.status
    code = told["code"] if told.get("code") in KINDS else ""
    meta = told["meta"] if isinstance(told.get("meta"), dict) else {}
    said = str(told.get("msg") or "")
    said = (said.replace(token, "***") if token else said)[:SAID]
    known: dict[str, Any] = {
        "service": service,
        "method": method,
        "status": status,
        "code": code or "unknown",
        "said": said,
        "retry_after": retry_after(answer.headers.get("Retry-After", "")),
    }
    sip, reason = str(meta.get("sip_status_code", "")), str(meta.get("sip_transfer_reason", ""))
    if sip or reason:
        number = int(sip) if sip.isdecimal() else 0
        parts = reason if reason.isidentifier() else "", f"SIP {number}" if number else ""
        why = ", ".join(part for part in parts if part) or code
        return errors.SipFailed(why, sip_status=number, **known)
    kind = KINDS[code] if code else BARE.get(status, _by_hundred(status))
    known["not_done"] = kind is errors.RateLimited
    return kind(f"{known['code']} (HTTP {status})", **known)


def retry_after(told: str) -> float | None:
    """Seconds from now that a Retry-After header asks for (RFC 9110, section 10.2.3), or None."""
    if told.strip().isdecimal():
        return float(told)
    try:
        return max(0.0, parsedate_to_datetime(told).timestamp() - time.time())
    except ValueError:
        return None


def _told(body: bytes) -> dict[str, Any]:
    """The JSON object of an error, or nothing."""
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _by_hundred(status: int) -> type[LiveKitError]:
    return errors.ServerFailed if status >= HTTPStatus.INTERNAL_SERVER_ERROR else errors.Unsupported
