"""Is the caller's turn over? What the text says so far decides how long a silence may be.

A plainly finished sentence is answered at once; an open phrase ("I would like to know") or an
unfinished number waits. `kind_of` is pure, so that it can be improved and measured alone;
`TextEndpointing` gives it to the framework as a turn detector. Silence itself is heard by the VAD.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from itertools import pairwise

from livekit.agents import LanguageCode
from livekit.agents.llm import ChatContext, ChatMessage

from agent.language import GRAMMARS, Grammar
from config.persona import TurnTaking

LATE = 2.5
"""Seconds that words are waited for which are known to come."""


class Kind(StrEnum):
    """How finished what the caller said looks."""

    FINISHED = "finished"
    UNCLEAR = "unclear"
    OPEN = "open"
    NUMBER = "number"


def kind_of(text: str, language: str) -> Kind:
    """Judge `text`, all that the caller has said in this turn, in `language` ("en", "ru")."""
    grammar = GRAMMARS.get(language, GRAMMARS["en"])
    words = re.findall(r"[\w'-]+", text.lower().replace("ё", "е"))
    if (run := _number_at_the_end(words, grammar)) and _is_spelling(words, run, grammar):
        return Kind.FINISHED if run >= grammar.complete_number else Kind.NUMBER
    if _is_embedded_question(words, grammar):
        return Kind.FINISHED
    if tuple(words) in grammar.short_answers:
        return Kind.FINISHED
    if _is_open(words, grammar):
        return Kind.OPEN
    if text.rstrip().endswith(("?", ".", "!")) or _is_question(words, grammar):
        return Kind.FINISHED
    return Kind.FINISHED if _ends_with(words, grammar.closing_phrases) else Kind.UNCLEAR


def _number_at_the_end(words: list[str], grammar: Grammar) -> int:
    """How many digits the number at the end has so far; 0 when there is none."""
    run = 0
    for word in reversed(words):
        if word.isdigit():
            run += len(word)
        elif word in grammar.digits:
            run += 1
        else:
            break
    return run


def _is_spelling(words: list[str], run: int, grammar: Grammar) -> bool:
    """Digits alone, several of them, or digits after a word such as "number": a spelled number.

    One digit at the end of a sentence ("a table for two") is no spelling.
    """
    return run > 1 or len(words) == 1 or not grammar.number_words.isdisjoint(words)


def _is_open(words: list[str], grammar: Grammar) -> bool:
    openers = grammar.open_words | grammar.questions | grammar.auxiliaries
    return bool(words) and (words[-1] in openers or _ends_with(words, grammar.open_phrases))


def _is_question(words: list[str], grammar: Grammar) -> bool:
    """A question word with something after it, or "can you", "is there"."""
    if len(words) < grammar.shortest_question:
        return False
    return not grammar.questions.isdisjoint(words[:-1]) or any(
        word in grammar.auxiliaries and follower in grammar.subjects
        for word, follower in pairwise(words)
    )


def _is_embedded_question(words: list[str], grammar: Grammar) -> bool:
    """A question inside a statement ends with its verb: "what your opening hours are".

    So does one that the recogniser hears twice: "what are your opening hours are".
    """
    return (
        bool(words)
        and words[-1] in grammar.auxiliaries
        and any(
            word in grammar.questions | grammar.auxiliaries and follower in grammar.subjects
            for word, follower in pairwise(words[:-1])
        )
    )


def _ends_with(words: list[str], phrases: frozenset[tuple[str, ...]]) -> bool:
    return any(tuple(words[-len(phrase) :]) == phrase for phrase in phrases)


class TextEndpointing:
    """The framework's turn detector protocol over `kind_of`.

    The framework waits its minimum delay after the end of speech (set to `patience.finished`)
    and asks for a probability meanwhile; longer patience is slept here, where new speech cancels
    it, so that one session can have four patiences and not only two.
    """

    model = "text"
    provider = "voice-ai"

    def __init__(
        self,
        language: str,
        patience: TurnTaking,
        understood: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        """`understood` waits, so many seconds at most, for words that are about to come."""
        self._language = language
        self._patience = patience
        self._understood = understood
        self._silent_since: float | None = None

    def speech_ended(self, ago: float) -> None:
        """Tell that the caller fell silent `ago` seconds before now."""
        self._silent_since = time.monotonic() - ago

    async def supports_language(self, language: LanguageCode | None) -> bool:  # noqa: ARG002
        """Every language has a grammar, English at worst."""
        return True

    async def unlikely_threshold(self, language: LanguageCode | None) -> float | None:  # noqa: ARG002
        """Half: this detector answers 1 after its wait."""
        return 0.5

    async def predict_end_of_turn(
        self,
        chat_ctx: ChatContext,
        *,
        timeout: float | None = None,  # noqa: ASYNC109, ARG002 - the protocol's
    ) -> float:
        """Return 1.0 once the silence is as long as the phrase deserves."""
        if self._understood is not None:
            # The rest of the sentence is under way: it will begin this decision anew.
            await self._understood(LATE)
        kind = kind_of(_last_words(chat_ctx), self._language)
        waited = time.monotonic() - self._silent_since if self._silent_since else 0.0
        await asyncio.sleep(max(0.0, getattr(self._patience, kind.value) - waited))
        return 1.0


def _last_words(chat_ctx: ChatContext) -> str:
    for item in reversed(chat_ctx.items):
        if isinstance(item, ChatMessage) and item.role == "user":
            return item.text_content or ""
    return ""
