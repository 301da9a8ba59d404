"""`python -m ops clients`: keys are shown once, kept as hashes, and everything is in the trail."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from agent.errors import VoiceAgentError
from agent.store import CallLog
from agent.store.access import Access
from config import settings as configuration
from ops.__main__ import app
from ops.front import first_key, scopes
from ops.front.clients import Clients
from ops.front.database import Database


@pytest.fixture
def database(tmp_path):
    return f"sqlite:///{tmp_path / 'calls.db'}"


@pytest.fixture
def clients(database):
    def run(*arguments):
        return CliRunner().invoke(app, ["clients", *arguments, "--database", database])

    return run


def listed(clients, *options):
    return json.loads(clients("list", "--json", *options).stdout)


def test_a_key_is_made_listed_and_revoked(clients, database, tmp_path):
    made = clients("add", "desk", "--scope", "tokens", "--scope", "calls", "--per-minute", "20")
    assert made.exit_code == 0
    key = made.stdout.strip()
    assert key.startswith("vak_")
    (row,) = listed(clients)
    assert (row["name"], row["scopes"], row["per_minute"]) == ("desk", ["tokens", "calls"], 20)
    assert key not in clients("list").stdout
    assert key.encode() not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert clients("revoke", "desk").exit_code == 0
    assert listed(clients) == []
    assert listed(clients, "--all")[0]["revoked_at"]
    log = CallLog.open(database)
    trail = [(line.what, line.object) for line in log.audit_trail()]
    log.close()
    assert trail == [
        ("clients.revoke", f"desk ({row['id']})"),
        ("clients.add", f"desk ({row['id']}): tokens, calls"),
    ]


def test_two_of_one_name_are_told_apart_by_their_ids(clients):
    for _ in range(2):
        clients("add", "desk", "--scope", "admin")
    one, two = (row["id"] for row in listed(clients))
    told = clients("revoke", "desk")
    assert isinstance(told.exception, VoiceAgentError)
    assert one in str(told.exception)
    assert clients("revoke", one).exit_code == 0
    assert [row["id"] for row in listed(clients)] == [two]
    assert isinstance(clients("revoke", "nobody").exception, VoiceAgentError)


@pytest.mark.parametrize(
    ("scope", "hint"),
    [
        ("token", "did you mean tokens?"),
        ("tokens:owner", "tokens:KIND:ROOM_PATTERN"),
        ("tokens:viewer:", "tokens:KIND:ROOM_PATTERN"),
        ("tokens:agent:x", "tokens:KIND:ROOM_PATTERN"),
        ("everything", "there are tokens"),
    ],
)
def test_a_scope_that_means_nothing_is_refused_and_nothing_is_kept(clients, scope, hint):
    told = clients("add", "desk", "--scope", scope)
    assert isinstance(told.exception, VoiceAgentError)
    assert hint in str(told.exception)
    assert listed(clients) == []


def test_a_key_without_scopes_is_refused(clients):
    assert isinstance(clients("add", "desk").exception, VoiceAgentError)


def test_every_scope_is_known_to_the_check():
    assert scopes.check([*scopes.SCOPES, "tokens:*:lobby-*", "tokens:viewer", "tokens"]) == (
        *scopes.SCOPES,
        "tokens:*:lobby-*",
        "tokens:viewer",
    )


@pytest.fixture
def installed(tmp_path, database):
    variables = {
        "VOICE_AGENT__STORE__URL": database,
        "VOICE_AGENT__DATA__FOLDER": str(tmp_path),
        "VOICE_AGENT__SERVE__CLIENT_KEY_FILE": str(tmp_path / "deep" / "key"),
    }
    return configuration.load(environ=variables)


def test_a_first_key_is_shown_on_a_terminal_and_written_nowhere(
    installed, clients, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(first_key.sys.stderr, "isatty", lambda: True, raising=False)
    first_key.make(installed)
    assert "vak_" in capsys.readouterr().err
    assert not (tmp_path / "deep").exists()
    assert [row["scopes"] for row in listed(clients)] == [["admin"]]
    first_key.make(installed)
    assert capsys.readouterr().err == ""


def test_elsewhere_it_is_written_for_us_alone_and_no_other_is_made_after_it(
    installed, clients, tmp_path
):
    file = tmp_path / "deep" / "key"
    first_key.make(installed)
    key = file.read_text().strip()
    assert file.stat().st_mode & 0o777 == 0o600
    assert key.split("_")[1] == listed(clients)[0]["id"]
    clients("revoke", "first")
    file.unlink()
    first_key.make(installed)
    assert not file.exists()
    assert listed(clients) == []


async def test_the_use_of_a_key_is_kept_once_an_hour(database):
    opened = Database(database)
    known = Clients(opened)
    key = await known.add("desk", ("tokens",))
    await known.add("kiosk", ("tokens",))
    assert await known.client(key)
    await known._noting
    first = {row.name: row.used_at for row in await rows(opened)}
    assert first["desk"] is not None
    assert first["kiosk"] is None
    for again in (known, Clients(opened)):  # another process knows it from the database
        assert await again.client(key)
        assert again._noting is None or again._noting.done()
    assert {row.name: row.used_at for row in await rows(opened)} == first
    await known.aclose()
    await opened.aclose()


async def rows(opened):
    return await opened.run(lambda log: Access(log.engine).client_keys())
