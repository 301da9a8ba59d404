"""A token that is kept fresh: in time, through failures, and not beyond its revocation."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ops.tokens.refresher import (
    Fresh,
    HttpTokens,
    TokenLost,
    TokenNotGiven,
    TokenRefresher,
    TokenUnusable,
)
from tests.control_plane import ControlPlane
from tests.programs import PATIENCE

LIFE = 600.0


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(TokenRefresher, "_wait", lambda _self, _failures: 0.001)


class Source:
    """Gives tokens t1, t2, ...; `fails` are errors of the next refreshes, in order."""

    def __init__(self, life=LIFE, fails=()):
        self.asked, self.life, self.fails = [], life, list(fails)

    async def issue(self):
        self.asked.append("issue")
        return Fresh(f"t{len(self.asked)}", self.life)

    async def refresh(self, token):
        self.asked.append(token)
        if self.fails:
            raise self.fails.pop(0)
        return Fresh(f"t{len(self.asked)}", self.life)


async def changed(kept):
    told = asyncio.Event()
    kept.changed.append(lambda _token: told.set())
    await asyncio.wait_for(told.wait(), PATIENCE)


async def test_it_waits_until_the_margin_before_its_end_with_jitter():
    for life, margin, expected in ((600.0, 120.0, 480.0), (60.0, 120.0, 30.0), (600.0, 0.0, 600.0)):
        async with TokenRefresher(Source(life), margin=margin) as kept:
            used = min(margin, life / 2)
            assert expected - used / 10 - PATIENCE <= kept._wait(0) <= expected
            assert kept.token == "t1"


async def test_after_failures_it_waits_longer_each_time_up_to_an_end():
    kept = TokenRefresher(Source())
    waits = [kept._wait(failures) for failures in (1, 2, 3, 10, 1000)]
    for wait, most in zip(waits, (1, 2, 4, 30, 30), strict=True):
        assert most / 2 <= wait <= most


@pytest.mark.usefixtures("at_once")
async def test_it_is_refreshed():
    source = Source()
    async with TokenRefresher(source) as kept:
        await changed(kept)
        assert kept.token != "t1"
    assert source.asked[:2] == ["issue", "t1"]


@pytest.mark.usefixtures("at_once")
async def test_failures_are_survived_and_the_token_is_good_meanwhile():
    source = Source(fails=[TokenNotGiven()] * 5)
    async with TokenRefresher(source) as kept:
        assert kept.token == "t1"
        await changed(kept)
    assert source.asked[:7] == ["issue", *["t1"] * 6]


@pytest.mark.usefixtures("at_once")
async def test_another_is_asked_for_when_the_old_one_was_refreshed_and_the_answer_lost():
    source = Source(fails=[TokenUnusable()])
    async with TokenRefresher(source) as kept:
        await changed(kept)
    assert source.asked[:3] == ["issue", "t1", "issue"]


async def test_one_that_has_expired_meanwhile_is_asked_for_anew():
    source = Source()
    async with TokenRefresher(source) as kept:
        kept._ends_at = 0.0
        with pytest.raises(TokenNotGiven):
            _ = kept.token
        kept._take(await kept._next())
        assert kept.token == "t2"
    assert source.asked == ["issue", "issue"]


@pytest.mark.usefixtures("at_once")
async def test_a_revoked_one_is_not_replaced():
    source = Source(fails=[TokenLost()])
    async with TokenRefresher(source) as kept:
        await asyncio.wait_for(kept._keeping, PATIENCE)
        assert kept.is_lost
        with pytest.raises(TokenLost):
            _ = kept.token
    assert source.asked == ["issue", "t1"]


async def test_a_first_token_that_is_not_given_is_told_at_once():
    async with aiohttp.ClientSession() as session:
        source = HttpTokens(session, "http://127.0.0.1:9", "a-secret-key", {})
        with pytest.raises(TokenNotGiven) as told:
            await TokenRefresher(source).start()
    assert "a-secret-key" not in f"{told.value}{source!r}"


async def test_over_http_each_answer_means_what_it_says(tmp_path):
    async with ControlPlane(tmp_path) as plane:
        key = await plane.key("tokens")
        asked = {"kind": "viewer", "identity": "who", "room": "lobby", "ttl": 30}
        source = HttpTokens(plane.http, "", key, asked)
        first = await source.issue()
        assert first.life == 30.0
        second = await source.refresh(first.token)
        with pytest.raises(TokenUnusable):
            await source.refresh(first.token)
        await plane.ask("/tokens/revoke", {"token": second.token}, key)
        with pytest.raises(TokenLost):
            await source.refresh(second.token)
        with pytest.raises(TokenNotGiven):
            await HttpTokens(plane.http, "", "vak_1_2", asked).issue()


@pytest.mark.parametrize("status", [200, 409, 502])
@pytest.mark.parametrize("told", [[], "away", {}, None, {"detail": 1, "token": 1, "expires_at": 1}])
async def test_what_is_no_answer_of_ours_is_no_token_now(status, told):
    async def answer(_request):
        return web.json_response(told, status=status)

    app = web.Application()
    app.router.add_post("/tokens/refresh", answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        source = HttpTokens(session, str(server.make_url("")).rstrip("/"), "key", {})
        with pytest.raises((TokenNotGiven, TokenUnusable)):
            await source.refresh("token")
