"""Keys for another telephone system: `1w2#` is 1, half a second, 2 and #. Pure."""

from __future__ import annotations

from agent.errors import KeysNotSent

CODES = {key: code for code, key in enumerate("0123456789*#ABCD")}
"""Event codes of RFC 4733, section 3.2."""

PAUSE = "w"
PAUSE_SECONDS = 0.5
BETWEEN = 0.3
"""Seconds from the beginning of one tone to the next: they last 0.25 s."""

MOST = 64
"""Keys and pauses at once, at most."""


def sequence(keys: str) -> list[tuple[str, float]]:
    """Each key with the seconds to wait before it. Raises KeysNotSent for what is no key."""
    if len(keys) > MOST:
        raise KeysNotSent(f"{MOST} keys at most")
    wait, steps = 0.0, []
    for key in keys.replace(" ", "").upper():
        if key == PAUSE.upper():
            wait += PAUSE_SECONDS
        elif key in CODES:
            steps.append((key, wait))
            wait = BETWEEN
        else:
            raise KeysNotSent("keys are 0 to 9, *, #, A to D, and w for half a second")
    if not steps:
        raise KeysNotSent("there is no key in it")
    return steps
