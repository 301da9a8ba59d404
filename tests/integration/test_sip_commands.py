"""What only a stand-in can do: servers that are away, lack Redis, or do not keep what they take."""

from __future__ import annotations

import json

import pytest
import yaml

from ops.sip.thing import SEAL
from tests.sip_operator import FILE, Operator
from tests.sip_stand_in import SipStandIn


@pytest.fixture
async def server():
    async with SipStandIn() as running:
        yield running


@pytest.fixture
def operator(tmp_path, server):
    return Operator(tmp_path, server)


async def test_a_server_that_is_away_is_one_line(operator):
    told = await operator.types("plan", code=2, LIVEKIT_URL="ws://127.0.0.1:1")

    assert told.startswith("error: ws://127.0.0.1:1 cannot be reached: ")
    assert len(told.splitlines()) == 1


async def test_a_server_without_redis_is_one_line(operator, server):
    server.has_redis = False

    told = await operator.types("plan", code=2)

    assert "has no SIP (sip not connected (redis required)): give the server a `redis`" in told


async def test_missing_keys_are_named(operator):
    told = await operator.types("plan", code=2, LIVEKIT_API_KEY="", LIVEKIT_API_SECRET="")

    assert "LIVEKIT_API_KEY, LIVEKIT_API_SECRET missing" in told


async def test_keys_do_not_go_over_an_open_network(operator):
    told = await operator.types("plan", code=2, LIVEKIT_URL="ws://livekit.example.test")

    assert "in the clear" in told


async def test_a_missing_variable_is_named_before_anything_is_asked(operator, server):
    told = await operator.types("apply", code=2, SIP_PASSWORD="")

    assert "inbound_trunks[0].auth.password: the environment variable SIP_PASSWORD is not" in told
    assert server.writes == []


async def test_passwords_that_the_server_does_not_tell_are_compared_by_their_seal(operator, server):
    server.withholds_passwords = True
    await operator.types("apply")
    assert await operator.types("plan") == "no changes\n"

    operator.variables["SIP_PASSWORD"] = "hush-three"
    assert await operator.actions("apply") == [("update", "main", ["auth.password"])]
    assert await operator.types("plan") == "no changes\n"
    [kept] = server.kept["InboundTrunk"].values()
    assert kept.auth_password == "hush-three"
    assert SEAL in kept.metadata


async def test_back_leaves_a_password_alone_that_was_not_told(operator, server):
    server.withholds_passwords = True
    await operator.types("apply")
    operator.declares(FILE.replace("+15555550101", "+15555550102"))
    await operator.types("apply")

    await operator.types("back")
    [kept] = server.kept["InboundTrunk"].values()
    assert (list(kept.numbers)[1], kept.auth_password) == ("+15555550101", "hush-one")

    await operator.types("destroy", "--yes")
    assert "the server did not tell its secrets" in await operator.types("back", code=2)
    assert server.kept["InboundTrunk"] == {}


async def test_what_a_server_takes_and_does_not_keep_is_said(operator, server):
    await operator.types("apply")
    server.ignores_updates = True
    operator.declares(FILE.replace("+15555550101", "+15555550102"))

    told = await operator.types("apply", code=2)

    assert "did not keep all of them: inbound trunk main: numbers" in told


async def test_nothing_is_changed_when_it_cannot_be_audited(operator, server):
    url = "postgresql://u:hush@127.0.0.1:1/calls"

    await operator.types("apply", code=2, VOICE_AGENT__STORE__URL=url)

    assert server.writes == []


async def test_nothing_is_changed_when_the_state_before_cannot_be_saved(operator, server, tmp_path):
    (tmp_path / "data").write_text("a file, not a folder")

    assert "the state before cannot be saved" in await operator.types("apply", code=2)
    assert server.writes == []


async def test_back_needs_a_saved_state_of_this_server(operator, tmp_path):
    assert "no saved state" in await operator.types("back", code=2)

    await operator.types("apply")
    state = yaml.safe_load(operator.saved[0].read_text())
    operator.saved[0].write_text(yaml.safe_dump({**state, "server": "wss://other.test"}))
    assert "was saved from wss://other.test" in await operator.types("back", code=2)

    operator.saved[0].write_text("server: x\n")
    assert "not a state that `sip apply` saved" in await operator.types("back", code=2)


async def test_adopting_what_is_not_there_is_an_error(operator):
    told = await operator.types("plan", "--adopt", "nobody", code=2)

    assert "--adopt: nothing on the server is named nobody" in told


async def test_trunks_come_before_rules_and_rules_go_before_trunks(operator, server):
    await operator.types("apply")
    await operator.types("destroy", "--yes")

    assert server.writes == [
        "CreateSIPInboundTrunk",
        "CreateSIPOutboundTrunk",
        "CreateSIPDispatchRule",
        "DeleteSIPDispatchRule",
        "DeleteSIPTrunk",
        "DeleteSIPTrunk",
    ]


@pytest.mark.parametrize(("answer", "left"), [("y", 0), ("n", 1)])
async def test_destroy_does_what_it_was_answered(answer, left, operator, server):
    await operator.types("apply")

    await operator.types("destroy", code=2 * left, says=answer)

    assert len(server.kept["Rule"]) == left


async def test_a_name_that_others_have_ends_a_plan_with_exit_code_2(operator, server):
    await operator.types("apply")
    for trunk in server.kept["InboundTrunk"].values():
        trunk.metadata = "{}"

    told = json.loads(await operator.types("plan", "--json", "--exit-code", code=2, wants="out"))

    assert told["summary"].endswith("1 refused")
    assert told["changes"][0]["action"] == "refused"


async def test_two_owners_share_a_server(operator, server, tmp_path):
    (tmp_path / "b").mkdir()
    other = Operator(tmp_path / "b", server)
    other.declares(
        "owner: staging\n"
        + FILE.replace("name: main", "name: b")
        .replace("[main]", "[b]")
        .replace("+1555555010", "+1555555011")
    )

    await operator.types("apply")
    told = await other.types("apply", code=2)
    assert "outbound trunk out: is on the server" in told
    other.declares(
        other.file.read_text().replace("name: out", "name: b").replace("-dispatch", "-b")
    )
    await other.types("apply")

    assert await operator.types("plan") == "no changes\n"
    assert await other.types("plan") == "no changes\n"
    await other.types("destroy", "--yes")
    assert [trunk.name for trunk in server.kept["InboundTrunk"].values()] == ["main"]


async def test_the_import_writes_a_new_file_and_never_over_one(operator, tmp_path):
    old = tmp_path / "livekit-sip-correct.yaml"
    old.write_text("trunks: [{name: a, numbers: ['+15555550100'], auth_required: true}]\n")

    await operator.types("import", str(old), "--out", str(tmp_path / "new.yaml"))
    told = await operator.types("import", str(old), "--out", str(tmp_path / "new.yaml"), code=2)

    assert "name: a" in (tmp_path / "new.yaml").read_text()
    assert "cannot be written: File exists" in told


@pytest.mark.parametrize("command", ["plan", "apply", "export", "destroy", "back", "import"])
async def test_help_gives_an_example(command, operator):
    assert f"python -m ops sip {command}" in await operator.types(command, "--help")
