"""Trunks and rules in one shape, whether the file declares them or the server has them.

A Thing's fields are those of `config/sip.yaml`, without what is empty or a default of the
protocol, so that two of them can be compared. `ops.sip.wire` makes them of the API's messages.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from config.fields import Key
from config.references import is_secret

MARK, SEAL = "managed_by", "secrets"


class Kind(StrEnum):
    """What can be declared; the value is its list's key in the file."""

    INBOUND = "inbound_trunks"
    OUTBOUND = "outbound_trunks"
    RULE = "dispatch_rules"

    @property
    def noun(self) -> str:
        """`inbound trunk`."""
        return self.value.replace("_", " ").removesuffix("s")


@dataclass(frozen=True, slots=True)
class Thing:
    """A trunk or a rule. `trunks` of a rule holds names where they are ours, else ids."""

    kind: Kind
    name: str
    fields: Mapping[str, Any] = field(repr=False)
    owner: str = ""
    id: str = ""
    seal: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.kind.noun} {self.name or self.id}"


def leaves(value: Any, above: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every value with its key; a list of plain values is one value."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from leaves(inner, (*above, name))
        if not value and above:
            yield above, {}
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            yield from leaves(item, (*above, index))
    else:
        yield above, value


def secrets(fields: Mapping[str, Any]) -> dict[Key, Any]:
    """The secret values among the fields."""
    return {key: value for key, value in leaves(fields) if is_secret(key)}


def is_withheld(value: Any) -> bool:
    """Whether a server shows a secret without telling it: stars, or a word in angle brackets."""
    values = value if isinstance(value, list) else [value]
    return all(
        isinstance(text, str)
        and text != ""
        and (not text.strip("*") or (text.startswith("<") and text.endswith(">")))
        for text in values
    )


def seal(kind: Kind, name: str, fields: Mapping[str, Any]) -> str:
    """A fingerprint of a trunk's secrets, to see a change where the server does not tell them.

    Slow to guess from (scrypt, salted with the name). Rules have none: what stands in their
    metadata reaches everybody in the room, and a PIN of four digits could be guessed.
    """
    held = secrets(fields)
    if kind is Kind.RULE or not held:
        return ""
    told = json.dumps([[list(key), value] for key, value in sorted(held.items())])
    salt = f"voice-ai {kind} {name}".encode()
    return hashlib.scrypt(told.encode(), salt=salt, n=2**14, r=8, p=1, dklen=16).hex()
