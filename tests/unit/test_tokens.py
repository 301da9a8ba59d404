"""Tokens over HTTP: what each kind holds, by whom it can be had, and how it ends."""

from __future__ import annotations

import dataclasses
import re
import time
from datetime import UTC, datetime
from pathlib import Path

import jwt
import pytest
from livekit import api
from pydantic import SecretStr

from agent.errors import StoreUnavailable
from agent.store import access
from config.livekit_auth import ApiKey, KeyRing
from ops.tokens import token as tokens
from tests.control_plane import KEY, SECRET, ControlPlane

DOCUMENT = Path(__file__).parents[2] / "ops/docs/tokens.md"
KINDS = ("participant", "admin", "viewer", "agent", "sip")
CLAIMS = {"iss", "sub", "iat", "nbf", "exp", "jti", "attributes", "voice"}


@pytest.fixture
async def plane(tmp_path):
    async with ControlPlane(tmp_path) as plane:
        yield plane


@pytest.fixture
async def desk(plane):
    return await plane.key("tokens", "tokens:agent", "tokens:sip")


def asked(kind="participant", **more):
    room = {} if kind in {"agent", "sip"} else {"room": "lobby"}
    return {"kind": kind, "identity": "desk-7", **room, **more}


def claims(token, **options):
    return jwt.decode(token, SECRET, algorithms=["HS256"], options=options)


async def given(plane, key, **wish):
    status, told = await plane.ask("/tokens", asked(**wish), key)
    assert status == 200, told
    return told


def table(grant):
    """The rows of the document's table of one grant: field -> kind -> cell."""
    text = DOCUMENT.read_text("utf-8").split(f"{grant} (`", 1)[1]
    rows = re.findall(r"^\| (\w+) \| (.*) \|$", text.split("\n\n", 2)[1], re.MULTILINE)
    (_, head), *fields = rows
    kinds = head.split(" | ")
    return {field: dict(zip(kinds, cells.split(" | "), strict=True)) for field, cells in fields}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grant", ["VideoGrant", "SIPGrant"])
async def test_a_token_holds_what_the_document_says_field_by_field(plane, desk, kind, grant):
    told = claims((await given(plane, desk, kind=kind))["token"])
    held = told.get({"VideoGrant": "video", "SIPGrant": "sip"}[grant], {})
    meaning = {"yes": True, "no": False, "its room": "lobby"}
    expected = {
        field: meaning[cells[kind]] for field, cells in table(grant).items() if cells[kind] != "-"
    }
    assert held == expected
    grants = CLAIMS | {"video" if kind != "sip" else "sip"}
    assert set(told) == grants


@pytest.mark.parametrize(
    ("grant", "fields"), [("VideoGrant", api.VideoGrants), ("SIPGrant", api.SIPGrants)]
)
def test_the_document_knows_every_field_of_the_installed_library(grant, fields):
    names = {field.name for field in dataclasses.fields(fields)}
    camel = {re.sub(r"_(\w)", lambda m: m[1].upper(), name) for name in names}
    assert set(table(grant)) == camel
    assert all(set(cells) == set(KINDS) for cells in table(grant).values())


async def test_a_token_says_who_when_and_which(plane, desk):
    wish = {"name": "Desk", "metadata": "m", "attributes": {"floor": "2"}, "ttl": 90}
    before = int(time.time())
    told = await given(plane, desk, **wish)
    inside = claims(told["token"])
    assert (inside["iss"], inside["sub"], inside["name"], inside["metadata"]) == (
        (KEY, "desk-7", "Desk", "m")
    )
    assert before <= inside["iat"] == inside["nbf"] <= time.time()
    assert inside["exp"] - inside["iat"] == 90
    assert inside["jti"] == told["id"]
    generation = inside["voice"]["generation"]
    assert inside["attributes"] == {"floor": "2", "voice.generation": generation}
    assert api.TokenVerifier(KEY, SECRET).verify(told["token"]).video.room == "lobby"
    other = claims((await given(plane, desk))["token"])
    assert other["jti"] != inside["jti"]
    assert other["voice"]["generation"] != generation
    assert other["exp"] - other["iat"] == 600


