"""Text that comes in pieces becomes sentences, each as soon as it is complete.

The language model's half holds a sentence back until it is whole, so that nothing of a sentence
that breaks off is spoken; the voice's half takes a piece that ends like a sentence for one.
"""

from __future__ import annotations

import re

from livekit.agents import tokenize
from livekit.agents.tokenize import TokenData
from livekit.agents.tokenize.tokenizer import SentenceStream

_ENDS = re.compile(r"[.!?…][\"'»”’)\]]*\s*$")
_SPLIT = tokenize.blingfire.SentenceTokenizer(retain_format=True)
"""Sentences of 20 letters or more; a shorter one is said with the next."""


class Sentences:
    """Collects pieces of text and gives whole sentences back, with the spaces between them."""

    def __init__(self) -> None:
        self._rest = ""

    @property
    def rest(self) -> str:
        """What is not a whole sentence yet."""
        return self._rest

    def push(self, piece: str) -> list[str]:
        """The sentences that are known to be over: another one has begun behind them."""
        self._rest += piece
        *whole, self._rest = split(self._rest) or [""]
        return whole

    def push_whole(self, piece: str) -> list[str]:
        """As `push`, where pieces are expected to end with their sentences."""
        whole = self.push(piece)
        return [*whole, *self.flush()] if _ENDS.search(self._rest) else whole

    def flush(self) -> list[str]:
        """What is left: no more will come."""
        whole, self._rest = split(self._rest), ""
        return whole


def split(text: str) -> list[str]:
    """The sentences of `text`; joined, they are `text` again."""
    found: list[str] = []
    for sentence in _SPLIT.tokenize(text):
        core = sentence.strip()
        if not core:
            continue
        end = text.find(core) + len(core)
        while end < len(text) and text[end].isspace():
            end += 1
        found.append(text[:end])
        text = text[end:]
    if text and found:
        found[-1] += text
    elif text:
        found = [text]
    return found


def same(one: str, other: str) -> bool:
    """Whether two sentences are made of the same words."""
    return _words(one) == _words(other)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


class Whole(tokenize.SentenceTokenizer):
    """Takes every piece of text for a sentence: for plugins that a chain gives whole sentences."""

    def tokenize(self, text: str, *, language: str | None = None) -> list[str]:  # noqa: ARG002
        """One text, one sentence."""
        return [text]

    def stream(self, *, language: str | None = None) -> SentenceStream:  # noqa: ARG002
        """Pieces as they come."""
        return _Pieces()


class _Pieces(SentenceStream):
    closed = False

    def push_text(self, text: str) -> None:
        if text.strip():
            self._event_ch.send_nowait(TokenData(token=text.strip()))

    def flush(self) -> None:
        """Nothing is ever held back."""

    def end_input(self) -> None:
        self._do_close()
        self.closed = True

    async def aclose(self) -> None:
        self.end_input()
