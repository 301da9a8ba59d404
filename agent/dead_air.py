"""How long has the caller been owed an answer? A pure core: it is told what happens and when.

Silence is owed from the caller's last word until the agent is heard. A filler breaks it once a
turn; an answer that does not come at all is apologised for. Noise changes neither.
"""

from __future__ import annotations

from enum import StrEnum

from config.persona import Limits

AFTER_COMMIT = 1.2
"""Seconds that a committed turn has at least, before a filler: the end of an open phrase was waited
for, and the answer may be about to come."""

COMING = 0.8
"""Seconds in which what a model wrote is heard, if its voice is well: until then no filler. One
that has begun holds up the answer itself."""

LATEST = 2.5
"""Seconds of silence owed after which a filler waits for nothing: three are too many."""

LATEST_OF_WORDS = 2.2
"""The same while a model goes on writing what is not heard: its voice is slow or has failed."""

NOISE = 2.0
"""Seconds by which a voice without words puts an apology off: it may be noise."""

LONGEST_VOICE = 15.0
"""Seconds of a voice that is not understood, after which it is noise, words before it or not."""

LATEST_COMMIT = 6.0
"""Seconds after words over the agent's in which their turn is committed, if it ever is."""

LONGEST_STEP = 0.5
"""Seconds between two looks at the clock that count at most: more, and we stood still ourselves."""


class Owed(StrEnum):
    """What the caller has to hear now. The values are names of phrases."""

    FILLER = "filler"
    APOLOGY = "apology"


class RunningTime:
    """Seconds in which this process ran: no provider owes the time in which it stood still.

    It must be looked at more often than every `LONGEST_STEP`.
    """

    def __init__(self, now: float) -> None:
        self._seen = now
        self._lost = 0.0

    def at(self, now: float) -> float:
        """The running time when the clock shows `now`."""
        self._lost += max(0.0, now - self._seen - LONGEST_STEP)
        self._seen = now
        return now - self._lost