@pytest.mark.parametrize(
    "body",
    [
        asked(ttl=86_401),
        asked(ttl=0),
        asked(roomConfig={"agents": [{"agentName": "voice-ai"}]}),
        asked(room_config={}),
        asked(kind="owner"),
        asked(kind="agent", room="lobby"),
        {"kind": "viewer", "identity": "desk-7"},
        asked(identity=""),
        asked(identity="a\u0000b"),
        asked(identity="\ud800"),
        asked(attributes={"a": 1}),
        [],
    ],
)
async def test_what_is_not_described_is_refused(plane, desk, body):
    status, told = await plane.ask("/tokens", body, desk)
    assert status == 422
    assert isinstance(told["detail"], str)


async def refused(plane, scopes, **wish):
    key = await plane.key(*scopes)
    status, _ = await plane.ask("/tokens", asked(**wish), key)
    assert status in {200, 403}
    return status == 403


@pytest.mark.parametrize(
    ("scopes", "wish", "no"),
    [
        (["tokens"], {"kind": "agent"}, True),
        (["tokens"], {"kind": "sip"}, True),
        (["tokens:agent"], {"kind": "agent"}, False),
        (["tokens:agent"], {"kind": "sip"}, True),
        (["tokens:agent"], {"kind": "viewer"}, True),
        (["tokens:sip"], {"kind": "sip"}, False),
        (["tokens"], {"room": "voice-ai-call-1"}, True),
        (["tokens", "tokens:calls"], {"room": "voice-ai-call-1"}, False),
        (["tokens:calls"], {"room": "voice-ai-call-1"}, True),
        (["tokens:viewer:voice-ai-call-*"], {"kind": "viewer", "room": "voice-ai-call-1"}, False),
        (["tokens:viewer:voice-ai-call-*"], {"kind": "admin", "room": "voice-ai-call-1"}, True),
        (["tokens:viewer:*"], {"kind": "viewer", "room": "voice-ai-call-1"}, True),
        (["tokens:viewer:lobby*"], {"kind": "viewer", "room": "lobby-2"}, False),
        (["tokens:viewer:lobby*"], {"kind": "viewer", "room": "attic"}, True),
        (["tokens:*:lobby"], {"kind": "admin"}, False),
        (["tokens:*:lobby"], {"kind": "agent"}, True),
        (["tokens"], {"attributes": {"sip.phoneNumber": "1"}}, True),
        (["tokens"], {"attributes": {"voice.verdict": "busy"}}, True),
        (["tokens"], {"attributes": {"lk.agent": "1"}}, True),
        (["tokens", "tokens:attributes"], {"attributes": {"sip.phoneNumber": "1"}}, False),
        (["tokens:attributes"], {"attributes": {"sip.phoneNumber": "1"}}, True),
        (["admin"], {"attributes": {"voice.generation": "mine"}}, True),
        (["admin"], {"kind": "agent"}, False),
        (["admin"], {"room": "voice-ai-call-1"}, False),
        (["recordings"], {}, True),
    ],
)
async def test_scopes_say_what_a_client_may_ask_for(plane, scopes, wish, no):
    assert await refused(plane, scopes, **wish) is no


async def validated(plane, key, token, **wish):
    status, told = await plane.ask("/tokens/validate", {"token": token, **wish}, key)
    assert status == 200
    return told["failed"]


