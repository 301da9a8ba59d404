"""What the caller says while the agent speaks: a sound of listening, or the wish to speak.

"Uh-huh" and "yeah" do not take the turn: the agent goes on. A "yes" into the agent's last words is
an answer: it is held, and released if the agent falls silent right after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from agent.language import OVERLAP_NOISES

ANSWER_WINDOW = 1.2
"""Seconds between words said into the agent's speech and its end in which they are an answer."""


class Overlap:
    """Judges what is said over the agent in one call. Times are seconds on any one clock."""

    def __init__(self, backchannels: Iterable[str]) -> None:
        self._listening = OVERLAP_NOISES.union(backchannels)
        self._held = ""
        self._held_at = float("-inf")

    def is_listening(self, said: str, now: float) -> bool:
        """Whether `said` only shows that the caller listens. It is held for `answer`."""
        words = re.findall(r"[\w'-]+", said.lower())
        phrase = " ".join(words)
        if not words:
            return False
        if phrase not in self._listening and not self._listening.issuperset(words):
            self._held = ""  # "okay" was only the beginning of it
            return False
        self._held, self._held_at = phrase, now
        return True

    def answer(self, now: float) -> str:
        """The agent has finished at `now`: what was held and is an answer to it, or nothing."""
        held, self._held = self._held, ""
        if now - self._held_at > ANSWER_WINDOW or OVERLAP_NOISES.issuperset(held.split()):
            return ""
        return held
