"""A rotation at a real LiveKit server: nothing is refused until a key is retired."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from livekit import api

from agent import tasks
from config.settings import load
from ops.keyring import LiveRing
from tests import canaries
from tests.livekit_server import KEY, SECRET, LiveKitServer
from tests.programs import PATIENCE
from tests.sip_operator import invoke

pytestmark = pytest.mark.livekit

NEW, STRANGE = "APInew", "APIstrange"
SECRETS = {key: canaries.secret() for key in (NEW, STRANGE)}
ROTATED_WITHIN = 5.0
"""Seconds for a running `serve` to sign with the promoted key, as the product says."""


@pytest.fixture
async def server(tmp_path):
    server = LiveKitServer(tmp_path)
    if not server.is_ours:
        pytest.skip("a LiveKit server of the test's own, which knows two keys")
    server.extra["keys"] = {KEY: SECRET, NEW: SECRETS[NEW]}
    async with server:
        yield server


@pytest.fixture
def env(server, tmp_path):
    return {
        "LIVEKIT_URL": server.variables["LIVEKIT_URL"],
        "VOICE_AGENT__DATA__FOLDER": str(tmp_path / "data"),
        "VOICE_AGENT__STORE__URL": f"sqlite:///{tmp_path / 'calls.db'}",
    }


@pytest.fixture
def keys(env):
    async def types(*arguments, code=0, says=""):
        done, out, err = await asyncio.to_thread(invoke, "keys", *arguments, env=env, says=says)
        assert done == code, out + err
        return out + err

    return types


class Caller:
    """Asks the server without a pause, with fresh tokens and with those of before."""

    def __init__(self, url, ring):
        self._url = f"{url.replace('ws', 'http', 1)}/twirp/livekit.RoomService/ListRooms"
        self._ring = ring
        self.kept = []
        """Tokens that were signed so far, each with the name of its key."""
        self.accepted = []
        """The key of each request that the server took, and whether we verified its token too."""
        self.refused = []

    async def ask(self):
        async with aiohttp.ClientSession() as client:
            while True:
                key, secret = self._ring.credentials()
                token = api.AccessToken(key, secret).with_grants(api.VideoGrants(room_list=True))
                self.kept.append((key, token.to_jwt()))
                for name, kept in {self.kept[0], self.kept[-1]}:
                    await self._ask(client, name, kept)
                await asyncio.sleep(0.01)

    async def _ask(self, client, name, token):
        headers = {"Authorization": f"Bearer {token}"}
        async with client.post(self._url, json={}, headers=headers) as answer:
            verified = self.verifies(name, token)
            told = self.accepted if answer.status == 200 and verified else self.refused
            told.append((name, answer.status, verified))

    def verifies(self, name, token):
        """Whether the ring takes the token now, as for a token or webhook that comes in."""
        secret = self._ring.secret_of(name)
        return bool(secret and api.TokenVerifier(name, secret.get_secret_value()).verify(token))


async def test_nothing_is_refused_while_keys_are_rotated(server, env, keys):
    await keys("add", "--from", "-", says=f"{KEY}: {SECRET}")
    await keys("promote", KEY)
    ring = LiveRing(load(environ=env))
    ring.start()
    caller = Caller(env["LIVEKIT_URL"], ring)
    asking = tasks.spawn(caller.ask(), "caller")
    try:
        await _rotate(ring, caller, keys)
        assert caller.refused == []
        assert {name for name, *_ in caller.accepted} == {KEY, NEW}

        first = caller.kept[0]
        await tasks.end(asking)
        assert KEY in await keys("retire", KEY, code=2)
        assert caller.verifies(*first)
        await keys("retire", KEY, "--force")
        await _until(lambda: ring.secret_of(KEY) is None)
        assert not caller.verifies(*first)
        assert caller.verifies(*caller.kept[-1])
    finally:
        await tasks.end(asking)
        await ring.aclose()


async def _rotate(ring, caller, keys):
    """From the old key to the new one; the server knows both, and none besides."""
    await _until(lambda: len(caller.accepted) > 20)
    for key, secret in SECRETS.items():
        await keys("add", "--from", "-", says=f"{key}: {secret}")
    assert "does not accept APIstrange yet (401)" in await keys("promote", STRANGE, code=2)
    assert json.loads(await keys("promote", NEW, "--json"))["before"] == KEY
    async with asyncio.timeout(ROTATED_WITHIN):
        await _until(lambda: ring.credentials()[0] == NEW)
    before = len(caller.accepted)
    await _until(lambda: len(caller.accepted) > before + 20)


async def _until(true):
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
