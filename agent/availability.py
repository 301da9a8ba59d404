"""Which providers are up, as one call knows it. All calls of a worker share what they learn.

A call notes failures and recoveries in its record; the worker sees them there, probes the provider
that failed and tells all of its calls when it is back (see `agent.outages`). A provider that
refuses its key is out for the worker's life.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

ALL_KINDS = "*"
"""A key is one for all that a provider is used for."""

UNAUTHORIZED, FORBIDDEN = 401, 403
CHAIN_LIMIT = 10
"""Causes of an error that are looked at: they may form a circle."""

FAILED, RECOVERED = "provider_failed", "provider_recovered"
"""The names of the notes in the record. Their details are `of` (stt, llm or tts), `provider` and,
of a failure, `error` (its class) and `state`; of a recovery, `by` ("call" or "probe")."""


class State(StrEnum):
    """How it stands with a provider that is not up."""

    UP = "up"
    DOWN = "down"
    REFUSED = "refused"
    """It refuses the key: asking again is of no use."""


class Note(Protocol):
    """Keeps something in the call's history: `Record.note`."""

    def __call__(self, name: str, /, **detail: str) -> None: ...  # noqa: D102 - named by the class


class Availability:
    """The providers as one call sees them; without a worker, as this call alone found them."""

    def __init__(self, note: Note | None = None) -> None:
        self._note = note or _forget
        self._states: dict[tuple[str, str], State] = {}
        self._met: set[tuple[str, str]] = set()
        """Failures that this call has met itself: it notes their end too."""

    def is_up(self, kind: str, provider: str) -> bool:
        """Whether `provider` is worth asking; `kind` is stt, llm or tts."""
        return self.state(kind, provider) is State.UP

    def state(self, kind: str, provider: str) -> State:
        """How it stands with `provider`."""
        states = (self._states.get((name, provider), State.UP) for name in (ALL_KINDS, kind))
        return next((state for state in states if state is not State.UP), State.UP)

    def failed(self, kind: str, provider: str, error: BaseException) -> None:
        """`provider` did not do what was asked of it. Told again, it changes nothing."""
        state = State.REFUSED if is_refusal(error) else State.DOWN
        known = self.state(kind, provider)
        if known is State.REFUSED or known is state:
            return
        place = (ALL_KINDS if status_of(error) == UNAUTHORIZED else kind, provider)
        self._states[place] = state
        self._met.add(place)
        self._note(
            FAILED, of=place[0], provider=provider, error=type(error).__name__, state=state.value
        )

    def answered(self, kind: str, provider: str) -> None:
        """A real request succeeded: whatever was known, `provider` is up."""
        if self._states.get((kind, provider)) is State.DOWN:
            self._recovered((kind, provider), by="call")

    def learn(self, kind: str, provider: str, state: State) -> None:
        """What the worker tells of a provider, from other calls or from its probes."""
        place = (kind, provider)
        if state is not State.UP:
            self._states[place] = state
        elif place in self._states:
            self._recovered(place, by="probe")

    def _recovered(self, place: tuple[str, str], by: str) -> None:
        del self._states[place]
        if place in self._met or by == "call":
            self._met.discard(place)
            self._note(RECOVERED, of=place[0], provider=place[1], by=by)


def is_refusal(error: BaseException) -> bool:
    """Whether the provider refuses the key: asking again is of no use."""
    return status_of(error) in (UNAUTHORIZED, FORBIDDEN)


def status_of(error: BaseException) -> int | None:
    """The HTTP status that `error` or one of its causes carries."""
    cause: BaseException | None = error
    for _ in range(CHAIN_LIMIT):
        if cause is None:
            return None
        for name in ("status_code", "status"):
            status = getattr(cause, name, None)
            if isinstance(status, int) and status > 0:
                return status
        cause = cause.__cause__ or cause.__context__
    return None


def _forget(_name: str, /, **_detail: str) -> None:
    """Outside a call nothing is kept."""
