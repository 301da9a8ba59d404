"""Texts that leave the house: without keys, passwords and callers' numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agent import log
from agent.redaction import CARD, PHONE, Redactor
from ops.webhooks.redaction import HIDDEN, SECRET, without_keys

LONGEST = 500
"""Characters of one text."""

_SECRET = re.compile(
    r"(?P<name>\b(?:password|passphrase|secret|token|api[_-]?key|authorization)\b\s*[=:]\s*"
    r"(?:bearer\s+)?|\bbearer\s+)\S+"
    r"|\b(?:vak_|sk-|xox[a-z]-|gh[a-z]_|AKIA)[A-Za-z0-9_-]{8,}",
    re.IGNORECASE,
)
"""What people paste: `password=...`, `Bearer ...`, and keys that tell what they are."""

_TECHNICAL = re.compile(
    r"((?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?(?![\d.])"  # an address, with its port
    r"|(?<![\d.+-])\d{1,6}\.\d+(?![\d.])"  # a figure
    r"|\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*[0-9])[0-9a-f]{8,32}\b)"  # an id of a call
)
"""Digits that are no telephone number."""


def safe(text: str) -> str:
    """The text as it may be sent and kept; one line, LONGEST characters at most."""
    text = "".join(char if char.isprintable() else " " for char in text).strip()
    text = _SECRET.sub(lambda found: f"{found['name'] or ''}{HIDDEN}", without_keys(text))
    redactor = Redactor({CARD, PHONE})
    parts = _TECHNICAL.split(text)
    parts[::2] = [redactor.text(log.clean(part)) for part in parts[::2]]
    text = "".join(parts)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def safe_values(about: Mapping[str, Any]) -> dict[str, str]:
    """What an alert is about, as texts; without what is personal or secret by its name."""
    return {
        name: safe(str(value))
        for name, value in about.items()
        if name not in log.PERSONAL and not SECRET.search(name) and value not in (None, "")
    }
