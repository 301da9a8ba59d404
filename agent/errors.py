"""Errors of the product. The docstring of each is its default message."""

from __future__ import annotations


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


class StoreTooNew(StoreError):
    """The database was migrated by a newer release that says this code is too old for it."""


class EventRefused(StoreError):
    """The call log cannot hold this event, however often it is tried."""


class CallUnknown(StoreError):
    """No call has this id."""


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
