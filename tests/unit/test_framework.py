"""The contract of every private name of LiveKit that `agent/framework*.py` use."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web
from livekit import api
from livekit.agents import AgentServer
from livekit.agents.cli import cli, log
from livekit.agents.ipc import _preload, mock_room, proc_pool
from livekit.agents.telemetry import trace_types, traces
from livekit.agents.utils import http_context
from livekit.agents.voice.transcription import TranscriptSynchronizer, _speaking_rate
from livekit.api.room_service import RoomService
from livekit.plugins import deepgram, openai
from livekit.rtc import _ffi_client as ffi
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agent import framework, framework_api, openai_client
from agent.errors import ConnectionLost
from tests import canaries
from tests.livekit_stand_in import KEY, SECRET, LiveKitStandIn

ROOT = Path(__file__).parents[2]


def test_the_pinned_release_is_installed():
    assert version("livekit-agents") == "1.8.9"
    assert 'livekit-agents==1.8.9"' in (ROOT / "pyproject.toml").read_text()


def test_the_cli_takes_a_server_and_warns_of_its_end_in_words_that_we_filter():
    assert next(iter(inspect.signature(cli.run_app).parameters)) == "server"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["agent.py", "--help"])
            with pytest.raises(SystemExit):
                framework.run_cli(AgentServer())
    assert [str(warning.message) for warning in caught] == []


async def test_a_service_of_the_api_is_signed_with_the_key_of_the_moment():
    keys, sent = [("key-1", SECRET)], []

    class Client:
        async def request(self, service, method, data, headers, response_class, **_):
            sent.append((service, method, data, headers["authorization"].removeprefix("Bearer ")))
            return response_class()

    service = framework_api.api_service(RoomService, "ws://127.0.0.1", Client(), lambda: keys[0])
    wanted = api.ListRoomsRequest(names=["room-1"])
    await service.list_rooms(wanted)
    keys[0] = ("key-2", SECRET)
    await service.list_rooms(wanted)
    assert [one[:3] for one in sent] == [("RoomService", "ListRooms", wanted)] * 2
    for (*_, token), key in zip(sent, ("key-1", "key-2"), strict=True):
        assert api.TokenVerifier(key, SECRET).verify(token).video.room_list


def test_a_service_of_the_api_has_what_is_replaced():
    service = RoomService(None, "ws://127.0.0.1", "key", SECRET)
    assert list(inspect.signature(service._auth_header).parameters) == ["grants", "sip"]
    assert list(inspect.signature(service._client.request).parameters) == [
        *("service", "method", "data", "headers", "response_class", "timeout"),
    ]
    assert (service.api_key, service.api_secret) == ("key", SECRET)


def test_logs_can_be_set_up_as_start_does():
    parameters = inspect.signature(log.setup_logging).parameters
    assert list(parameters)[:3] == ["log_level", "devmode", "console"]


def test_logs_as_json_are_one_object_a_line():
    code = (
        "from agent import framework, lines, log\n"
        "framework.log_as_json('info')\n"
        "framework.write_lines(lines.formatter())\n"
        "log.get('agent.x').info('a call came in', calls=3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    (line,) = (done.stdout + done.stderr).splitlines()
    told = json.loads(line)
    assert list(told)[:5] == ["timestamp", "level", "logger", "event", "pid"]
    assert (told["level"], told["logger"]) == ("info", "agent.x")
    assert (told["event"], told["calls"]) == ("a call came in", 3)


def test_the_switch_of_the_turn_detectors_weights_is_the_frameworks():
    name = _preload.ENV_PRELOAD_LOCAL_INFERENCE
    assert name == "LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE"
    assert "0" in _preload._FALSY
    assert name in inspect.getsource(framework)


def test_a_simulated_room_can_be_made_before_there_is_a_job():
    parameters = inspect.signature(mock_room.create_mock_room).parameters
    assert all(p.default is not inspect.Parameter.empty for p in parameters.values())
    framework.prepare_simulated_rooms()


def test_the_native_runtime_is_started_with_its_logs_left_to_itself():
    source = inspect.getsource(ffi.FfiClient.__init__)
    assert "livekit_ffi_initialize(\n            ffi_event_callback, True" in source
    code = (
        "import os, time\n"
        "from agent import framework\n"
        "from livekit import rtc\n"
        "heard = []\n"
        "rtc.log.logger.log = lambda *record: heard.append(record)\n"
        "os.environ['LIVEKIT_RTC_DEBUG'] = '1'\n"
        "framework.start_native_runtime()\n"
        "time.sleep(0.3)\n"
        "heard.clear()  # of the start itself\n"
        "source = rtc.AudioSource(8000, 1)\n"
        "track = rtc.LocalAudioTrack.create_audio_track('any', source)\n"
        "time.sleep(0.3)\n"
        "print(len(heard))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0"], done.stdout


async def test_idle_processes_can_be_held_back_and_made_again():
    server = framework.Server(ws_url="ws://127.0.0.1:9", api_key=KEY, api_secret=SECRET)
    server.hold_idle_processes(True)  # before there is a pool
    targets = []
    server._proc_pool = SimpleNamespace(set_target_idle_processes=targets.append)
    server.hold_idle_processes(True)
    server.hold_idle_processes(False)
    assert targets[0] == 0
    source = inspect.getsource(proc_pool.ProcPool._main_task)
    assert "min(self._target_idle_processes, self._default_num_idle_processes)" in source
    assert targets[1] >= 1000  # the smaller of it and what is configured counts


async def test_a_running_worker_tells_the_port_that_it_listens_on():
    server = AgentServer(host="127.0.0.1", port=0, num_idle_processes=0, log_level="ERROR")
    server.rtc_session(entrypoint)
    started = asyncio.Event()
    server.on("worker_started", started.set)
    running = asyncio.create_task(server.run(unregistered=True))
    await asyncio.wait_for(started.wait(), 20)
    url = f"http://127.0.0.1:{framework.http_port(server)}/"
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        assert (answer.status, await answer.text()) == (200, "OK")
    await server.aclose()
    await running


def test_a_worker_that_is_still_being_opened_runs_no_jobs():
    assert framework.Server(ws_url="ws://127.0.0.1:9", api_key=KEY, api_secret=SECRET).jobs == set()


@pytest.mark.parametrize("greeting", ["closes", "refuses", "is away"])
async def test_one_connection_is_one_attempt_whose_failure_is_told(greeting):
    async with Doorman(greeting) as doorman:
        server = framework.Server(ws_url=doorman.url, **OPTIONS)
        server.rtc_session(entrypoint)
        with pytest.raises(ConnectionLost) as lost:
            await asyncio.wait_for(server.run(), 20)
        assert doorman.knocks == (0 if greeting == "is away" else 1)
        assert lost.value.status == (401 if greeting == "refuses" else 0)
        assert str(lost.value)
        url = f"http://127.0.0.1:{framework.http_port(server)}/"
        async with aiohttp.ClientSession() as client, client.get(url) as answer:
            assert await answer.text() == "OK", "the framework's health check stays well"
        await server.aclose()


async def test_the_worker_asks_us_to_keep_the_connection_and_is_told_of_its_registration():
    assert inspect.iscoroutinefunction(inspect.unwrap(AgentServer._connection_task))
    assert "self._connection_task()" in inspect.getsource(AgentServer.run)
    async with LiveKitStandIn() as livekit:
        livekit.takes_workers.set()
        server = framework.Server(
            ws_url=livekit.variables["LIVEKIT_URL"], **{**OPTIONS, "api_secret": SECRET}
        )
        server.rtc_session(entrypoint)
        registered = asyncio.Event()
        server.on("worker_registered", lambda *_: registered.set())
        running = asyncio.create_task(server.run())
        await asyncio.wait_for(registered.wait(), 20)
        assert not running.done()
        await server.aclose()
        await running


OPTIONS = {
    "api_key": KEY,
    "api_secret": canaries.secret(),
    "host": "127.0.0.1",
    "port": 0,
    "num_idle_processes": 0,
    "log_level": "ERROR",
}


class Doorman:
    """A server of websockets that takes nobody in."""

    def __init__(self, greeting):
        self._greeting = greeting
        self.knocks = 0

    async def __aenter__(self):
        app = web.Application()
        app.router.add_get("/agent", self._knock)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"ws://127.0.0.1:{self._runner.addresses[0][1]}"
        if self._greeting == "is away":
            await self._runner.cleanup()
        return self

    async def __aexit__(self, *error):
        await self._runner.cleanup()

    async def _knock(self, request):
        self.knocks += 1
        if self._greeting == "refuses":
            raise web.HTTPUnauthorized
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.close()
        return socket


async def entrypoint(ctx):
    raise NotImplementedError


@pytest.mark.parametrize(("allowed", "kept"), [(False, []), (True, ["my secret sentence"])])
def test_traces_carry_what_people_said_only_when_it_is_allowed(allowed, kept, monkeypatch):
    monkeypatch.setenv("LIVEKIT_TELEMETRY_ALLOW_PII", "to be replaced, and restored by pytest")
    framework.trace_content(allowed=allowed)
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces._install_pii_redaction(provider)  # as the framework does with the ambient provider
    names = (trace_types.ATTR_USER_TRANSCRIPT, trace_types.ATTR_GEN_AI_INPUT_MESSAGES)
    with provider.get_tracer("test").start_as_current_span("turn") as span:
        span.set_attribute(names[0], "my secret sentence")
        span.set_attribute(names[1], "my secret sentence")
        span.set_attribute("lk.interrupted", value=True)
    (exported,) = exporter.get_finished_spans()
    assert exported.attributes["lk.interrupted"] is True
    assert [exported.attributes[name] for name in names if name in exported.attributes] == kept * 2


@pytest.mark.parametrize("made", [openai.LLM, openai.TTS])
async def test_a_client_that_was_made_for_openais_plugin_is_closed_with_it(made):
    plugin = made(client=openai_client.client("k", None))
    framework.own_client(plugin)
    await plugin.aclose()
    assert plugin._client.is_closed()


async def test_the_client_of_openais_recogniser_is_closed_with_it():
    whole = openai.STT(client=openai_client.client("k", None), use_realtime=False)
    await framework.close_recogniser(whole)
    assert whole._client.is_closed()
    async with http_context.open():
        streaming = deepgram.STT(api_key="k")
        await framework.close_recogniser(streaming)


def test_the_pace_of_speech_is_measured_twice_a_second(monkeypatch):
    detector = _speaking_rate.SpeakingRateDetector
    monkeypatch.setattr(detector.__init__, "__kwdefaults__", {**detector.__init__.__kwdefaults__})
    framework.pace_transcripts_lightly()
    assert detector()._opts.step_size == framework.PACE_STEP
    # The synchronizer takes what the detector has by default.
    assert "=SpeakingRateDetector()" in inspect.getsource(TranscriptSynchronizer.__init__)
