"""Who is asked, in which order: the members of a chain and how they stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from livekit.agents import APIError

T = TypeVar("T")

UP, REFUSED = "up", "refused"

ROUNDS = 2
"""How often each member may be asked for one reply: what failed once may work again."""


class Standing(Protocol):
    """What is known of providers beyond one reply. `kind` is "llm" or "tts" here."""

    def state(self, kind: str, provider: str) -> str:
        """How it stands with `provider`: up, down, or refused where it refuses our key."""
        ...

    def failed(self, kind: str, provider: str, error: BaseException) -> None:
        """`provider` did not do what was asked of it."""
        ...

    def answered(self, kind: str, provider: str) -> None:
        """`provider` did what was asked of it."""
        ...


@dataclass(frozen=True, slots=True)
class Member(Generic[T]):
    """One provider of a chain: our name for it, and the plugin that speaks to it."""

    name: str
    plugin: T


class Attempts(Generic[T]):
    """Whom to ask for one reply: those that are up first, then the others, then all again.

    A member that refuses our key is not asked, and one whose failure no repetition can mend is
    asked once.
    """

    def __init__(self, kind: str, members: Sequence[Member[T]], standing: Standing) -> None:
        self._kind = kind
        self._members = members
        self._standing = standing
        self._hopeless: set[str] = set()

    def __iter__(self) -> Iterator[Member[T]]:
        states = {m.name: self._standing.state(self._kind, m.name) for m in self._members}
        worth = [member for member in self._members if states[member.name] != REFUSED]
        for member in sorted(worth, key=lambda m: states[m.name] != UP) * ROUNDS:
            if member.name not in self._hopeless:
                yield member

    def failed(self, member: Member[T], error: APIError) -> None:
        """`member` failed this time."""
        self._standing.failed(self._kind, member.name, error)
        if not error.retryable:
            self._hopeless.add(member.name)

    def answered(self, member: Member[T]) -> None:
        """`member` has begun to do what was asked."""
        self._standing.answered(self._kind, member.name)
