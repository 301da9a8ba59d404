"""Who is asked, in which order: the members of a chain and how they stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from livekit.agents import APIError

T = TypeVar("T")

ROUNDS = 2
"""How often each member may be asked for one reply: what failed once may work again."""


class Standing(Protocol):
    """What is known of providers beyond one reply. `kind` is "llm" or "tts" here."""

    def is_up(self, kind: str, provider: str) -> bool:
        """Whether `provider` is worth asking first."""
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

    A member whose failure no repetition can mend (a refused key) is asked once, one that asks us
    to come back later (429) only after all others.
    """

    def __init__(self, kind: str, members: Sequence[Member[T]], standing: Standing) -> None:
        self._kind = kind
        self._members = members
        self._standing = standing
        self._hopeless: set[str] = set()

    def __iter__(self) -> Iterator[Member[T]]:
        ranked = sorted(self._members, key=lambda m: not self._standing.is_up(self._kind, m.name))
        for member in [*ranked] * ROUNDS:
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