async def test_validate_says_which_check_failed(plane, desk, monkeypatch):
    token = (await given(plane, desk))["token"]
    begun, last = token[:-20], token[-20:].swapcase()
    own = claims(token)
    foreign = api.AccessToken(KEY, SECRET).with_grants(api.VideoGrants(room_list=True)).to_jwt()
    more = {**own, "video": {**own["video"], "roomAdmin": True}}
    assert await validated(plane, desk, token) is None
    assert await validated(plane, desk, token, room="lobby", kind="participant") is None
    assert await validated(plane, desk, token, room="attic") == "room"
    assert await validated(plane, desk, token, kind="viewer") == "grants"
    assert await validated(plane, desk, "no token") == "format"
    assert await validated(plane, desk, begun + last) == "signature"
    assert await validated(plane, desk, jwt.encode(own, SECRET[::-1], "HS256")) == "signature"
    assert await validated(plane, desk, jwt.encode(own, "", "none")) == "signature"
    assert await validated(plane, desk, jwt.encode({**own, "iss": "x"}, SECRET)) == "signature"
    assert await validated(plane, desk, foreign) == "origin"
    assert await validated(plane, desk, jwt.encode(more, SECRET, "HS256")) == "grants"
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 601)
    assert await validated(plane, desk, token) == "expiry"


async def test_a_refreshed_token_replaces_the_old_one_and_keeps_all_it_may(plane, desk):
    old = await given(plane, desk, kind="viewer", metadata="m", attributes={"floor": "2"}, ttl=300)
    status, fresh = await plane.ask("/tokens/refresh", {"token": old["token"]}, desk)
    assert status == 200
    before, after = claims(old["token"]), claims(fresh["token"])
    passing = ("jti", "iat", "nbf", "exp", "voice")
    assert {k: v for k, v in before.items() if k not in passing} == {
        k: v for k, v in after.items() if k not in passing
    }
    assert before["jti"] != after["jti"]
    assert after["exp"] - after["iat"] == 300
    assert before["voice"]["first"] == after["voice"]["first"]
    assert await validated(plane, desk, old["token"]) == "refreshed"
    assert await validated(plane, desk, fresh["token"]) is None
    status, told = await plane.ask("/tokens/refresh", {"token": old["token"]}, desk)
    assert (status, told["detail"].partition(":")[0]) == (409, "refreshed")


async def test_no_refresh_goes_beyond_a_day_from_the_first(plane, desk, monkeypatch):
    told = await given(plane, desk, ttl=86_400)
    first = claims(told["token"])["iat"]
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 86_000)
    status, told = await plane.ask("/tokens/refresh", {"token": told["token"], "ttl": 86_400}, desk)
    assert status == 200
    assert claims(told["token"], verify_iat=False, verify_nbf=False)["exp"] == first + 86_400
    monkeypatch.setattr(time, "time", lambda: now() + 86_401)
    status, told = await plane.ask("/tokens/refresh", {"token": told["token"]}, desk)
    assert (status, told["detail"].partition(":")[0]) == (409, "expiry")


async def test_a_revoked_token_takes_all_of_its_generation_along(plane, desk):
    old = await given(plane, desk)
    _, fresh = await plane.ask("/tokens/refresh", {"token": old["token"]}, desk)
    for _ in range(2):
        status, told = await plane.ask("/tokens/revoke", {"token": fresh["token"]}, desk)
        assert (status, told["revoked"], told["removed"]) == (200, True, False)
    assert await validated(plane, desk, old["token"]) == "revocation"
    assert await validated(plane, desk, fresh["token"]) == "revocation"
    status, told = await plane.ask("/tokens/refresh", {"token": fresh["token"]}, desk)
    assert (status, told["detail"].partition(":")[0]) == (409, "revocation")
    assert await validated(plane, desk, (await given(plane, desk))["token"]) is None
    trail = await plane.plane.database.run(lambda log: log.audit_trail())
    assert [row.what for row in trail] == ["tokens.revoke"]


async def test_a_token_that_could_not_be_taken_back_is_not_made(plane, desk):
    status, told = await plane.ask("/tokens", asked(metadata="\N{BELL}" * 16_000), desk)
    assert (status, told["detail"]) == (
        (422, "body: metadata and attributes are too long for a token")
    )
    token = (await given(plane, desk, metadata="\u0451" * 16_384))["token"]
    status, told = await plane.ask("/tokens/refresh", {"token": token}, desk)
    assert status == 200
    assert (await plane.ask("/tokens/revoke", {"token": told["token"]}, desk))[0] == 200


