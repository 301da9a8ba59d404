"""Combinations of trunks, rules and a call, and what a real LiveKit made of them.

`python -m tests.sip_table VERSION` records tests/assets/sip_table.json anew, with livekit-server,
livekit-sip, redis-server and sipp on PATH; VERSION is that of livekit-sip, which does not tell it
when it was built by hand. All numbers are invented.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import redis.asyncio as redis
from livekit import api
from livekit.protocol.sip import SIPDispatchRuleInfo, SIPInboundTrunkInfo

from ops.sip.matching import Call, Outcome, Walk
from ops.sip.thing import Kind, Thing
from ops.sip.wire import IDS, write
from tests.livekit_server import PROGRAM
from tests.sip_invite import Dialled, invite
from tests.sip_server import SipServer

TABLE = Path(__file__).parent / "assets" / "sip_table.json"
QUOTAS = {400: 100, 0: 60, 503: 40}
"""How many cases of each answer: taken (or asked for a PIN), dropped, in conflict."""

CODES = {Outcome.TAKEN: 400, Outcome.PIN: 400, Outcome.DROPPED: 0, Outcome.REFUSED: 503}
HASHES = {Kind.INBOUND: "sip_inbound_trunk", Kind.RULE: "sip_dispatch_rule"}
"""Where livekit-server keeps them in Redis."""

CALLED = ("+70000000100", "+70000000100", "70000000100", "+70000000101", "100", "reception")
CALLERS = ("+70000000001", "+70000000001", "70000000001", "+70000000002", "anonymous")
IPS = ("127.0.0.5", "127.0.0.5", "127.0.0.9", "127.0.1.7")
HOSTS = ("provider.test", "other.test")
LISTED_CALLED = (*CALLED, "+7 (000) 000-01-00", "7 000 000 01 01")
LISTED_CALLERS = (*CALLERS, "+7 000 000-00-01")
ADDRESSES = (
    *("127.0.0.5", "127.0.0.5", "127.0.0.0/29", "127.0.1.0/24", "127.0.0.99/8", "0.0.0.0/0"),
    *("provider.test", "[::1]", "(all)", "127.0.0.5/33", "127.0.0.5/032", "203.0.113.7"),
)
PASSWORD = "invented"


@dataclass(frozen=True)
class Case:
    """One row: what was there, who called, and what came of it."""

    call: Call
    things: tuple[Thing, ...]
    code: int
    challenged: bool
    trunk: str
    rule: str

    def agrees(self, walk: Walk) -> bool:
        """Whether our own walk came to the server's verdict."""
        rule = "" if walk.outcome is Outcome.PIN else _id(walk.rule)  # not told before the PIN
        seen = (CODES[walk.outcome], walk.is_challenged, _id(walk.trunk), rule)
        return seen == (self.code, self.challenged, self.trunk, self.rule)


def load() -> list[Case]:
    """The recorded table."""
    cases = []
    for row in json.loads(TABLE.read_text())["cases"]:
        things = tuple(
            Thing(Kind(kind), identity, fields, id=identity)
            for kind, identity, fields in row["things"]
        )
        cases.append(Case(**{**row, "call": Call(**row["call"]), "things": things}))
    return cases


def combinations(seed: int) -> Iterator[tuple[Call, list[Thing]]]:
    """Trunks and rules without ids (a rule names trunks by name), and a call. Endless."""
    dice = random.Random(seed)
    while True:
        trunks = [_trunk(dice, f"trunk-{number}") for number in range(dice.randint(0, 3))]
        names = [trunk.name for trunk in trunks]
        rules = [_rule(dice, f"rule-{number}", names) for number in range(dice.randint(0, 4))]
        call = Call(*(dice.choice(pool) for pool in (CALLERS, CALLED, IPS, HOSTS)))
        if dice.random() < 0.1:
            rules += _twins(dice, call)
        yield call, [*trunks, *rules]


@asynccontextmanager
async def present(server: SipServer, things: list[Thing]) -> AsyncIterator[tuple[Thing, ...]]:
    """The things are on the server: with their ids, and without their passwords."""
    store = redis.Redis.from_url(f"redis://{server.redis}")
    ids: dict[str, str] = {}
    made: list[Thing] = []
    try:
        for number, thing in enumerate(things):
            identity = ids[thing.name] = await _make(server, store, thing, ids, number)
            fields = dict(thing.fields)
            if "trunks" in fields:
                fields["trunks"] = [ids[name] for name in fields["trunks"]]
            if "auth" in fields:
                fields["auth"] = {"username": fields["auth"]["username"]}
            made.append(Thing(thing.kind, identity, fields, id=identity))
        yield tuple(made)
    finally:
        await store.delete(*HASHES.values())
        await store.aclose()


