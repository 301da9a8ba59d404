"""A webhook's body without what must not be kept: callers' numbers, keys, passwords.

A caller's number becomes the pseudonym under which the call log knows the caller.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from agent import log
from agent.pseudonym import Pseudonyms

HIDDEN = "[hidden]"

SECRET = re.compile(
    r"secret|password|passphrase|credential|token|access_?key|account_?key|stream_?key|private_?key"
    r"|api_?key|authorization",
    re.IGNORECASE,
)
"""Names of fields (and of SIP headers kept as attributes) whose values are never kept."""

PERSONAL = frozenset(
    "identity name metadata participantIdentity participantName"
    " participant_identity participant_name".split()
)
"""Fields in which whoever joins is named: a telephone by its number."""

ROOM_NAMES = frozenset({"name", "roomName", "room_name"})
"""A dispatch rule may put the caller's number into the room's name."""

NUMBERS = frozenset({"sip.phoneNumber", "sip.fromUser", "sip.from"})
"""Attributes that are a caller's number."""

HEADER = "sip.h."
"""Begins the attributes that are SIP headers; `Remote-Party-ID` is a number for all its name."""

OURS = frozenset({"sip.trunkPhoneNumber"})
"""Attributes that hold a number of our own."""

WRITTEN = re.compile(r"\+?\(?[0-9](?:[ \xa0().‐-―-]{0,3}[0-9]){6,}")
"""A number as people write it, with spaces, brackets and hyphens: SIP headers are full of them."""

URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s\"'<>]+", re.IGNORECASE)

PEOPLE = frozenset({"participant"})
"""Where `name` is that of a person; a room's or a track's is not."""


def redacted(body: dict[str, Any], pseudonyms: Pseudonyms) -> dict[str, Any]:
    """The body (as JSON) as it may be kept."""
    cleaned: dict[str, Any] = _object(body, pseudonyms, inside="")
    return cleaned


def _object(told: dict[str, Any], pseudonyms: Pseudonyms, inside: str) -> dict[str, Any]:
    return {key: _value(key, value, pseudonyms, inside) for key, value in told.items()}


def _value(key: str, value: Any, pseudonyms: Pseudonyms, inside: str) -> Any:
    match value:
        case dict() if key == "attributes":
            return {name: _attribute(name, text, pseudonyms) for name, text in value.items()}
        case str() | dict() | list() if SECRET.search(key):
            return _hidden(value)
        case dict():
            return _object(value, pseudonyms, inside=key)
        case list():
            return [_value(key, item, pseudonyms, inside) for item in value]
        case str():
            return _text(key, value, pseudonyms, inside)
        case _:
            return value


def _text(key: str, value: str, pseudonyms: Pseudonyms, inside: str) -> str:
    if key in PERSONAL and (key != "name" or inside in PEOPLE):
        return _of_people(value, pseudonyms)
    return value if _is_plain(key, value) else log.clean(without_keys(value))


def _is_plain(key: str, value: str) -> bool:
    """Whether it is an id or a number: times and sizes are texts of digits in protobuf's JSON."""
    return key.endswith(("id", "Id", "_id")) or (value.isdigit() and key not in ROOM_NAMES)


def _hidden(value: Any) -> Any:
    """Nothing of what it says, in the same shape: the event can still be read."""
    match value:
        case str():
            return HIDDEN if value else value
        case dict():
            return {key: _hidden(item) for key, item in value.items()}
        case list():
            return [_hidden(item) for item in value]
        case _:
            return value


def _attribute(name: str, text: Any, pseudonyms: Pseudonyms) -> Any:
    if not isinstance(text, str) or name in OURS:
        return text
    if SECRET.search(name):
        return HIDDEN
    if name in NUMBERS:
        return pseudonyms.of_number(text) or HIDDEN
    is_id = name.lower().endswith("id") and not name.startswith(HEADER)
    return pseudonyms.within(text) if is_id else _of_people(text, pseudonyms)


def _of_people(text: str, pseudonyms: Pseudonyms) -> str:
    """The text with each number in it replaced, however it is written, and without keys."""
    numbered = WRITTEN.sub(
        lambda found: pseudonyms.of_number(found[0]) or HIDDEN, without_keys(text)
    )
    return log.clean(numbered)


def without_keys(text: str) -> str:
    """Each URL in it without password and query, and an RTMP one without its end: the key."""
    return URL.sub(lambda found: _bare(found[0]), text)


def _bare(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return HIDDEN
    path = parts.path
    if parts.scheme in {"rtmp", "rtmps", "srt", "mux", "twitch"}:
        path = f"{path.rpartition('/')[0]}/{HIDDEN}" if path.strip("/") else path
    query = HIDDEN if parts.query else ""
    return urlunsplit((parts.scheme, host, path, query, ""))