async def test_what_was_sent_is_not_told_back(plane, desk):
    for kind in ("a-secret", ["a-secret"]):
        status, told = await plane.ask("/tokens", asked() | {"kind": kind}, desk)
        assert status == 422
        assert "participant" in told["detail"]
        assert "a-secret" not in told["detail"]


async def test_a_forgotten_refresh_does_not_shorten_a_revocation(plane, desk, monkeypatch):
    """The first token has expired, and so has the note that another one took its place."""
    first = (await given(plane, desk, ttl=600))["token"]
    _, told = await plane.ask("/tokens/refresh", {"token": first, "ttl": 80_000}, desk)
    revocations = plane.app.state.sidecars["tokens"]._revocations
    moment = time.time() + 700
    later = datetime.fromtimestamp(moment, UTC)
    monkeypatch.setattr(access, "now", lambda: later)
    monkeypatch.setattr(tokens.time, "time", lambda: moment)
    await revocations.forget()
    assert await revocations.among(claims(first)["jti"]) == set()
    _, revoked = await plane.ask("/tokens/revoke", {"token": first}, desk)
    assert datetime.fromisoformat(revoked["until"]).timestamp() > claims(told["token"])["exp"]


async def test_a_token_that_is_refreshed_while_it_is_revoked_is_revoked_for_long_enough(
    plane, desk, monkeypatch
):
    token = (await given(plane, desk, ttl=600))["token"]
    revocations = plane.app.state.sidecars["tokens"]._revocations
    add, refreshes = revocations.add, []

    async def slow(row):
        if row.kind == "generation" and not refreshes:  # it is decided until when
            refreshes.append(
                await plane.ask("/tokens/refresh", {"token": token, "ttl": 80_000}, desk)
            )
        return await add(row)

    monkeypatch.setattr(revocations, "add", slow)
    _, revoked = await plane.ask("/tokens/revoke", {"token": token}, desk)
    ((status, told),) = refreshes
    until = datetime.fromisoformat(revoked["until"]).timestamp()
    assert status == 409 or claims(told["token"])["exp"] < until


async def test_a_client_takes_back_no_token_that_it_could_not_have(plane, desk):
    token = (await given(plane, desk))["token"]
    other = await plane.key("tokens:viewer:lobby")
    for path in ("/tokens/revoke", "/tokens/refresh"):
        status, _ = await plane.ask(path, {"token": token}, other)
        assert status == 403
    assert await validated(plane, desk, token) is None


async def test_nobody_says_yes_when_no_store_can_tell(plane, desk, monkeypatch):
    token = (await given(plane, desk))["token"]

    def away(_log):
        raise StoreUnavailable

    real = plane.plane.database.run
    monkeypatch.setattr(plane.plane.database, "run", lambda _work: real(away))
    for path in ("/tokens/validate", "/tokens/refresh", "/tokens/revoke"):
        status, _ = await plane.ask(path, {"token": token}, desk)
        assert status == 503
    assert (await plane.ask("/tokens", asked(), desk))[0] == 200


async def test_without_a_livekit_key_no_token_is_made(tmp_path):
    async with ControlPlane(tmp_path, LIVEKIT_API_KEY="", LIVEKIT_API_SECRET="") as plane:
        status, told = await plane.ask("/tokens", asked(), await plane.key("tokens"))
        assert status == 503
        assert "LIVEKIT_API_KEY" in told["detail"]


def test_every_key_of_the_ring_verifies_and_one_signs():
    one, two = (ApiKey(f"key-{n}", SecretStr(n * 40), "environment") for n in "12")
    signed = tokens.sign(tokens.new("viewer", "who", 600, room="lobby"), one)
    assert tokens.read(signed, KeyRing(two, (two, one))).identity == "who"
    with pytest.raises(tokens.Refused, match="not in the ring"):
        tokens.read(signed, KeyRing(two, (two,)))
