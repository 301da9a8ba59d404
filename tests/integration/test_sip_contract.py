"""`python -m ops sip` against a stand-in of the SIP API and against a real LiveKit server."""

from __future__ import annotations

import asyncio
import stat

import pytest
import yaml
from livekit import api

from agent.store import CallLog
from tests.programs import run
from tests.sip_operator import FILE, Operator, inbound, rules
from tests.sip_stand_in import RealSip, SipStandIn

THREE = ["inbound trunk main", "outbound trunk out", "dispatch rule voice-ai-dispatch"]


@pytest.fixture(params=["stand-in", pytest.param("livekit-server", marks=pytest.mark.livekit)])
async def server(request, tmp_path):
    if request.param == "livekit-server":
        if lacking := RealSip.lacking():
            pytest.skip(f"{' and '.join(lacking)} on PATH")
        made = RealSip(tmp_path)
    else:
        made = SipStandIn()
    async with made as running:
        yield running


@pytest.fixture
def operator(tmp_path, server):
    return Operator(tmp_path, server)


@pytest.fixture
async def client(server):
    async with api.LiveKitAPI(*server.variables.values()) as made:
        yield made.sip


async def test_what_was_applied_is_there_and_a_second_apply_changes_nothing(operator, client):
    planned = await operator.types("plan", "--exit-code", code=1)
    assert "3 to create" in planned
    assert [line for line in planned.splitlines() if line.startswith("+")] == [
        f"+ create {thing}" for thing in THREE
    ]
    assert "auth.password: ***" in planned

    assert "done; the state before is in" in await operator.types("apply")
    again = await operator.types("apply")

    assert again == "no changes\n"
    assert await operator.types("plan", "--exit-code") == "no changes\n"
    trunk = (await inbound(client))["main"]
    assert trunk.auth_password == "hush-one"
    assert (trunk.ringing_timeout.seconds, trunk.max_call_duration.nanos) == (20, 500_000_000)
    assert trunk.media_encryption == api.SIPMediaEncryption.SIP_MEDIA_ENCRYPT_ALLOW
    rule = (await rules(client))["voice-ai-dispatch"]
    assert list(rule.trunk_ids) == [trunk.sip_trunk_id]
    assert rule.rule.dispatch_rule_callee.randomize
    assert rule.room_config.egress.room.file_outputs[0].s3.secret == "hush-two"


async def test_single_fields_are_updated_and_the_rest_is_replaced_under_the_same_id(
    operator, client
):
    await operator.types("apply")
    before = (await inbound(client))["main"].sip_trunk_id
    operator.declares(
        FILE.replace('"+15555550101"', '"+15555550102"').replace("hide_phone_number: true", "")
    )

    assert await operator.actions("apply") == [
        ("update", "main", ["numbers"]),
        ("replace", "voice-ai-dispatch", ["hide_phone_number"]),
    ]
    assert await operator.actions("plan") == []
    trunk = (await inbound(client))["main"]
    assert (trunk.sip_trunk_id, list(trunk.numbers)[1]) == (before, "+15555550102")
    assert trunk.auth_password == "hush-one"


UPDATES = {
    "address: sip.example.test:5061": "address: sip2.example.test",
    "transport: tls": "transport: tcp",
    "attributes: {line: main}": "attributes: {line: main, site: lab}",
    "trunks: [main]": "trunks: [main]\n    individual: {room_prefix: x-}\n    metadata: {a: b}",
    "allowed_addresses: [203.0.113.0/24]": "allowed_addresses: [203.0.113.0/25]",
}
REPLACES = {
    "transport: tls": "transport: auto\n    from_host: from.example.test",
    "attributes: {line: main}": "attributes: {}",
    "realm: example.test": "realm: other.test",
}


@pytest.mark.parametrize(("edits", "action"), [(UPDATES, "update"), (REPLACES, "replace")])
async def test_each_kind_takes_updates_and_replacements(edits, action, operator):
    await operator.types("apply")
    text = FILE
    for old, new in edits.items():
        text = text.replace(old, new)
    operator.declares(text)

    told = await operator.actions("apply")

    assert [(done, name) for done, name, _ in told] == [
        (action, name) for name in ("main", "out", "voice-ai-dispatch")
    ]
    assert await operator.types("plan") == "no changes\n"
    await operator.types("back")
    operator.declares(FILE)
    assert await operator.types("plan") == "no changes\n"


