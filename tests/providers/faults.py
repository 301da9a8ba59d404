"""What a stand-in does wrong, and when: a script of faults, and the delays of a healthy one."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Kind(StrEnum):
    """What goes wrong. The first four strike before the answer, the others within it."""

    STATUS = "status"
    """The request or handshake is refused with `status`."""
    EXPIRED = "expired"
    """The key is refused: 401, in the provider's own words."""
    HANG = "hang"
    """The request or handshake is taken and never answered."""
    SHUT = "shut"
    """The connection is closed as soon as it was made, without an answer."""

    STALL = "stall"
    """Nothing more is sent. The connection stays open, and pings are answered."""
    HALF_OPEN = "half_open"
    """Nothing more is sent or read, as if the cable were cut: pings are not answered."""
    DROP = "drop"
    """The connection is cut."""
    MALFORMED = "malformed"
    """What should be JSON is not."""
    ERROR = "error"
    """The provider's own message of an error, with `status` in it where it has one."""
    TRICKLE = "trickle"
    """Every piece is `every` seconds late."""
    EMPTY = "empty"
    """A well-formed answer with nothing in it."""


REFUSALS = frozenset({Kind.STATUS, Kind.EXPIRED, Kind.HANG, Kind.SHUT})


class Fault(BaseModel):
    """One line of a script.

    It strikes `times` times from the `turn`-th occasion on. What an occasion is, the operation
    says: an utterance for "listen", the caller's messages for "chat", a reply for "voice", a
    request for the others. `after` is what still works then: seconds of the utterance's audio or
    of the reply's, or words of a written answer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    on: str = ""
    """The operation; empty: any."""
    turn: int = Field(1, ge=1)
    times: int = Field(1, ge=0)
    """0: for good."""
    after: float = Field(0.0, ge=0)
    status: int = Field(500, ge=400, le=599)
    every: float = Field(1.0, gt=0)
    """Seconds."""
    when: str = ""
    """Only where the request says this: a part of what is to be spoken or answered."""


class Faults:
    """The script of one stand-in. It can be changed while calls run."""

    def __init__(self, script: Iterable[Fault] = ()) -> None:
        self.struck: list[Fault] = []
        """The faults that struck, each time that they did."""
        self._script: list[Fault] = []
        self._left: list[int] = []
        self.add(*script)

    def add(self, *script: Fault) -> None:
        """Go on with these too; the first that fits strikes."""
        self._script += script
        self._left += [fault.times or -1 for fault in script]

    def clear(self) -> None:
        """From now on all is well."""
        self._script.clear()
        self._left.clear()

    def strike(self, on: str, turn: int, text: str = "", *, refusal: bool) -> Fault | None:
        """The fault of the `turn`-th occasion of an operation, if there is one; it is counted.

        `refusal` tells the faults that strike before an answer from those within it.
        """
        for place, fault in enumerate(self._script):
            fits = fault.on in ("", on) and turn >= fault.turn and fault.when in text
            if self._left[place] and fits and (fault.kind in REFUSALS) is refusal:
                self._left[place] -= 1
                self.struck.append(fault)
                return fault
        return None


class Pace(BaseModel):
    """How fast a healthy stand-in is. Seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connect: float = Field(0.0, ge=0)
    """From a request or handshake to its acceptance."""
    first: float = Field(0.05, ge=0)
    """From what was asked to the first piece of the answer."""
    each: float = Field(0.0, ge=0)
    """From one piece to the next."""
    word: float | None = Field(None, ge=0)
    """From one word of a language model to the next, where that differs."""
