"""Places for calls, and a few courtesy slots beside them: counted here for one worker alone."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Place(StrEnum):
    """Where a job finds its place."""

    CALL = "call"
    COURTESY = "courtesy"
    """A slot in which the caller hears the busy or closed phrase."""
    ELSEWHERE = "elsewhere"
    """Another worker has one."""
    NOWHERE = "nowhere"
    BESIDE = "beside"
    """None: the job (a canary's) runs beside the calls, and is not counted."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many jobs at once, at most."""

    calls: int
    """On this worker."""
    courtesy: int
    overall: int = 0
    """Calls on all workers together; 0: as many as they can take."""


class Places(Protocol):
    """Gives places to jobs. A job is known by its id: a room may have several."""

    async def take(self, job: str, *, courtesy: bool = False) -> Place:
        """A place for `job`, which holds it from now on; with `courtesy`, not one of the calls'."""
        ...

    def beside(self, job: str) -> None:
        """The job runs beside the calls: it holds no place, and is not counted."""
        ...

    def settle(self, job: str) -> None:
        """The job has been started, or never will be: it holds its place for as long as it runs."""
        ...

    def holds(self, job: str) -> bool:
        """Whether `job` has a place."""
        ...


class LocalPlaces:
    """The places of this worker, which takes itself to be alone."""

    def __init__(self, capacity: Capacity, running: Callable[[], AbstractSet[str]]) -> None:
        """`running` tells which jobs have a process now."""
        self.capacity = capacity
        self._running = running
        self._starting: set[str] = set()
        self._courtesy: set[str] = set()
        self._beside: set[str] = set()

    @property
    def calls(self) -> set[str]:
        """The jobs that hold a place for calls, whoever let them in."""
        return (self._starting | self._running()) - self._courtesy - self._beside

    @property
    def courtesies(self) -> set[str]:
        """The jobs that hold a courtesy slot."""
        self._courtesy &= self._starting | self._running()
        return set(self._courtesy)

    async def take(self, job: str, *, courtesy: bool = False) -> Place:
        """See `Places`."""
        place = self.find(courtesy=courtesy)
        self.note(job, place)
        return place

    def beside(self, job: str) -> None:
        """See `Places`."""
        self._beside &= self._starting | self._running()
        self._beside.add(job)
        self._starting.add(job)

    def settle(self, job: str) -> None:
        """See `Places`."""
        self._starting.discard(job)

    def holds(self, job: str) -> bool:
        """See `Places`."""
        return job in self._starting or job in self._running()

    def find(self, *, courtesy: bool) -> Place:
        """The place that a worker who is alone would give to the next job."""
        capacity = self.capacity
        most = min(capacity.calls, capacity.overall or capacity.calls)
        if not courtesy and len(self.calls) < most:
            return Place.CALL
        return Place.COURTESY if len(self.courtesies) < capacity.courtesy else Place.NOWHERE

    def note(self, job: str, place: Place) -> None:
        """The job has been given this place."""
        if place in {Place.CALL, Place.COURTESY}:
            self._starting.add(job)
        if place is Place.COURTESY:
            self._courtesy.add(job)