@pytest.mark.parametrize(
    ("line", "emptied"), [("auth:", "auth_password"), ("allowed_addresses:", "allowed_addresses")]
)
async def test_what_is_taken_out_of_the_file_is_taken_away(line, emptied, operator, client):
    await operator.types("apply")
    assert getattr((await inbound(client))["main"], emptied)
    operator.declares("\n".join(kept for kept in FILE.splitlines() if line not in kept))

    await operator.types("apply")

    assert await operator.actions("plan") == []
    assert not getattr((await inbound(client))["main"], emptied)


async def test_a_field_changed_by_hand_is_drift(operator, client):
    await operator.types("apply")
    trunk = (await inbound(client))["main"]
    await client.update_inbound_trunk_fields(trunk.sip_trunk_id, numbers=["+15555550199"])
    rule = (await rules(client))["voice-ai-dispatch"]
    rule.room_config.agents[0].agent_name = "somebody-else"
    await client.update_dispatch_rule(rule.sip_dispatch_rule_id, rule)

    planned = await operator.types("plan", "--exit-code", code=1)

    assert 'numbers: ["+15555550199"] -> ["+15555550100", "+15555550101"]' in planned
    assert "room_config.agents[0].agent_name: somebody-else -> voice-ai" in planned
    assert "1 to update, 1 to replace" in planned
    await operator.types("apply")
    assert await operator.types("plan") == "no changes\n"


async def test_a_changed_password_is_seen_and_never_shown(operator, client):
    await operator.types("apply")
    operator.variables["SIP_PASSWORD"] = "hush-three"

    assert "auth.password: *** -> ***" in await operator.types("plan")
    await operator.types("apply")
    assert (await inbound(client))["main"].auth_password == "hush-three"


async def test_what_is_not_ours_is_left_alone_until_it_is_adopted(operator, client):
    theirs = api.SIPInboundTrunkInfo(name="main", numbers=["+15555550100"], metadata="by hand")
    other = api.SIPInboundTrunkInfo(name="other", numbers=["+15555550177"])
    for trunk in (theirs, other):
        await client.create_inbound_trunk(api.CreateSIPInboundTrunkRequest(trunk=trunk))

    told = await operator.types("apply", code=2)
    assert "nothing was changed" in told
    assert "--adopt main takes it over" in told
    assert await rules(client) == {}

    await operator.types("apply", "--adopt", "main")
    assert await operator.types("plan") == "no changes\n"
    assert set(await inbound(client)) == {"main", "other"}
    await operator.types("destroy", "--yes")
    assert set(await inbound(client)) == {"other"}


async def test_what_is_no_longer_declared_goes_and_prune_takes_the_rest(operator, client):
    await operator.types("apply")
    other = api.SIPInboundTrunkInfo(name="other", numbers=["+15555550177"])
    await client.create_inbound_trunk(api.CreateSIPInboundTrunkRequest(trunk=other))
    renamed = FILE.replace("name: main", "name: new").replace("[main]", "[new]")
    operator.declares(renamed)

    await operator.types("apply")
    assert set(await inbound(client)) == {"new", "other"}
    rule = (await rules(client))["voice-ai-dispatch"]
    assert list(rule.trunk_ids) == [(await inbound(client))["new"].sip_trunk_id]

    assert "nobody answered" in await operator.types("apply", "--prune", code=2)
    await operator.types("apply", "--prune", "--yes")
    assert set(await inbound(client)) == {"new"}


