"""A restore brings back every row and file, or nothing; and nothing forgotten or revoked."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from pydantic import SecretStr

from agent.call import EndReason, now
from agent.pseudonym import Pseudonyms
from agent.store import CallLog
from agent.store.access import Access
from agent.store.forgetting import Forgetting, Tombstone
from agent.store.notices import SENT, Notices
from config.incidents import Channel, Contacts, Groups
from ops.incidents.desk import Desk, Fired
from ops.upkeep.shelf import Shelf
from tests import backups
from tests.backups import (
    CALL,
    LATER,
    NUMBER,
    OTHER,
    bring_back,
    files_of,
    make,
    rows,
    url_of,
    wipe,
)

pytest_plugins = ["tests.installed"]

AUDIT = ("audit_log",)


def test_every_row_and_file_comes_back_after_everything_is_gone(installed):
    settings = backups.settings(installed)
    made = make(settings)
    had, files = rows(url_of(installed), without=AUDIT), files_of(installed)
    wipe(installed)
    done = bring_back(settings)
    assert rows(url_of(installed), without=AUDIT) == had
    assert files_of(installed) == files
    # All that there was is the configuration of the checkout.
    assert (done.before.parts, done.database) == (("config",), True)
    log = CallLog.open(url_of(installed))
    assert [row.what for row in log.audit_trail()] == ["restore", "sip.create"]
    log.close()
    assert not list((installed / "data").glob(".upkeep-*"))
    assert not list(installed.rglob("*.new")) + list(installed.rglob("*.old"))
    assert made.backup == done.backup


def test_what_is_there_is_backed_up_before_and_can_be_had_again(installed):
    settings = backups.settings(installed)
    make(settings)
    log = CallLog.open(url_of(installed))
    log.end_call(backups.OPEN, EndReason.CALLER_LOST)
    log.close()
    (installed / "etc" / "agent.yaml").write_text("call: {caller_timeout: 44}\n")
    later, files = rows(url_of(installed), without=AUDIT), files_of(installed)
    done = bring_back(settings)
    assert done.before.is_before_restore
    assert (installed / "etc" / "agent.yaml").read_text() == "call: {caller_timeout: 31}\n"
    assert rows(url_of(installed), without=AUDIT) != later
    bring_back(settings, done.before.name)
    assert rows(url_of(installed), without=AUDIT) == later
    assert files_of(installed) == files


def test_who_was_forgotten_and_what_was_revoked_since_stays_so(installed):
    settings = backups.settings(installed)
    make(settings)
    log = CallLog.open(url_of(installed))
    names = [Pseudonyms(b"salt").of_number(number) for number in (NUMBER, OTHER)]
    (key,) = Access(log.engine).client_keys()
    Access(log.engine).revoke_key(key.id)
    Access(log.engine).revoke(backups.revocation("T1"))
    for name in names:
        Forgetting(log.engine).bury(Tombstone(name, now()))
    log.audit("somebody", "forget caller", names[0], "here")
    log.close()
    (installed / "kept" / f"{CALL}-own.ogg").unlink()

    done = bring_back(settings)
    assert sorted(done.kept.forgotten) == sorted(names)
    found = rows(url_of(installed))
    # Of a call that went on when the backup was made, too.
    for table in ("calls", "turns", "call_events", "recordings", "recording_log"):
        assert found[table] == []
    assert not (installed / "kept" / f"{CALL}-own.ogg").exists()
    log = CallLog.open(url_of(installed))
    assert [one.id for one in Access(log.engine).live_revocations()] == ["T1"]
    assert [one.revoked_at is None for one in Access(log.engine).client_keys()] == [False]
    assert [row.what for row in log.audit_trail()] == ["restore", "forget caller", "sip.create"]
    log.close()


def test_nobody_is_called_again_of_what_is_over_by_now(installed):
    contacts = Contacts(
        channels={"chat": Channel(url=SecretStr("json://x"))},
        notification_channels=Groups(critical=("chat",)),
    )

    def waiting(log):
        store, found = Notices(log.engine), []
        while claimed := store.claim("me", ["chat"], now(), 60):
            for one in claimed:
                found.append(one.body["text"])
                store.done(one.id, now(), SENT)
        return found

    settings = backups.settings(installed)
    log = CallLog.open(url_of(installed))
    desk = Desk(log, contacts)
    fired = Fired(name="SipDown", subject="trunk", text="away", about={})
    closed = desk.fired(fired, "P1", announced=True)
    seen, going_on = (desk.open("P1", "sip", what, "bob") for what in ("slow", "noise"))
    make(settings)
    desk.close(closed.id, "alice", "it is back")
    desk.acknowledge(seen.id, "alice")
    assert len(waiting(log)) == 5
    log.close()

    bring_back(settings)
    log = CallLog.open(url_of(installed))
    desk = Desk(log, contacts)
    assert [one.id for one in desk.store.climbing()] == [going_on.id]
    assert desk.store.get(closed.id).closed_by == "alice"
    assert desk.fired(fired, "P1", announced=True).id != closed.id
    assert waiting(log) == ["SipDown (ops): away"]  # of the new one
    log.close()


def test_the_file_of_tombstones_counts_when_the_database_is_gone(installed):
    settings = backups.settings(installed)
    make(settings)
    name = Pseudonyms(b"salt").of_number(OTHER)
    line = {"caller": name, "made_at": datetime.now(UTC).isoformat()}
    (installed / "data" / "calls.db").unlink()
    (installed / "data" / "tombstones.jsonl").write_text(json.dumps(line) + "\n")
    assert bring_back(settings).kept.forgotten == [name]
    assert {row[0] for row in rows(url_of(installed))["calls"]} == {CALL}


def test_a_caller_who_calls_again_after_being_forgotten_is_a_new_acquaintance(installed):
    log = CallLog.open(url_of(installed))
    name = Pseudonyms(b"salt").of_number(OTHER)
    Forgetting(log.engine).bury(Tombstone(name, backups.NOON + timedelta(minutes=90)))
    log.close()
    settings = backups.settings(installed)
    make(settings)
    wipe(installed)
    bring_back(settings)
    found = {row[0] for row in rows(url_of(installed))["calls"]}
    assert (LATER in found, backups.OPEN in found) == (False, True)


def test_a_ring_that_is_there_stays_and_a_retired_key_does_not_come_back(installed):
    settings = backups.settings(installed)
    make(settings)
    keys = installed / "data" / "keys"
    (keys / "APIold.key").unlink()
    (keys / "APInew.key").write_text("APInew: " + "n" * 40)
    (keys / "APInew.key").chmod(0o600)
    notes = bring_back(settings).notes
    assert [path.name for path in keys.glob("*.key")] == ["APInew.key"]
    assert "1 files were left out: the keys of now stay" in notes

    log = CallLog.open(url_of(installed))
    log.audit("somebody", "keys.retire", "APIold (forced)", "here")
    log.close()
    (keys / "APInew.key").unlink()
    oldest = Shelf(settings.backup.folder).listed()[-1].name
    for parts in (("config",), ()):
        bring_back(settings, oldest, parts=parts)
        assert list(keys.glob("*.key")) == []


def test_events_that_wait_and_newer_logs_stay_and_no_file_goes(installed):
    settings = backups.settings(installed)
    make(settings)
    waiting = installed / "data" / "spool" / f"{'ab' * 16}.jsonl"
    waiting.write_text("{}\n{}\n")
    new = {installed / "kept" / "new.ogg": "x", installed / "logs" / "worker.log": "newer"}
    for path, text in new.items():
        path.write_text(text)
    bring_back(settings)
    assert waiting.read_text() == "{}\n{}\n"
    assert {path: path.read_text() for path in new} == new


def test_recordings_alone_come_back_only_where_the_database_knows_them(installed):
    settings = backups.settings(installed)
    make(settings)
    for path in (installed / "kept").rglob("*.*"):
        path.unlink()
    notes = bring_back(settings, parts=("recordings",)).notes
    found = {path.name for path in (installed / "kept").rglob("*.*")}
    assert found == {f"{CALL}-own.ogg"}
    assert any("knows no such recordings" in note for note in notes)


def test_whoever_is_told_of_alerts_comes_back_wherever_that_is_written(installed):
    contacts = installed / "etc" / "contacts.yaml"
    contacts.write_text("notification_channels: {critical: []}\n")
    settings = backups.settings(installed, VOICE_AGENT__NOTIFICATIONS__CONTACTS=str(contacts))
    make(settings)
    wipe(installed)
    bring_back(settings)
    assert contacts.read_text() == "notification_channels: {critical: []}\n"
