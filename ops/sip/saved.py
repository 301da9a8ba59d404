"""States of the server that were saved before a change: `data/sip/back-TIMESTAMP.yaml`.

They hold secrets where the server tells them, so that only their owner may read them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from config.yamlfile import read_yaml, shown
from ops.sip.server import SipError
from ops.sip.thing import Kind, Thing

KEPT = ("id", "name", "owner", "seal")


def save(things: Sequence[Thing], url: str, owner: str, folder: Path) -> Path:
    """Write the state; mode 0600 from its first byte. Raises SipError when it cannot."""
    now = datetime.now(UTC)
    state: dict[str, Any] = {"saved_at": now.isoformat(), "server": url, "owner": owner}
    for kind in Kind:
        state[kind.value] = [
            {**{key: getattr(thing, key) for key in KEPT}, "fields": dict(thing.fields)}
            for thing in things
            if thing.kind is kind
        ]
    path = folder / f"back-{now:%Y%m%dT%H%M%S.%fZ}.yaml"
    text = yaml.safe_dump(state, sort_keys=False, allow_unicode=True)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise SipError(
            f"{shown(path)}: the state before cannot be saved: {error.strerror}"
        ) from None
    return path


def load(path: Path) -> tuple[str, str, list[Thing]]:
    """The server's URL, the owner and the things of a saved state.

    Raises SettingsError when the file cannot be read, SipError when it is no saved state.
    """
    state = read_yaml(path).data
    try:
        things = [
            Thing(kind, fields=one["fields"], **{key: one[key] for key in KEPT})
            for kind in Kind
            for one in state[kind.value]
        ]
        return state["server"], state["owner"], things
    except (KeyError, TypeError):
        raise SipError(f"{shown(path)}: not a state that `sip apply` saved") from None


def newest(folder: Path) -> Path:
    """The newest saved state. Raises SipError when there is none."""
    files = sorted(folder.glob("back-*.yaml"))
    if not files:
        raise SipError(f"{shown(folder)}: no saved state (files back-*.yaml)")
    return files[-1]
