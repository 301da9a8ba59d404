"""Recordings and ingress over HTTP: who may, what is answered, what is never told."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
import uvicorn
from livekit.protocol import egress as wire

from config.settings import load
from ops import serve
from tests.media_stand_in import MediaStandIn
from tests.programs import settings as variables_of


@pytest.fixture
async def livekit():
    async with MediaStandIn() as stand_in:
        yield stand_in


class Client:
    """Asks one `ops serve` with the key of one client."""

    def __init__(self, http, url, key):
        self._http, self._url, self._key = http, url, key

    async def __call__(self, method, path, **options):
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        async with self._http.request(
            method, f"{self._url}{path}", headers=headers, **options
        ) as got:
            return got.status, await got.json()


@pytest.fixture
async def serving(tmp_path, livekit):
    settings = load(environ={**variables_of(tmp_path), **livekit.variables})
    storage = settings.recording.storage.model_copy(update={"folder": tmp_path})
    recording = settings.recording.model_copy(update={"storage": storage})
    app = serve.app(settings.model_copy(update={"recording": recording}))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    running = asyncio.create_task(server.serve())
    async with asyncio.timeout(30):
        while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    clients = app.state.plane.clients
    async with aiohttp.ClientSession() as http:

        async def client(*scopes):
            key = await clients.add("desk", scopes) if scopes else ""
            return Client(http, f"http://127.0.0.1:{port}", key)

        yield client
    server.should_exit = True
    await running


async def test_a_recording_by_http(serving, livekit, tmp_path):
    ask = await serving("recordings")
    body = {"room": "r", "id": "rec-00001"}
    status, made = await ask("POST", "/recordings", json=body)
    assert (status, made["status"], made["egress_id"]) == (201, "starting", "EG_1")
    assert (await ask("POST", "/recordings", json=body))[1] == made
    status, listed = await ask("GET", "/recordings?room=r&status=starting")
    assert [one["id"] for one in listed["recordings"]] == ["rec-00001"]
    assert (await ask("POST", "/recordings/rec-00001/stop"))[1]["status"] == "active"
    assert (await ask("DELETE", "/recordings/rec-00001")) == (200, {"deleted": False})
    assert (await ask("GET", "/recordings/rec-00001"))[1]["deleted_at"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"room": "r", "output": "dash"}, "use hls"),
        ({"room": "r", "output": "webm"}, "use mp4"),
        ({"kind": "web", "output": "mp4", "url": "http://127.0.0.1/"}, "not in recording.targets"),
        ({"room": "r", "output": "rtmp", "stream": "rtmp://evil.example/key-1"}, "evil.example"),
        ({}, "room-audio needs room"),
        ({"room": "r", "id": "../../etc"}, "pattern"),
        ({"room": "r", "colour": "red"}, "Extra inputs"),
        ({"room": "a\0b"}, "pattern"),
    ],
)
async def test_what_cannot_be_recorded_is_422_with_the_reason(serving, livekit, body, why):
    ask = await serving("recordings")
    status, problem = await ask("POST", "/recordings", json=body)
    assert (status, livekit.asked) == (422, [])
    assert why in str(problem["detail"])
    assert "key-1" not in str(problem)


async def test_livekits_own_refusals_have_their_status(serving, livekit):
    ask = await serving("recordings")
    for code, status in (("not_found", 404), ("unavailable", 503), ("internal", 503)):
        livekit.refuses["StartRoomCompositeEgress"] = (code, status)
        assert (await ask("POST", "/recordings", json={"room": "r"}))[0] == status


async def test_unknown_ones_are_404(serving):
    ask = await serving("admin")
    for method, path in (
        ("GET", "/recordings/none-such"),
        ("POST", "/recordings/none-such/stop"),
        ("DELETE", "/recordings/none-such"),
        ("DELETE", "/ingress/IN_9"),
    ):
        assert (await ask(method, path))[0] == 404


@pytest.mark.parametrize("path", ["/recordings", "/ingress"])
async def test_nobody_comes_in_without_the_scope(serving, path):
    nobody = await serving()
    assert (await nobody("GET", path))[0] == 503  # no client key was made yet
    other = await serving("metrics")
    assert (await other("GET", path))[0] == 403
    assert (await nobody("GET", path))[0] == 401


async def test_ingress_by_http_tells_its_key_once(serving, livekit):
    ask = await serving("ingress")
    body = {"kind": "rtmp", "room": "stage", "identity": "studio"}
    status, made = await ask("POST", "/ingress", json=body)
    assert (status, made["stream_key"]) == (201, "the-stream-key")
    for method, path, options in (
        ("GET", "/ingress", {}),
        ("PATCH", "/ingress/IN_1", {"json": {"room": "other"}}),
        ("DELETE", "/ingress/IN_1", {}),
    ):
        status, told = await ask(method, path, **options)
        assert (status, "the-stream-key" in str(told)) == (200, False)


async def test_only_admin_sends_into_a_call(serving):
    body = {"kind": "whip", "room": "voice-ai-call-1", "identity": "studio"}
    ask = await serving("ingress")
    assert (await ask("POST", "/ingress", json=body))[0] == 422
    ask = await serving("admin")
    assert (await ask("POST", "/ingress", json=body))[0] == 201


async def test_no_secret_of_the_store_is_in_any_answer(serving, livekit):
    ask = await serving("recordings")
    await ask("POST", "/recordings", json={"room": "r"})
    (info,) = livekit.egress.values()
    assert info.status == wire.EGRESS_STARTING
    _, listed = await ask("GET", "/recordings")
    assert set(listed["recordings"][0]) == {
        "id", "egress_id", "call_id", "made_by", "kind", "output", "persona", "room", "status",
        "uri", "error", "size", "duration", "asked_at", "started_at", "ended_at", "deleted_at",
    }  # fmt: skip
