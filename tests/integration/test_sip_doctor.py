"""`doctor sip` against a real livekit-server and livekit-sip: both must say the same of a call."""

from __future__ import annotations

import json
from itertools import islice

import pytest

from ops.sip.matching import Call, Outcome
from tests.sip_invite import Dialled, invite
from tests.sip_server import SipServer
from tests.sip_table import CODES, combinations, present, recorded

pytestmark = pytest.mark.sip

LIVE = 20
CALL = Call("+70000000001", "+70000000100", "127.0.0.5", "provider.test")

FILE = """
inbound_trunks:
  - name: main
    numbers: ["+70000000100"]
    allowed_addresses: [127.0.0.0/30]
dispatch_rules:
  - name: voice-ai-dispatch
    trunks: [main]
    room_config: {agents: [{agent_name: AGENT}]}
"""


@pytest.fixture
async def server(tmp_path):
    async with SipServer(tmp_path) as server:
        yield server


async def test_its_verdicts_are_those_of_the_server(server):
    seen = set()
    for call, things in islice(combinations(seed=20), LIVE):
        async with present(server, things) as there:
            case = await recorded(server, call, there)
            _, told = await examined(server, call)
        verdict = told["verdict"]
        outcome = Outcome[verdict["outcome"].upper()]
        seen.add(outcome)
        rule = "" if outcome is Outcome.PIN else (verdict["rule"] or {}).get("id", "")
        said = (CODES[outcome], verdict["challenged"], (verdict["trunk"] or {}).get("id", ""), rule)
        assert said == (case.code, case.challenged, case.trunk, case.rule), (call, there, told)
    assert len(seen) >= 3


async def test_a_call_that_no_rule_matches_is_explained(server):
    await server.declares(FILE.replace("AGENT", server.agent_name))
    dropped = await invite(server, Dialled(CALL.caller, CALL.called, CALL.ip))
    assert dropped.code == 0
    code, told = await examined(server, CALL)
    assert (code, told["verdict"]["outcome"]) == (2, "dropped")
    assert [(one["name"], one["field"]) for one in told["trunks"]] == [
        ("main", "allowed_addresses")
    ]
    assert [(one["name"], one["field"]) for one in told["rules"]] == [
        ("voice-ai-dispatch", "trunks")
    ]
    assert "127.0.0.5 is not in 127.0.0.0/30" in told["findings"][0]["came_back"]

    await server.declares(FILE.replace("AGENT", server.agent_name).replace("/30", "/29"))
    taken = await invite(server, Dialled(CALL.caller, CALL.called, CALL.ip))
    assert taken.code == 400
    code, told = await examined(server, CALL)
    assert (code, told["verdict"]["outcome"]) == (0, "taken")
    assert told["verdict"]["rule"]["id"] == taken.rule


async def test_livekit_sip_answers_options(server):
    host, port = server.address
    code, out, _ = await server.operate(
        *("doctor", "sip", "--address", f"{host}:{port}", "--json"),
    )
    found = {one["tried"]: one for one in json.loads(out)["findings"]}
    answer = found[f"OPTIONS to address {host}:{port}"]
    assert (answer["level"], answer["came_back"][:13]) == ("ok", "200 OK after ")
    assert code == 2  # no rule at all


async def examined(server, call):
    code, out, err = await server.operate(
        *("doctor", "sip", "--from", call.caller, "--to", call.called, "--ip", call.ip),
        *("--host", call.host, "--json"),
    )
    assert out, err
    return code, json.loads(out)
