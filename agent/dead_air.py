"""How long has the caller been owed an answer? A pure core: it is told what happens and when.

Silence is owed from the caller's last word until the agent is heard. A filler breaks it once a
turn; an answer that does not come at all is apologised for.
"""

from __future__ import annotations

from enum import StrEnum

from config.persona import Limits

AFTER_COMMIT = 1.2
"""Seconds that a committed turn has at least, before a filler: the end of an open phrase was waited
for, and the answer may be about to come."""

LATEST = 2.5
"""Seconds of silence owed after which a filler waits for nothing: three are too many."""


class Owed(StrEnum):
    """What the caller has to hear now. The values are names of phrases."""

    FILLER = "filler"
    APOLOGY = "apology"


class DeadAir:
    """The silence that is owed in one call. Every `now` is seconds on one clock."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._since: float | None = None
        self._committed_at: float | None = None
        self._has_words = False
        self._is_caller_speaking = False
        self._is_audible = False
        self._is_held = False
        self._has_filled = False
        self._failed = ""

    def caller_is(self, speaking: bool, now: float) -> None:  # noqa: FBT001 - a state
        """The caller begins to speak, or fell silent at `now`."""
        self._is_caller_speaking = speaking
        if speaking:
            self._failed = ""
        elif not self._is_audible:
            self._since, self._has_filled = now, False

    def words_came(self) -> None:
        """Something of what the caller said was understood."""
        self._has_words = True

    def asked(self, now: float) -> None:
        """The caller's turn was committed."""
        self._committed_at = now
        if self._since is None:
            self._since, self._has_filled = now, False

    def agent_is(self, audible: bool, now: float) -> None:  # noqa: ARG002, FBT001 - a state
        """The agent's own words begin to be heard, or end."""
        self._is_audible = audible
        if audible:
            self._since = self._committed_at = None
            self._has_words = self._has_filled = False

    def hold(self, held: bool) -> None:  # noqa: FBT001 - a state
        """While held (a transfer rings), nothing is owed; afterwards nothing is left of before."""
        self._is_held = held
        self._since = self._committed_at = None
        self._failed = ""

    def failed(self, what: str) -> None:
        """Nobody is left who could answer: `what` (stt, llm or tts) has failed altogether."""
        self._failed = what

    @property
    def cause(self) -> str:
        """What an apology would be for."""
        return self._failed or "silence"

    def due(self, now: float) -> Owed | None:
        """What is due now; a filler is due once a turn, an apology until it is said."""
        if self._is_held or self._is_audible or self._is_caller_speaking:
            return None
        if self._failed:
            return Owed.APOLOGY
        if self._since is None or not (self._has_words or self._committed_at is not None):
            return None
        waited = now - self._since
        if self._committed_at is not None and waited >= self._limits.apology:
            return Owed.APOLOGY
        if self._has_filled or not self._limits.filler or not self._is_filler_time(now, waited):
            return None
        self._has_filled = True
        return Owed.FILLER

    def _is_filler_time(self, now: float, waited: float) -> bool:
        if waited >= max(self._limits.filler, LATEST):
            return True
        committed = self._committed_at is not None and now - self._committed_at >= AFTER_COMMIT
        return committed and waited >= self._limits.filler
