"""A token that is kept fresh: in time, through failures, and not beyond its revocation."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from ops.tokens import refresher
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

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(refresher, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(refresher, "LONGEST_WAIT", 0.004)


class Source:
    """Gives tokens t1, t2, ...; `fails` are errors of the next refreshes, in order."""

    def __init__(self, life=0.2, fails=()):
        self.asked, self.life, self.fails = [], life, list(fails)

    async def issue(self):
        self.asked.append("issue")
        return Fresh(f"t{len(self.asked)}", self.life)

    async def refresh(self, token):
        self.asked.append(token)
        if self.fails:
            raise self.fails.pop(0)
        return Fresh(f"t{len(self.asked)}", 60.0)


async def changed(kept):
    told = asyncio.Event()
    kept.changed.append(lambda _token: told.set())
    await asyncio.wait_for(told.wait(), PATIENCE)


async def test_it_is_refreshed_before_it_ends():
    source = Source(life=0.5)
    begun = asyncio.get_running_loop().time()
    async with TokenRefresher(source, margin=0.3) as kept:
        assert kept.token == "t1"
        await changed(kept)
        assert kept.token == "t2"
        # The margin is at most half of its life, and a tenth more of that.
        assert 0.2 <= asyncio.get_running_loop().time() - begun < 0.5
    assert source.asked == ["issue", "t1"]


async def test_failures_are_survived_and_the_token_is_good_meanwhile():
    source = Source(life=5.0, fails=[TokenNotGiven()] * 5)
    async with TokenRefresher(source, margin=2.5) as kept:
        kept._ends_at -= 2.5
        kept._keeping.cancel()
        kept._keeping = refresher.tasks.spawn(kept._keep(), "token-refresher")
        await changed(kept)
        assert kept.token == "t7"
    assert source.asked == ["issue", *["t1"] * 6]


async def test_another_is_asked_for_when_the_old_one_was_refreshed_and_the_answer_lost():
    source = Source(fails=[TokenUnusable()])
    async with TokenRefresher(source) as kept:
        await changed(kept)
    assert source.asked == ["issue", "t1", "issue"]


async def test_one_that_has_expired_meanwhile_is_asked_for_anew():
    source = Source(life=0.02, fails=[TokenNotGiven()])
    async with TokenRefresher(source) as kept:
        kept._ends_at = 0.0
        with pytest.raises(TokenNotGiven):
            _ = kept.token
        await changed(kept)
    assert source.asked[:2] == ["issue", "issue"]


async def test_a_revoked_one_is_not_replaced():
    source = Source(life=0.02, fails=[TokenLost()])
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
