"""`python -m ops keys` as an operator types it, against a server that knows some keys."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from types import SimpleNamespace

import pytest

from agent.call import now
from agent.store import CallLog
from config import key_files
from config.key_files import Signing
from tests import canaries
from tests.livekit_stand_in import Fault, LiveKitStandIn, TwirpStandIn
from tests.programs import Worker, settings
from tests.sip_operator import invoke

OWN, NEW, OTHER = "APIown", "APInew", "APIother"
SECRETS = {key: canaries.secret() for key in (OWN, NEW, OTHER)}


@pytest.fixture
async def server():
    async with TwirpStandIn() as server:
        server.keys = {OWN: SECRETS[OWN]}
        yield server


@pytest.fixture
def env(server, tmp_path):
    return {
        "LIVEKIT_URL": server.url,
        "LIVEKIT_API_KEY": OWN,
        "LIVEKIT_API_SECRET": SECRETS[OWN],
        "VOICE_AGENT__DATA__FOLDER": str(tmp_path),
        "VOICE_AGENT__STORE__URL": f"sqlite:///{tmp_path / 'calls.db'}",
    }


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "keys"


@pytest.fixture
def keys(env):
    """Type a command: what it said. It has to end with `code`, and never tells a secret."""

    async def types(*arguments, code=0, says="", **changes):
        given = {**env, **changes}
        done, out, err = await asyncio.to_thread(invoke, "keys", *arguments, env=given, says=says)
        assert done == code, out + err
        assert not canaries.is_in(out + err)
        return err if code else out

    return types


@pytest.fixture
def trail(tmp_path):
    """What the audit trail holds of keys, the first first."""

    def rows():
        log = CallLog.open(f"sqlite:///{tmp_path / 'calls.db'}", readonly=True)
        try:
            return [(row.what, row.object) for row in reversed(log.audit_trail())]
        finally:
            log.close()

    return rows


def line(key):
    return f"{key}: {SECRETS[key]}\n"


async def listed(keys):
    told = json.loads(await keys("list", "--json"))
    return {row["key"]: row for row in told["keys"]}


async def added(keys, *ring):
    for key in ring:
        await keys("add", "--from", "-", says=line(key))


async def test_a_rotation_from_the_environments_key_to_a_file(keys, server, folder, trail):
    await added(keys, NEW)
    rows = await listed(keys)
    assert [(key, row["signs"]) for key, row in rows.items()] == [(OWN, True), (NEW, False)]
    refused = await keys("promote", NEW, code=2)
    assert refused.startswith(f"error: 127.0.0.1 does not accept {NEW} yet (401): put its line")
    assert (await listed(keys))[OWN]["signs"]

    server.keys[NEW] = SECRETS[NEW]
    assert f"{OWN} verifies until it is retired" in await keys("promote", NEW)
    assert [asked.claims["iss"] for asked in server.asked] == [NEW]
    rows = await listed(keys)
    assert [(key, row["signs"]) for key, row in rows.items()] == [(NEW, True), (OWN, False)]
    assert rows[OWN]["signed_until"] == rows[NEW]["since"]
    assert "comes from the environment: take it out there" in await keys("retire", OWN, code=2)
    assert trail() == [("keys.add", NEW), ("keys.promote", f"{NEW} (before: {OWN})")]


async def test_the_environments_key_can_sign_again(keys, server):
    server.keys |= SECRETS
    await added(keys, NEW)
    await keys("promote", NEW)
    await keys("promote", OWN)
    rows = await listed(keys)
    assert rows[OWN]["signs"]
    assert rows[NEW]["signed_until"]


async def test_a_key_that_signs_already_is_not_tried(keys, server):
    assert "signs already" in await keys("promote", OWN)
    told = json.loads(await keys("promote", OWN, "--json"))
    assert told == {"signing": OWN, "changed": False}
    assert server.asked == []


async def test_retiring_waits_for_the_tokens_of_a_day(keys, server, folder, trail):
    server.keys |= SECRETS
    await added(keys, NEW, OTHER)
    await keys("promote", NEW)
    assert await keys("retire", NEW, code=2) == (f"error: {NEW} signs: promote another key first\n")
    await keys("promote", OTHER)
    refused = await keys("retire", NEW, code=2)
    assert refused.startswith(f"error: {NEW} has signed within the last 24 h")
    assert (folder / f"{NEW}.key").exists()

    signing = key_files.read_signing(folder)
    day = timedelta(hours=24, seconds=1)
    key_files.sign_with(folder, Signing(OTHER, now() - day, {NEW: now() - day}))
    assert signing.key == OTHER
    await keys("retire", NEW)
    assert not (folder / f"{NEW}.key").exists()
    assert trail()[-1] == ("keys.retire", NEW)


async def test_the_mark_does_not_grow_with_each_rotation(keys, server, folder):
    server.keys |= SECRETS
    await added(keys, NEW, OTHER)
    await keys("promote", NEW)
    long_ago, lately = now() - timedelta(hours=25), now() - timedelta(hours=1)
    until = {f"APIgone{n}": long_ago for n in range(30)} | {"APIforced": lately, OWN: long_ago}
    key_files.sign_with(folder, Signing(NEW, now(), until))
    await keys("promote", OTHER)
    told = key_files.read_signing(folder).until
    assert set(told) == {"APIforced", OWN, NEW}
    assert told["APIforced"] == lately


async def test_a_key_that_signed_a_moment_ago_goes_by_force(keys, server, trail):
    server.keys |= SECRETS
    await added(keys, NEW, OTHER)
    await keys("promote", NEW)
    await keys("promote", OTHER)
    assert json.loads(await keys("retire", NEW, "--force", "--json")) == {"retired": NEW}
    assert NEW not in await listed(keys)
    assert trail()[-1] == ("keys.retire", f"{NEW} (forced)")


async def test_a_key_that_never_signed_is_retired_at_once(keys):
    await added(keys, NEW)
    await keys("retire", NEW)
    assert list(await listed(keys)) == [OWN]


async def test_a_key_is_made_and_its_line_written_for_the_server_alone(keys, folder, tmp_path):
    told = json.loads(await keys("add", "--json", "--server-line", str(tmp_path / "line")))
    key, secret = key_files.parse((tmp_path / "line").read_text(), "the line")
    canaries.guard(secret.get_secret_value())
    assert (key, len(secret.get_secret_value())) == (told["added"], 48)
    assert (tmp_path / "line").stat().st_mode & 0o777 == 0o600
    assert key_files.read_keys(folder) == {key: secret}
    for shown in ("list", "list --json", f"retire {key}"):
        assert secret.get_secret_value() not in await keys(*shown.split())


async def test_a_line_is_never_written_over_a_file_and_nothing_is_added(keys, tmp_path):
    (tmp_path / "line").write_text("mine")
    refused = await keys("add", "--server-line", str(tmp_path / "line"), code=2)
    assert refused == f"error: {tmp_path / 'line'}: cannot be written: File exists\n"
    assert (tmp_path / "line").read_text() == "mine"
    assert list(await listed(keys)) == [OWN]


async def test_a_key_that_cannot_be_kept_leaves_no_line(keys, folder, tmp_path, monkeypatch):
    def full(*_):
        raise key_files.SettingsError("no space left")

    monkeypatch.setattr(key_files, "add", full)
    assert "no space" in await keys("add", "--server-line", str(tmp_path / "line"), code=2)
    assert not (tmp_path / "line").exists()


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (line(OWN), f"{OWN} is in the ring already"),
        ("", "stdin: expected one line `KEY: SECRET`"),
        (f"{NEW}: a\n{OTHER}: b\n", "stdin: expected one line `KEY: SECRET`"),
        (f"a/b: {SECRETS[NEW]}", "stdin: a key is named in letters, digits, - and _"),
        (f"{NEW}: {SECRETS[NEW]} x", "stdin: a secret has no spaces and is ASCII"),
    ],
    ids=["known", "nothing", "two", "name", "spaces"],
)
async def test_what_is_no_key_is_refused_in_a_line(keys, folder, says, told):
    refused = await keys("add", "--from", "-", code=2, says=says)
    assert refused.startswith(f"error: {told}")
    assert refused.count("\n") == 1
    assert list(await listed(keys)) == [OWN]


async def test_a_key_may_be_taken_from_a_file(keys, tmp_path):
    (tmp_path / "new").write_text(line(NEW))
    await keys("add", "--from", str(tmp_path / "new"))
    assert NEW in await listed(keys)
    assert "nowhere: cannot be read" in await keys("add", "--from", "/nowhere", code=2)


async def test_a_short_secret_is_refused_before_it_is_kept(keys, folder):
    short = {"LIVEKIT_URL": "wss://example.test"}
    refused = await keys("add", "--from", "-", code=2, says=f"{NEW}: {'s' * 31}", **short)
    assert refused == f"error: {NEW}: the secret is shorter than 32 characters: make another\n"
    assert not folder.exists()


@pytest.mark.parametrize("command", ["promote", "retire"])
async def test_an_unknown_key_is_named_with_those_that_there_are(keys, command):
    refused = await keys(command, "APIwho", code=2)
    assert refused == f"error: no key APIwho in the ring (there are: {OWN})\n"


async def test_a_server_that_does_not_answer_changes_nothing(keys, server, env):
    await added(keys, NEW)
    refused = await keys("promote", NEW, code=2, LIVEKIT_URL="ws://127.0.0.1:9")
    assert "127.0.0.1 could not be asked about APInew: room.list_rooms" in refused
    server.keys |= SECRETS
    server.fault = Fault("unavailable")
    assert "unavailable" in await keys("promote", NEW, code=2)
    assert "LIVEKIT_URL missing" in await keys("promote", NEW, code=2, LIVEKIT_URL="")
    assert (await listed(keys))[OWN]["signs"]


async def test_a_secret_is_not_sent_in_the_clear(keys):
    await added(keys, NEW)
    refused = await keys("promote", NEW, code=2, LIVEKIT_URL="ws://example.test")
    assert "in the clear" in refused


async def test_nothing_is_changed_that_cannot_be_audited(keys, server, folder, tmp_path):
    server.keys |= SECRETS
    await added(keys, NEW)
    nowhere = {"VOICE_AGENT__STORE__URL": f"sqlite:///{tmp_path / 'calls.db' / 'x'}"}
    for command in (("promote", NEW), ("retire", NEW), ("add",)):
        await keys(*command, code=2, **nowhere)
    rows = await listed(keys)
    assert list(rows) == [OWN, NEW]
    assert rows[OWN]["signs"]


async def test_without_files_the_command_says_so(keys):
    alone = {"VOICE_AGENT__LIVEKIT__AUTH": ""}
    refused = await keys("add", code=2, **alone)
    assert refused.count("\n") == 1


async def test_an_empty_ring_is_listed_and_takes_its_first_key(keys, server):
    bare = {"LIVEKIT_API_KEY": "", "LIVEKIT_API_SECRET": ""}
    assert json.loads(await keys("list", "--json", **bare))["keys"] == []
    server.keys |= SECRETS
    await keys("add", "--from", "-", says=line(NEW), **bare)
    await keys("promote", NEW, **bare)
    assert f"{NEW}  {NEW}.key  signs since" in await keys("list", **bare)


async def test_help_shows_examples(keys):
    for command in ("list", "add", "promote", "retire"):
        assert "Example" in await keys(command, "--help")


async def test_a_worker_registers_with_the_key_that_was_promoted(tmp_path, folder):
    async with LiveKitStandIn() as livekit:
        told = SimpleNamespace(**livekit.variables)
        with key_files.changing(folder):
            key, secret = told.LIVEKIT_API_KEY, told.LIVEKIT_API_SECRET
            key_files.add(folder, key, key_files.parse(f"k: {secret}", "")[1])
            key_files.sign_with(folder, Signing(key, now()))
        # The framework's own command line would take these.
        env = {"LIVEKIT_API_KEY": OWN, "LIVEKIT_API_SECRET": SECRETS[OWN]}
        folders = {**settings(tmp_path), "VOICE_AGENT__DATA__FOLDER": str(tmp_path)}
        livekit.takes_workers.set()
        async with Worker({**folders, **livekit.variables, **env}) as worker:
            await livekit.messages.first(lambda message: message.HasField("register"))
            worker.terminate()
            assert await worker.ended() == 0
