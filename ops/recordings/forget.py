"""Forgetting a caller: recordings with their files, calls with their turns, rooms, webhooks.

The tombstone is in the database and in a file beside it, which a restored backup of the database
does not bring back: what returns with a backup is removed again by `obey`.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agent import log
from agent.call import now
from agent.durable import locked, write_all
from agent.errors import LiveKitError, ObjectStoreFailed, RecordingUnknown, VoiceAgentError
from agent.pseudonym import LENGTH, PSEUDONYM, Pseudonyms
from agent.store.forgetting import Forgetting, Remains, Tombstone
from agent.store.recordings import RecordingLogRow, Recordings
from config.settings import Settings
from ops.recordings.studio import Studio

logger = log.get(__name__)

FILE = "tombstones.jsonl"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was removed of one caller, or would be."""

    caller: str
    remains: Remains
    recordings: tuple[RecordingLogRow, ...]
    left: tuple[str, ...] = ()
    """Recordings that are still being made, or whose file could not be removed."""


def pseudonym(caller: str, settings: Settings) -> str:
    """What the record calls a caller, given by number or by pseudonym. Raises VoiceAgentError."""
    if re.fullmatch(rf"{PSEUDONYM}[0-9a-f]{{{LENGTH}}}", caller):
        return caller
    if sum(char.isdigit() for char in caller) < 5 or caller.startswith(PSEUDONYM):  # noqa: PLR2004 - no number is shorter
        raise VoiceAgentError(
            "CALLER: expected a phone number such as +15555550100, or a whole pseudonym (c-...)"
        )
    found = Pseudonyms.of(settings, readonly=True).of_number(caller)
    if not found:
        raise VoiceAgentError(
            "CALLER: there is no salt that callers' numbers were hashed with: set"
            " VOICE_AGENT__SECURITY__CALLER_SALT, or data.folder to the worker's"
        )
    return found


async def known_of(studio: Studio, caller: str, before: datetime) -> Forgotten:
    """What there is of the caller with this pseudonym. Changes nothing."""
    remains = await studio.database.run(lambda log: Forgetting(log.engine).remains(caller, before))
    made = await studio.database.run(lambda log: Recordings(log.engine).of_calls(remains.calls))
    return Forgotten(caller, remains, tuple(made))


async def forget(studio: Studio, caller: str, who: str, source: str) -> Forgotten:
    """Remove everything about the caller with this pseudonym, and leave the tombstone."""
    stone = Tombstone(caller, now())
    await _bury(studio, stone)
    await studio.audit(who, "forget caller", caller, source)
    return await _remove(studio, stone, who, source)


async def obey(studio: Studio, source: str = "ops") -> list[Forgotten]:
    """Remove what came back of callers who were forgotten, and even out the two lists of them."""
    kept = await studio.database.run(lambda log: Forgetting(log.engine).tombstones())
    stones: dict[str, Tombstone] = {}
    for stone in [*kept, *told_in_file(studio.settings)]:
        if stone.caller not in stones or stones[stone.caller].made_at < stone.made_at:
            stones[stone.caller] = stone
    again = []
    for stone in stones.values():
        if stone not in kept:
            await studio.database.run(lambda log, one=stone: Forgetting(log.engine).bury(one))  # type: ignore[misc]
        found = await known_of(studio, stone.caller, stone.made_at)
        if found.remains.calls or found.remains.rooms:
            await studio.audit("tombstone", "forget caller", stone.caller, source)
            again.append(await _remove(studio, stone, "tombstone", source))
    for stone in set(stones.values()) - set(told_in_file(studio.settings)):
        _write(studio.settings, stone)
    return again


async def _remove(studio: Studio, stone: Tombstone, who: str, source: str) -> Forgotten:
    found = await known_of(studio, stone.caller, stone.made_at)
    left = []
    for row in found.recordings:
        try:
            if not await studio.delete(row.id, who, source):
                left.append(row.id)
        except RecordingUnknown:
            logger.debug("a sweep was faster", recording=row.id)
        except (ObjectStoreFailed, LiveKitError) as error:
            studio.alert("a recording is not deleted", row, str(error))
            left.append(row.id)
    removed = await studio.database.run(
        lambda log: Forgetting(log.engine).remove(stone.caller, stone.made_at)
    )
    return Forgotten(stone.caller, removed, found.recordings, tuple(left))


async def _bury(studio: Studio, stone: Tombstone) -> None:
    await studio.database.run(lambda log: Forgetting(log.engine).bury(stone))
    _write(studio.settings, stone)


def _write(settings: Settings, stone: Tombstone) -> None:
    """Raises VoiceAgentError: a tombstone that a backup would lose is none."""
    path = settings.data.folder / FILE
    line = json.dumps({"caller": stone.caller, "made_at": stone.made_at.isoformat()})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path, create=True) as file:
            write_all(file, f"{line}\n".encode())
    except OSError as error:
        raise VoiceAgentError(f"{path}: cannot be written: {error.strerror}") from None


def told_in_file(settings: Settings) -> list[Tombstone]:
    """The tombstones in the file beside the database."""
    return list(_read(settings.data.folder / FILE))


def _read(path: Path) -> Iterator[Tombstone]:
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_bytes().splitlines():
            try:
                told = json.loads(line)
                yield Tombstone(told["caller"], datetime.fromisoformat(told["made_at"]))
            except (ValueError, LookupError, TypeError):
                logger.error("a tombstone cannot be read", alert="tombstone", file=str(path))