async def test_back_restores_the_state_before(operator, client):
    await operator.types("apply")
    first = (await inbound(client))["main"]
    rule = (await rules(client))["voice-ai-dispatch"]
    operator.declares(FILE.replace("name: main", "name: new").replace("[main]", "[new]"))
    await operator.types("apply")
    assert stat.S_IMODE(operator.saved[-1].stat().st_mode) == 0o600

    assert "inbound trunk main" in await operator.types("back")

    operator.declares(FILE)
    assert await operator.actions("plan") == []
    restored = (await inbound(client))["main"]
    assert restored.auth_password == "hush-one"
    assert restored.sip_trunk_id != first.sip_trunk_id  # an id cannot be chosen
    now = (await rules(client))["voice-ai-dispatch"]
    assert now.sip_dispatch_rule_id == rule.sip_dispatch_rule_id
    assert list(now.trunk_ids) == [restored.sip_trunk_id]
    assert set(await inbound(client)) == {"main"}


async def test_back_gives_an_adopted_thing_back_as_it_was(operator, client):
    theirs = api.SIPInboundTrunkInfo(name="main", numbers=["+15555550100"], metadata="by hand")
    made = await client.create_inbound_trunk(api.CreateSIPInboundTrunkRequest(trunk=theirs))
    await operator.types("apply", "--adopt", made.sip_trunk_id)

    await operator.types("back", str(operator.saved[-1]))

    trunk = (await inbound(client))["main"]
    assert (trunk.metadata, list(trunk.numbers)) == ("by hand", ["+15555550100"])
    assert trunk.auth_username == ""
    assert await rules(client) == {}


async def test_what_is_exported_can_be_applied_and_holds_no_secret(operator):
    await operator.types("apply")
    text = await operator.types("export")

    told = yaml.safe_load(text)
    assert told["inbound_trunks"][0]["auth"]["password"] == "${MAIN_PASSWORD}"
    assert "MAIN_PASSWORD" in text.splitlines()[1]
    operator.declares(text)
    operator.variables |= {
        "MAIN_PASSWORD": "hush-one",
        "VOICE_AI_DISPATCH_ROOM_FILE_OUTPUTS_0_S3_SECRET": "hush-two",
    }
    assert await operator.types("plan") == "no changes\n"


async def test_destroy_asks_and_deletes_only_what_is_ours(operator, client):
    await operator.types("apply")

    assert "nobody answered" in await operator.types("destroy", code=2)
    assert set(await inbound(client)) == {"main"}
    await operator.types("destroy", "--yes")

    assert (await inbound(client), await rules(client)) == ({}, {})
    await operator.types("back")
    assert set(await inbound(client)) == {"main"}


async def test_every_change_is_in_the_audit_trail(operator):
    await operator.types("apply")
    await operator.types("apply")
    await operator.types("destroy", "--yes")

    log = CallLog.open(operator.variables["VOICE_AGENT__STORE__URL"], readonly=True)
    rows = log.audit_trail()
    log.close()
    assert [row.what for row in rows] == ["sip.delete"] * 3 + ["sip.create"] * 3
    assert rows[-1].object.startswith("inbound trunk main (ST_")
    assert rows[-1].source.endswith(": ops sip apply")
    assert all(row.who for row in rows)


async def test_a_refused_key_is_one_line_and_exit_code_2(operator):
    variables = {**operator.variables, "LIVEKIT_API_SECRET": "x" * 40}
    command = ("-W", "error", "-m", "ops", "sip", "plan", "--file", str(operator.file))

    done = await asyncio.to_thread(run, *command, variables=variables, within=60)

    assert (done.returncode, done.stdout) == (2, "")
    [told] = done.stderr.splitlines()
    assert told.startswith("error: ws://127.0.0.1:")
    assert "refused the key" in told
    assert "check LIVEKIT_API_KEY and LIVEKIT_API_SECRET" in told


async def test_what_the_server_refuses_is_one_line_that_tells_how_to_go_back(operator, client):
    other = api.SIPInboundTrunkInfo(name="other", numbers=["+15555550100"])
    await client.create_inbound_trunk(api.CreateSIPInboundTrunkRequest(trunk=other))

    told = await operator.types("apply", code=2)

    assert "inbound trunk main: the server refused: Conflicting inbound SIP Trunks" in told
    assert "0 of 3 changes were made" in told
    assert str(operator.saved[-1]) in told
