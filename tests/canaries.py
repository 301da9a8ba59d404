"""Canary secrets: a run of the tests fails when one is found where secrets must not be.

    SECRET = canaries.secret()

is random and recognisable, also in the output of other processes. What the product makes itself
(a key that it generated) is watched for as well, from the moment that a test says so:

    canaries.guard(key)

The search is in `tests/canary_watch.py`; a test that reads a process line by line calls `look`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

MARK = "CANARY"
_TEXT = re.compile(MARK + r"[0-9a-f]{40}")
_BYTES = re.compile(_TEXT.pattern.encode())

_guarded: set[str] = set()
watchers: list[Callable[[str, str | bytes], None]] = []
"""Told what is to be searched, and where it comes from."""


def secret() -> str:
    """A new secret of 46 characters, long enough for every signature."""
    return MARK + secrets.token_hex(20)


def guard(known: str) -> str:
    """Watch for this secret from now on: the secret."""
    _guarded.add(known)
    return known


def is_in(text: str | bytes) -> bool:
    """Whether there is a canary in the text."""
    if isinstance(text, bytes):
        return bool(_BYTES.search(text)) or any(known.encode() in text for known in _guarded)
    return bool(_TEXT.search(text)) or any(known in text for known in _guarded)


def look(where: str, text: str | bytes) -> None:
    """Search what only the running test sees: the output of a process that it reads by lines."""
    for watcher in watchers:
        watcher(where, text)
