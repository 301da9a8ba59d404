"""E-mail addresses in a text, written or spoken, in English and Russian. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agent.spoken import (
    ABSTRACT_DOT,
    AT,
    BEFORE_ADDRESS,
    DOT,
    JOINT,
    POSTS,
    TOP,
    TOP_OF_POST,
    Word,
    is_number_word,
    words_of,
)

LONGEST_NAME = 5
"""Words before a spoken "at" that may belong to the address."""

_ADDRESS = re.compile(r"[\w.+-]+\s?@\s?[\w-]+(?:\s?\.\s?[\w-]+)*\s?\.\s?[\d_-]*[^\W\d_][\w-]*")


def without_addresses(text: str, instead: str) -> str:
    """Replace "a@b.com", "anna dot smith at example dot com" and "анна собака пример точка ру"."""
    text = _ADDRESS.sub(instead, text)
    words = words_of(text)
    for position in range(len(words) - 2, 0, -1):
        if words[position].text not in AT:
            continue
        last = _domain_end(words, position + 1)
        if last is None:
            continue
        first = _name_begin(words, position, text)
        text = f"{text[: words[first].start]}{instead}{text[words[last].end :]}"
    return text


def _domain_end(words: Sequence[Word], first: int) -> int | None:
    """The last word of "example dot com" or "gmail com"; None when this is no domain."""
    last = None
    position = first
    while position + 1 < len(words) and _is_part(words[position]):
        sign = words[position + 1]
        if _is_bare_top(words[position], sign):
            return position + 1
        if position + 2 == len(words):
            break
        follower = words[position + 2]
        is_dot = sign.text in DOT or (sign.text == "." and sign.end == follower.start)
        if not (is_dot or sign.text in JOINT or sign.text == "-") or not _is_part(follower):
            break
        if is_dot and _is_top(sign, follower):
            last = position + 2
        position += 2
    return last


def _is_bare_top(before: Word, word: Word) -> bool:
    """Whether a domain ends here that was said without its dot."""
    if before.text in POSTS:
        return word.text in TOP_OF_POST
    return word.text in TOP and before.text not in BEFORE_ADDRESS


def _is_top(dot: Word, word: Word) -> bool:
    """Whether the last label may be this: letters, not "at 9.30" or "at three point five"."""
    if dot.text == ABSTRACT_DOT:
        return word.text in TOP_OF_POST
    return not word.text.isdecimal() and not is_number_word(word.text)


def _name_begin(words: Sequence[Word], at: int, text: str) -> int:
    """The first word of the name before "at": what is spelled and joined, up to other words."""
    first = at - 1
    while first > 0 and at - first < LONGEST_NAME * 2:
        before = words[first - 1]
        gap = text[before.end : words[first].start]
        if before.text in BEFORE_ADDRESS or not (_is_part(before) or before.text in "._-+"):
            break
        if before.text == "." and gap.isspace():  # the end of a sentence
            break
        first -= 1
    return first


def _is_part(word: Word) -> bool:
    return word.text.isalnum() or "'" in word.text