class DeadAir:
    """The silence that is owed in one call. Every `now` is seconds on one clock."""

    _since: float | None
    _committed_at: float | None
    _unbroken_since: float | None
    """From when silence is owed, while nothing at all was heard since."""
    _has_more: bool
    """Words came after the commit: the caller goes on."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._is_held = False
        self._is_caller_speaking = False
        self._silent_at = self._words_at = float("-inf")
        self._is_audible = False
        self._began_at = self._played_at = self._over_at = float("-inf")
        self._failed = ""
        self._failed_at = 0.0
        self._settle()

    def caller_is(self, speaking: bool, now: float) -> None:  # noqa: FBT001 - a state
        """The caller begins to speak, or fell silent at `now`."""
        self._is_caller_speaking = speaking
        self._forget_attempt()
        if speaking:
            self._began_at = now
            return
        if self._is_audible:
            self._over_at = now
            return
        self._silent_at = now
        if self._committed_at is None or self._has_more:
            self._owe(now)

    def words_came(self, now: float) -> None:
        """Something of what the caller said was understood."""
        self._has_words = True
        self._words_at = now
        self._failed = ""
        if self._committed_at is None or self._has_more:
            return
        self._has_more = True
        if self._since is not None and self._silent_at > self._since:
            self._owe(self._silent_at)

    def asked(self, now: float) -> None:
        """The caller's turn was committed. During a hold it is owed from its end."""
        self._has_more = self._is_unfinished = self._is_tools = False
        self._is_asked = True
        self._committed_at = now
        if self._since is None:
            self._owe(now)
            if now - self._over_at < LATEST_COMMIT:
                # Words over the agent's: that one was silent from when it was cut off.
                self._unbroken_since = max(self._over_at, self._played_at)
        self._over_at = float("-inf")

    def tool_done(self, now: float) -> None:
        """A tool that held has returned: the model answers next."""
        self.asked(now)
        self._is_tools = True

    def reply_over(self) -> None:
        """The model's reply has ended: after a tool it may have had nothing to say."""
        if self._is_tools and not self._is_caller_speaking:
            self._settle()

    def agent_is(self, audible: bool, now: float) -> None:  # noqa: ARG002, FBT001 - a state
        """The agent's own words begin to be heard, or end."""
        self._is_audible = audible
        if audible or self._is_unfinished:
            self._settle()

    def plays(self, now: float) -> None:
        """The agent's words are being heard."""
        self._played_at = now

    def sounds(self, now: float) -> float | None:
        """Anything of ours begins to be heard: the seconds of silence owed that this breaks.

        None where none were owed. A filler breaks the silence of its turn, and the answer that
        follows it none. While the caller goes on speaking, nothing is owed.
        """
        since = self._unbroken_since
        if (
            since is None
            or self._is_held
            or not (self._has_words or self._committed_at is not None)
        ):
            return None
        self._unbroken_since = None
        until = self._began_at if self._is_caller_speaking else now
        return max(0.0, until - since)

    def ends(self, now: float) -> float | None:
        """The call ends: the seconds of silence owed that nothing has broken."""
        return self.sounds(now) if self._committed_at is not None else None

    def stopped_short(self, now: float) -> None:
        """The agent fell silent at `now` in the middle of its words: the rest of them is owed."""
        self._is_audible = False
        self.asked(now)
        self._is_unfinished = self._has_filled = True  # no filler fits into an open reply

    def hold(self, held: bool, now: float) -> None:  # noqa: FBT001 - a state
        """While held (a transfer rings), nothing is owed; afterwards what was asked meanwhile."""
        self._is_held = held
        self._forget_attempt()
        asked, tools = self._is_asked and not held, self._is_tools
        self._settle()
        self._over_at = float("-inf")
        if asked:
            self.asked(now)
            self._is_tools = tools

    def failed(self, what: str, now: float) -> None:
        """Nobody is left who could answer: `what` (stt, llm or tts) has failed altogether."""
        self._failed, self._failed_at = what, now

    @property
    def cause(self) -> str:
        """What an apology would be for."""
        return self._failed or "silence"

    def due(self, now: float, *, since_written: float = float("inf")) -> Owed | None:
        """What is due now; a filler is due once a turn, an apology until it is said.

        `since_written`: seconds since the model wrote something of an answer.
        """
        if self._is_held or self._is_audible:
            return None
        if self._is_failure_due(now):
            return Owed.APOLOGY
        if self._since is None or not (self._has_words or self._committed_at is not None):
            return None
        waited = now - self._since
        if self._committed_at is not None and waited >= self._apology_after(now):
            return Owed.APOLOGY
        is_open = not self._is_caller_speaking and not self._has_filled
        if is_open and self._is_filler_time(now, waited, is_coming=since_written < COMING):
            self._has_filled = True
            return Owed.FILLER
        return None

    def _owe(self, since: float) -> None:
        self._since, self._has_filled = since, False
        self._unbroken_since = since

    def _settle(self) -> None:
        """Nothing is owed any more."""
        self._since = self._committed_at = self._unbroken_since = None
        self._has_words = self._has_filled = False
        self._has_more = False
        self._is_asked = self._is_tools = self._is_unfinished = False

    def _forget_attempt(self) -> None:
        """What failed was an answer to less than the caller has said. Dead ears stay dead."""
        if self._failed != "stt":
            self._failed = ""

    def _is_failure_due(self, now: float) -> bool:
        if self._failed == "stt":
            return not self._is_caller_speaking or now - self._failed_at >= self._limits.apology
        # Before the commit it was an early attempt, which may be thrown away.
        is_early = self._has_words and self._since is not None and self._committed_at is None
        return bool(self._failed) and not self._is_caller_speaking and not is_early

    def _apology_after(self, now: float) -> float:
        if not self._is_caller_speaking:
            return self._limits.apology
        goes_on = self._has_more and now - self._words_at < LONGEST_VOICE
        return float("inf") if goes_on else self._limits.apology + NOISE

    def _is_filler_time(self, now: float, waited: float, *, is_coming: bool) -> bool:
        if not self._limits.filler:
            return False
        if waited >= max(self._limits.filler, LATEST):
            return True
        committed = self._committed_at is not None and now - self._committed_at >= AFTER_COMMIT
        patience = max(self._limits.filler, LATEST_OF_WORDS) if is_coming else self._limits.filler
        return committed and waited >= patience
