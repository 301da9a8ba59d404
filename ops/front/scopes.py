"""What a client key may be allowed: the scopes by name, and the narrowed ones of tokens.

`tokens` lets in to ask for tokens of participants, viewers and admins. `tokens:KIND` names one
kind, `tokens:KIND:PATTERN` also the rooms (`*` and `?` are wildcards; `*` for KIND is what
`tokens` stands for). Rooms of live calls are open to a pattern that begins with their prefix, and
to `tokens:calls` beside another scope.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from agent.errors import VoiceAgentError
from config.errors import nearest
from config.rooms import ROOM_PREFIX

SCOPES: Mapping[str, str] = {
    "tokens": "tokens of participants, viewers and admins, for any room but those of live calls",
    "tokens:agent": "tokens of workers",
    "tokens:sip": "tokens that may place calls",
    "tokens:calls": "with another scope of tokens: rooms of live calls too",
    "tokens:attributes": "with another scope of tokens: attributes that begin sip., voice. or lk.",
    "recordings": "list, start, stop, show and delete recordings",
    "ingress": "create, update, list and delete ingresses",
    "calls": "list, show and end calls",
    "calls:transcripts": "with calls: what was said in them",
    "events": "send a worker's events",
    "incidents": "read and answer incidents",
    "metrics": "read /metrics",
    "health": "read the details of health",
    "admin": "all of these",
}
ORDINARY = ("participant", "viewer", "admin")
"""Kinds of tokens that the plain scope `tokens` may ask for."""

GUARDED = ("agent", "sip")
"""Kinds that need their own scope. They open no room."""


def check(scopes: Iterable[str]) -> tuple[str, ...]:
    """The scopes, each once. Raises VoiceAgentError for one that means nothing."""
    checked = tuple(dict.fromkeys(scope.strip() for scope in scopes))
    for scope in checked:
        _check(scope)
    if not checked:
        raise VoiceAgentError(f"--scope: at least one of {', '.join(SCOPES)}")
    return checked


def allows(held: Iterable[str], kind: str, room: str) -> bool:
    """Whether these scopes allow a token of `kind` for `room` (empty for agent and sip)."""
    held = tuple(held)
    if "admin" in held:
        return True
    live = room.startswith(ROOM_PREFIX)
    calls_too = "tokens:calls" in held
    for scope in held:
        noun, _, rest = scope.partition(":")
        asked, narrowed, pattern = rest.partition(":")
        if noun != "tokens" or not _is_kind(asked, kind):
            continue
        if not narrowed:
            pattern = "*"
        if live and not (calls_too or pattern.startswith(ROOM_PREFIX)):
            continue
        if fnmatchcase(room, pattern):
            return True
    return False


def _is_kind(asked: str, kind: str) -> bool:
    return kind in ORDINARY if asked in {"", "*"} else kind == asked


def _check(scope: str) -> None:
    if scope in SCOPES:
        return
    noun, _, rest = scope.partition(":")
    kind, narrowed, pattern = rest.partition(":")
    if noun == "tokens" and kind in {"*", *ORDINARY} and (not narrowed or pattern):
        return
    near = nearest(scope, SCOPES)
    hint = f"did you mean {near}?" if near else f"there are {', '.join(SCOPES)}"
    if noun == "tokens" and rest:
        hint = (
            f"tokens:KIND or tokens:KIND:ROOM_PATTERN, KIND one of *, {', '.join(ORDINARY)}"
            f" (or {', '.join(f'tokens:{kind}' for kind in GUARDED)})"
        )
    raise VoiceAgentError(f"--scope {scope!r} is not known: {hint}")
