"""What a recovery did: a JSON file that is written after every step, and the audit trail.

The call log may be what is broken: what it could not take is written to it at the end, if it is
back by then. The file has it all in any case.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.call import now
from agent.errors import StoreError, VoiceAgentError
from config.settings import Settings
from ops.audit import auditor
from ops.printing import as_text
from ops.recovery.situation import is_new

FOLDER = "recovery"
"""In the data folder."""

LOCK = ".lock"


class RecoveryRefused(VoiceAgentError):
    """Nothing was done."""


class Journal:
    """The record of one run."""

    def __init__(self, settings: Settings) -> None:
        """Begin it. Raises RecoveryRefused: what cannot be written down is not done."""
        self._settings = settings
        began = now()
        folder = settings.data.folder / FOLDER
        self.path = folder / f"{began:%Y%m%dT%H%M%S}-{os.getpid()}.json"
        self.told: dict[str, Any] = {"began": began, "steps": [], "healed": None, "in_audit": True}
        self._owed: list[tuple[str, str]] = []
        self._write()

    def note(self, **about: Any) -> None:
        """Keep something about the whole run."""
        self.told |= about
        self._write()

    async def step(self, told: Mapping[str, Any]) -> None:
        """Keep what a step did, or is about to do: the last word about a step counts."""
        steps = [one for one in self.told["steps"] if one["step"] != told["step"]]
        self.told["steps"] = [*steps, dict(told)]
        self._write()
        if told["outcome"] != "skipped":
            self._owed.append((f"recover.{told['step']}", f"{told['outcome']}: {told['told']}"))
            await self._audit()

    async def close(self) -> None:
        """Write what the audit trail has missed, if it can be had now."""
        await self._audit()
        self.note(ended=now(), in_audit=not self._owed)

    async def _audit(self) -> None:
        if is_new(self._settings):
            return  # a recovery makes no database
        try:
            await asyncio.to_thread(self._pay)
        except StoreError:
            return  # tried again with the next step, and at the end

    def _pay(self) -> None:
        with auditor(self._settings, "recover") as audit:
            while self._owed:
                audit(*self._owed[0])
                self._owed.pop(0)

    def _write(self) -> None:
        draft = self.path.with_suffix(".tmp")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(as_text(self.told) + "\n", encoding="utf-8")
            draft.replace(self.path)
        except OSError as error:
            raise RecoveryRefused(
                f"{self.path}: cannot be written ({error.strerror}): what is done must be kept;"
                " nothing more is done"
            ) from None


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One recovery at a time in a data folder. Raises RecoveryRefused."""
    try:
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / FOLDER / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise RecoveryRefused(f"{folder}: cannot be written ({error.strerror})") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise RecoveryRefused("another recovery runs here: wait for its end") from None
    finally:
        os.close(lock)
