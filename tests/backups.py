"""An installation with something of everything that a backup holds, and its rows and files."""

from __future__ import annotations

import shutil
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from agent.call import EndReason
from agent.events import (
    CallEnded,
    CallerJoined,
    CallOpened,
    RecordingAsked,
    RecordingMade,
    TurnCommitted,
    TurnFinished,
)
from agent.pseudonym import Pseudonyms
from agent.store import CallLog, engine
from agent.store.access import Access, RevocationRow
from agent.store.tables import metadata
from config.settings import load
from ops.front.clients import new_key
from ops.upkeep import backup
from ops.upkeep.shelf import Shelf
from ops.upkeep.sources import PARTS
from tests import canaries

KEY = canaries.secret()
NUMBER, OTHER = "+15550142", "+15550143"
NOON = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
CALL, LATER, OPEN = "e1" * 16, "e2" * 16, "e3" * 16
WORDS = "my very own words"


def variables(folder: Path, **more: str) -> dict[str, str]:
    """The environment of an installation that keeps everything in `folder`."""
    return {
        "VOICE_AGENT_CONFIG": str(folder / "etc" / "agent.yaml"),
        "VOICE_AGENT__PERSONAS__FOLDER": str(folder / "etc" / "personas"),
        "VOICE_AGENT__DATA__FOLDER": str(folder / "data"),
        "VOICE_AGENT__STORE__URL": f"sqlite:///{folder}/data/calls.db",
        "VOICE_AGENT__RECORDING__STORAGE__FOLDER": str(folder / "kept"),
        "VOICE_AGENT__SERVE__CLIENT_KEY_FILE": str(folder / "data" / "client-key"),
        "VOICE_AGENT__LOG__FOLDER": str(folder / "logs"),
        "VOICE_AGENT__BACKUP__FOLDER": str(folder / "backups"),
        "VOICE_AGENT__BACKUP__KEY": KEY,
        **more,
    }


def configure(folder: Path) -> None:
    """Write its configuration."""
    (folder / "etc" / "personas").mkdir(parents=True, exist_ok=True)
    (folder / "etc" / "agent.yaml").write_text("call: {caller_timeout: 31}\n")
    persona = Path(__file__).parents[1] / "config" / "personas" / "en.yaml"
    shutil.copy(persona, folder / "etc" / "personas" / "en.yaml")


def settings(folder: Path, **more: str):
    """Its settings."""
    return load(environ=variables(folder, **more))


def make(of, parts=PARTS):
    """A backup, as the command makes it."""
    shelf = Shelf(of.backup.folder)
    with shelf.locked():
        return backup.make(of, parts)


def call(call_id: str, number: str, at: datetime, *, ended: bool = True, uri: str = ""):
    """The events of one call."""
    key = {"call_id": call_id}
    room = {"room": f"room-{call_id[:4]}", "room_sid": f"RM_{call_id[:6]}"}
    told = {"job_id": "J", "agent_name": "a", "pid": 1}
    name = Pseudonyms(b"salt").of_number(number)
    events = [
        CallOpened(**key, seq=1, at=at, **room, **told),
        CallerJoined(**key, seq=2, at=at, identity="sip", number=name, persona="en"),
        TurnCommitted(**key, seq=3, at=at + timedelta(seconds=2), turn=1, user_text=WORDS),
        TurnFinished(**key, seq=4, at=at, turn=1, agent_text="Ää 1\t\\N\n.", latency=0.1 + 0.2),
    ]
    of_file = {"recording": f"{call_id}-own", "uri": uri}
    asked = {"by": "worker", "what": "room-audio", "output": "ogg", "persona": "en"}
    if uri:
        events.append(RecordingAsked(**key, seq=5, at=at, **of_file, **asked))
        made = {"channels": 2, "duration": 1.5, "size": 5}
        events.append(RecordingMade(**key, seq=6, at=at, **of_file, **made))
    if ended:
        cost = {"total": "0.07", "currency": "USD"}
        reason = EndReason.CALLER_HANGUP
        end = at + timedelta(seconds=9)
        events.append(CallEnded(**key, seq=7, at=end, reason=reason, cost=cost))
    return events


def fill(folder: Path, url: str = "") -> None:
    """Let it have had calls, one of which goes on."""
    configure(folder)
    data, kept, logs = (folder / name for name in ("data", "kept", "logs"))
    for place in (data / "keys", data / "spool", kept / "hls", logs):
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
    sound = kept / f"{CALL}-own.ogg"
    for path, content in (
        (sound, b"OggS sound"),
        (kept / "hls" / "0001.ts", b"segment"),
        (kept / f"{OPEN}-own.ogg.part", b"OggS begun"),
        (logs / "worker.log", b'{"message":"ready"}\n'),
        (data / "caller_salt", b"salt"),
        (data / "client-key", b"a client's key"),
        (data / "keys" / "APIold.key", b"APIold: " + b"s" * 40),
        (data / "spool" / f"{'ab' * 16}.jsonl", b"{}\n"),
    ):
        path.write_bytes(content)
        path.chmod(0o600)
    log = CallLog.open(url or f"sqlite:///{data}/calls.db")
    log.apply("w/1", call(CALL, NUMBER, NOON, uri=sound.as_uri()))
    log.apply("w/1", call(LATER, OTHER, NOON + timedelta(hours=1)))
    log.apply("w/1", call(OPEN, OTHER, NOON + timedelta(hours=2), ended=False))
    row, _ = new_key("a desk", ["tokens"])
    Access(log.engine).add_key(row)
    log.audit("somebody", "sip.create", "trunk", "here: ops sip apply")
    log.close()


def revocation(id_: str) -> RevocationRow:
    """A token that was revoked, and would live for a year more."""
    at = datetime.now(UTC)
    return RevocationRow(
        id=id_, kind="token", room="r", revoked_at=at, expires_at=at + timedelta(days=365)
    )


def rows(url: str, *, without: tuple[str, ...] = ()) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table but these, in one order."""
    opened = engine.open_engine(url, readonly=True)
    try:
        return {
            table.name: engine.read(
                opened,
                lambda connection, table=table: sorted(
                    map(tuple, connection.execute(select(table)).all()), key=repr
                ),
            )
            for table in metadata.sorted_tables
            if table.name not in without
        }
    finally:
        opened.dispose()


def tree(*folders: Path) -> dict[str, tuple[bytes, int, int]]:
    """Every file below these: content, mode and time; not the database, and no locks."""
    return {
        str(path): (path.read_bytes(), stat.S_IMODE(path.stat().st_mode), path.stat().st_mtime_ns)
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".db" not in path.name and path.suffix != ".lock"
    }


def wipe(folder: Path) -> None:
    """Everything is gone but the backups."""
    for name in ("data", "etc", "kept", "logs"):
        shutil.rmtree(folder / name, ignore_errors=True)
