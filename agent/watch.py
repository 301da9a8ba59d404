"""When the caller has been silent for too long, or the call has lasted too long: a pure core.

It is told what happens and asked what is due. The silence of the caller is counted from
transcripts, so that noise cannot defeat it.
"""

from __future__ import annotations

from enum import StrEnum

from config.persona import Limits

LONGEST_UNHEARD = 30.0
"""Seconds of voice without a transcript that hold the silence timers: then it counts as noise."""

TRANSCRIPT_GRACE = 2.0
"""Seconds after the end of speech in which its transcript may still come."""


class Due(StrEnum):
    """What the watch asks for. The values are names of phrases."""

    PROMPT = "still_there"
    SECOND_PROMPT = "still_there_again"
    SILENCE = "silence_farewell"
    WARNING = "duration_warning"
    DURATION = "duration_farewell"


class Watch:
    """The timers of one call, on a clock that the caller passes in (seconds)."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._answered_at = now
        self._quiet_since = now
        self._agent_busy = False
        self._held = False
        self._speaking_since: float | None = None
        self._spoke_until = now
        self._unheard_speech = 0.0
        self._stage = 0
        self._warned = False
        self._over = False

    def caller_spoke(self, now: float) -> None:
        """The caller said something that was understood, or pressed a key."""
        self._quiet_since = now
        self._unheard_speech = 0.0
        self._stage = 0

    def caller_is(self, speaking: bool, now: float) -> None:  # noqa: FBT001 - a state
        """The caller's voice, or a noise that looks like one, begins or ends."""
        if speaking:
            self._speaking_since = now
        elif self._speaking_since is not None:
            self._unheard_speech += now - self._speaking_since + TRANSCRIPT_GRACE
            self._speaking_since, self._spoke_until = None, now

    def hold(self, held: bool, now: float) -> None:  # noqa: FBT001 - a state
        """While held (a transfer rings), nothing is due; then silence counts from now."""
        self._held = held
        self._quiet_since = now

    def agent_is(self, busy: bool, now: float) -> None:  # noqa: FBT001 - a state, not an option
        """The agent speaks or thinks (`busy`), or waits for the caller."""
        self._agent_busy = busy
        self._quiet_since = now

    def agent_is_heard(self, now: float) -> None:
        """The caller hears the agent at `now`, whatever state the agent is in."""
        self._quiet_since = now

    def due(self, now: float) -> Due | None:
        """What is to be done now; each is said once. After a farewell nothing is due."""
        if self._over or self._held:
            return None
        age = now - self._answered_at
        if age >= self._limits.max_duration:
            self._over = True
            return Due.DURATION
        if not self._warned and age >= self._limits.max_duration - self._limits.duration_warning:
            self._warned = True
            return Due.WARNING
        if self._agent_busy or self._caller_may_be_speaking(now):
            return None
        return self._silence_due(now)

    def _caller_may_be_speaking(self, now: float) -> bool:
        """Whether a voice is heard that a transcript may follow; noise is believed for a while."""
        spoken = now - self._speaking_since if self._speaking_since is not None else 0.0
        if self._unheard_speech + spoken > LONGEST_UNHEARD:
            return False
        return self._speaking_since is not None or now - self._spoke_until < TRANSCRIPT_GRACE

    def _silence_due(self, now: float) -> Due | None:
        limits = self._limits
        stages = (
            (limits.silence_prompt, Due.PROMPT),
            (limits.silence_second, Due.SECOND_PROMPT),
            (limits.silence_goodbye, Due.SILENCE),
        )
        patience, due = stages[self._stage]
        if now - self._quiet_since < patience:
            return None
        self._quiet_since = now
        self._stage += 1
        self._over = due is Due.SILENCE
        return due
