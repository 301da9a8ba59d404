"""Errors of the product. The docstring of each is its default message."""

from __future__ import annotations

from typing import Any


class VoiceAgentError(Exception):
    """Something went wrong in the voice agent."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class StartError(VoiceAgentError):
    """The process cannot start as configured."""


class StoreError(VoiceAgentError):
    """The call log cannot be used."""


class StoreUnavailable(StoreError):
    """The call log's database does not answer."""


class StoreAbsent(StoreError):
    """There is no call log yet: nothing was ever recorded."""


class StoreTooNew(StoreError):
    """The database was migrated by a newer release that says this code is too old for it."""


class EventRefused(StoreError):
    """The call log cannot hold this event, however often it is tried."""


class CallUnknown(StoreError):
    """No call has this id."""


class IncidentUnknown(StoreError):
    """No incident has this id, or several begin so."""


class ConnectionLost(VoiceAgentError):
    """The connection to LiveKit broke, or could not be made."""

    def __init__(self, message: str | None = None, status: int = 0) -> None:
        """`status` is what HTTP answered instead of a connection; 0: nothing did."""
        super().__init__(message)
        self.status = status


class LiveKitAway(VoiceAgentError):
    """LiveKit has been away for longer than the worker may wait."""


class LegError(VoiceAgentError):
    """The caller's leg refused what was asked of it."""


class TransferFailed(LegError):
    """The call could not be transferred."""


class CallerNeverJoined(LegError):
    """No caller joined the room in time."""


class SharingLost(VoiceAgentError):
    """Redis did not answer in time, or refused: what workers share cannot be known now."""


class KeysNotSent(LegError):
    """The keys could not be sent."""


class LiveKitError(VoiceAgentError):
    """LiveKit did not do what was asked of it."""

    may_pass = False
    """Whether the same request may succeed a moment later."""

    def __init__(
        self,
        why: str | None = None,
        *,
        service: str = "",
        method: str = "",
        status: int = 0,
        code: str = "",
        said: str = "",
        retry_after: float | None = None,
        not_done: bool = False,
    ) -> None:
        """The message holds neither secrets nor numbers of callers; `said` may hold numbers.

        `service` and `method`: such as room, delete_room. `status`: of HTTP; 0: no answer came.
        `code`: Twirp's, such as not_found. `said`: the server's own words, for the operator who
        asked. `retry_after`: seconds that the server asks us to wait. `not_done`: it is certain
        that LiveKit did nothing.
        """
        why = why or (type(self).__doc__ or "").strip()
        super().__init__(f"{service}.{method}: {why}" if service else why)
        self.service, self.method = service, method
        self.status, self.code, self.said = status, code, said
        self.retry_after = retry_after
        self.not_done = not_done


class AuthError(LiveKitError):
    """LiveKit does not know the key."""


class PermissionDenied(AuthError):
    """The key may not do this."""


class NotFound(LiveKitError):
    """There is no such room, participant, trunk, egress or ingress."""


class AlreadyExists(LiveKitError):
    """There is one already."""


class InvalidRequest(LiveKitError):
    """LiveKit does not understand the request."""


class FailedPrecondition(LiveKitError):
    """What is there does not allow it now."""


class RateLimited(LiveKitError):
    """Too many requests, or a quota is used up."""

    may_pass = True


class Unavailable(LiveKitError):
    """LiveKit cannot be reached, does not answer in time, or was left alone after failures."""

    may_pass = True


class ServerFailed(LiveKitError):
    """LiveKit failed at it."""

    may_pass = True


class Unsupported(LiveKitError):
    """The server does not have this method, or is not LiveKit."""


class SipFailed(LiveKitError):
    """The telephone side did not take the call, or not its transfer."""

    def __init__(self, why: str | None = None, *, sip_status: int = 0, **known: Any) -> None:
        """`sip_status` is the final SIP answer (RFC 3261, section 21); 0: there was none."""
        super().__init__(why, **known)
        self.sip_status = sip_status


class TargetRefused(VoiceAgentError):
    """This address may not be reached, or named: the allow list says so."""


class RecordingRefused(VoiceAgentError):
    """This recording cannot be made; the message says what to use instead."""


class ObjectStoreFailed(VoiceAgentError):
    """The object store did not do what it was asked."""


class RecordingUnknown(StoreError):
    """No recording has this id."""