async def recorded(server: SipServer, call: Call, there: tuple[Thing, ...]) -> Case:
    """What the server makes of a call, with these things on it."""
    dialled = Dialled(call.caller, call.called, call.ip, call.host)
    return Case(call, there, **asdict(await invite(server, dialled, "u", PASSWORD)))


async def record(sip_version: str) -> None:
    """Fill the quotas and write the table."""
    left, cases = Counter(QUOTAS), []
    with tempfile.TemporaryDirectory() as folder:
        async with SipServer(Path(folder)) as server:
            for call, things in combinations(seed=3):
                async with present(server, things) as there:
                    case = await recorded(server, call, there)
                if left[case.code] > 0:
                    left[case.code] -= 1
                    cases.append(case)
                if not left.total():
                    break
    rows = [
        {**asdict(case), "things": [[one.kind, one.id, one.fields] for one in case.things]}
        for case in cases
    ]
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    versions = json.dumps({"livekit-server": _server_version(), "livekit-sip": sip_version})
    TABLE.write_text(f'{{"versions": {versions},\n"cases": [\n{lines}\n]}}\n')


def _trunk(dice: random.Random, name: str) -> Thing:
    fields: dict[str, Any] = {
        "numbers": _some(dice, LISTED_CALLED, 0.65),
        "allowed_addresses": _some(dice, ADDRESSES, 0.4),
        "allowed_numbers": _some(dice, LISTED_CALLERS, 0.3),
    }
    if dice.random() < 0.2 or not (fields["numbers"] or fields["allowed_addresses"]):
        fields["auth"] = {"username": "u", "password": PASSWORD}
    return Thing(Kind.INBOUND, name, {key: value for key, value in fields.items() if value})


def _rule(dice: random.Random, name: str, trunks: list[str]) -> Thing:
    kind = dice.choice(("direct", "individual", "callee", "callee"))
    room = {"room_name" if kind == "direct" else "room_prefix": dice.choice(("a", "a", "b"))}
    fields: dict[str, Any] = {
        "trunks": _some(dice, trunks, 0.6) if trunks else [],
        "numbers": _some(dice, LISTED_CALLED, 0.4),
        "inbound_numbers": _some(dice, LISTED_CALLERS, 0.4),
    }
    pin = {"pin": dice.choice(("1234", "5678"))} if dice.random() < 0.3 else {}
    told = {key: value for key, value in fields.items() if value}
    return Thing(Kind.RULE, name, {**told, kind: {**room, **pin}})


def _twins(dice: random.Random, call: Call) -> list[Thing]:
    """Two rules of the same rank, which both match."""
    room = {dice.choice(("individual", "callee")): {"room_prefix": "a"}}
    return [
        Thing(Kind.RULE, "twin-0", {"numbers": [call.called], **room}),
        Thing(Kind.RULE, "twin-1", {"inbound_numbers": [call.caller], **room}),
    ]


def _some(dice: random.Random, pool: Any, chance: float) -> list[str]:
    if dice.random() > chance:
        return []
    return dice.sample(list(dict.fromkeys(pool)), min(len(set(pool)), dice.choice((1, 1, 2))))


async def _make(
    server: SipServer, store: redis.Redis, thing: Thing, ids: dict[str, str], number: int
) -> str:
    """By the API; what it refuses is put beside it, as older versions let it be made: the id."""
    message: Any = write(thing, ids)
    sip = server.api.sip
    try:
        if thing.kind is Kind.INBOUND:
            trunk = await sip.create_inbound_trunk(api.CreateSIPInboundTrunkRequest(trunk=message))
            return trunk.sip_trunk_id
        wanted = api.CreateSIPDispatchRuleRequest(dispatch_rule=message)
        return (await sip.create_dispatch_rule(wanted)).sip_dispatch_rule_id
    except api.ServerError:
        identity = f"{'ST' if isinstance(message, SIPInboundTrunkInfo) else 'SDR'}_refused{number}"
        assert isinstance(message, SIPInboundTrunkInfo | SIPDispatchRuleInfo)
        setattr(message, IDS[thing.kind], identity)
        await store.hset(HASHES[thing.kind], identity, message.SerializeToString())
        return identity


def _id(thing: Thing | None) -> str:
    return thing.id if thing else ""


def _server_version() -> str:
    done = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1]))
