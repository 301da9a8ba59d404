"""A product that is observed: a worker, `ops serve` and all around them, ten calls and rooms."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

import psutil
import yaml

from agent import tasks
from agent.events import CallEnded
from agent.store import CallLog
from agent.store.rows import CallRecord
from ops.bench import stage
from ops.bench.rows import BY_NAME, PACES, Row
from ops.bench.stage import OURS, Placed
from plugins.line import Clock
from plugins.line.caller import SimulatedCaller
from plugins.line.scenario import (
    Hangup,
    Interjection,
    Listen,
    Patience,
    Say,
    Silence,
    UntilHangup,
    WhileAgentSpeaks,
)
from tests import serve_process
from tests.livekit_stand_in import KEY, SECRET
from tests.livekit_stand_in import Fault as ApiFault
from tests.observed.alertmanager import Alertmanager, Receiver, secrets
from tests.observed.prometheus import Prometheus
from tests.observed.rooms import LiveKitServer
from tests.programs import PATIENCE, ROOT, eventually
from tests.providers import Fault, Providers, ears

EVERY = 2
"""Seconds between two scrapes: the shipped 15 would only make the test longer."""

CALLS, APART = 10, 2.5
"""Calls, and seconds between their beginnings. One more is refused: whom it is for is closed."""

OPENED, CLOSED = 8, 3
"""Rooms that a telephone came to, and those of them that it left again; one more is lost, and one
telephone cannot connect."""

REFRESHED, REFUSED = 4, 2
"""Tokens that are refreshed, and of them twice: the second time in vain."""

QUIET = 8.0
"""Seconds after the calls in which the API is asked as always."""

PACE = 0.5
"""Seconds that the LiveKit API takes to answer: so long that those of the client are few."""

SHARED = ("VOICE_AGENT__STORE__URL", "LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")
"""What worker and control plane have in common."""

KILLED = 8
"""The call whose job is killed, by its place."""

KILLED_CALLED, CLOSED_CALLED = "+15550188", "+15550177"
"""The numbers that it was called by, and the call that is refused."""

SCOPES = ("metrics", "tokens", "health", "calls", "recordings")


class Scene:
    """All of it, from `async with` on; `play` brings the calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.providers = Providers()
        self.livekit = LiveKitServer()
        self.receiver = Receiver()
        self.placed: list[Placed] = []
        self.began = self.quiet = self.ended = 0.0
        """UNIX seconds: before the first call, after the last, and after a quiet while."""
        self.busy = 0.0
        """Per cent of the processors' time that was spent from the first to the last of these."""
        self.memory = 0.0
        """Per cent of the machine's memory that was in use at the end of them."""
        self.records: list[CallRecord] = []
        """What the call log says of the calls that were let in."""
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._open.aclose()

    async def _start(self) -> None:
        enter = self._open.enter_async_context
        for server in (self.providers, self.livekit, self.receiver):
            await enter(server)
        ears.learn("en")
        stage.pace(self.providers, PACES)
        shared = {
            **serve_process.settings(self.folder),
            "LIVEKIT_URL": self.livekit.url,
            "LIVEKIT_API_KEY": KEY,
            "LIVEKIT_API_SECRET": SECRET,
        }
        self.database = shared["VOICE_AGENT__STORE__URL"]
        self.key = serve_process.client_key(self.database, *SCOPES)
        self.serve = await enter(serve_process.ServeProcess(shared, self.key))
        self.livekit.pace = PACE
        self.livekit.tell(self._hook)
        own = {
            **{name: shared[name] for name in SHARED},
            "VOICE_AGENT__PERSONAS__FOLDER": str(_personas(self.folder / "personas")),
            "VOICE_AGENT__WORKER__MAX_CALLS": str(CALLS + 2),  # so that nobody finds it full
            "PYTHONPATH": str(ROOT),
        }
        work = stage.worker(
            OURS, "en", self.providers, self.folder, CALLS, ("-m", "tests.observed.stage"), **own
        )
        self.troupe = await enter(work)
        self.clock = await enter(Clock())
        keys = self.folder / "secrets"
        keys.mkdir()
        secrets(keys, self.receiver.url)
        (keys / "voice-ops-metrics-key").write_text(self.key)
        alerts = Alertmanager(self.folder / "alertmanager", self.receiver.url, keys)
        self.alertmanager = await enter(alerts)
        targets = {
            "voice-worker": await eventually(self._endpoints, "the worker tells its port"),
            "voice-ops": (await self.serve.url()).partition("://")[2],
        }
        observer = Prometheus(
            self.folder / "prometheus", targets, keys, self.alertmanager.address, EVERY
        )
        self.prometheus = await enter(observer)
        await self.scraped()

    async def play(self) -> None:
        """Ten calls, and beside them what LiveKit tells of its rooms."""
        self.began, before = time.time(), psutil.cpu_times()
        await asyncio.gather(self._calls(), self._rooms(), self._tokens())
        await self.scraped()
        self.quiet = time.time()
        await asyncio.sleep(QUIET)
        await self.scraped()
        self.ended, after = time.time(), psutil.cpu_times()
        self.memory = psutil.virtual_memory().percent
        idle = after.idle - before.idle + after.iowait - before.iowait
        self.busy = 100 * (1 - idle / (sum(after) - sum(before)))
        self.sampled_at = await self.prometheus.value(
            'max(timestamp(livekit_api_requests_total{job="voice-ops"}))', self.ended
        )
        self.records = self._records()
        _, told = await self.serve.ask("/health/detailed")
        self.healthy = {k for k, one in told["checks"].items() if one["status"] == "healthy"}

    async def call(self, row: Row, place: int = 0) -> Placed:
        """One call, with the steps of the row or those of a place; its faults strike, if any."""
        scenario = stage.scenario_of(row, "en")
        if row is WELL:
            scenario = scenario.model_copy(update={"steps": STEPS.get(place, BRIEF)})
        if place in NUMBERS:
            called = scenario.caller.model_copy(update={"called": NUMBERS[place]})
            scenario = scenario.model_copy(update={"caller": called})

        def on_step(step: int) -> None:
            if place == KILLED and step == AFTER_THE_QUESTION:
                # Off the loop: the callers' clock and the providers run on it.
                self._killing = tasks.spawn(asyncio.to_thread(self._kill), "kill-a-job")
            for name, fault in row.faults if step == stage.ASKED else ():
                getattr(self.providers, name).faults.add(Fault.model_validate(fault))

        caller = SimulatedCaller(scenario, on_step=on_step)
        return await stage.dial(self.troupe, caller, self.clock, self.providers)

    async def all_up(self) -> None:
        """Wait until every provider is asked: none may have failed before."""
        async with asyncio.timeout(2 * PATIENCE):
            while await self.prometheus.query("voice_provider_up == 0"):  # noqa: ASYNC110 - a scrape
                await asyncio.sleep(1.0)

    async def struck(self) -> float:
        """When a fault first strikes, in UNIX seconds."""
        await eventually(
            lambda: any(server.faults.struck for server in self.providers.all), "a fault strikes"
        )
        return time.time()

    def mend(self) -> None:
        """The providers are well from now on."""
        for server in self.providers.all:
            server.faults.clear()

    async def scraped(self) -> None:
        """Wait until both have been scraped, and rules evaluated, after all that was before."""
        now = time.time()
        async with asyncio.timeout(PATIENCE):
            while True:
                seen = await self.prometheus.query('timestamp(up{job=~"voice-.*"} == 1)')
                if len(seen) == 2 and min(seen.values()) > now:
                    break
                await asyncio.sleep(0.2)
            await asyncio.sleep(EVERY)  # the rules come after the scrape

    async def _calls(self) -> None:
        async def one(place: int) -> Placed:
            await asyncio.sleep(place * APART)
            return await self.call(WELL, place)

        *self.placed, _one_too_many = await asyncio.gather(*map(one, range(CALLS + 1)))
        for placed in self.placed:
            assert isinstance(placed.events[-1], CallEnded), placed.caller.failure
        # A slow machine may spoil a call: what it implies is seen all the same.
        failures = [placed.caller.failure for placed in self.placed if placed.caller.failure]
        assert len(failures) < CALLS // 2, failures

    async def _rooms(self) -> None:
        for number in range(1, OPENED + 1):
            await self.livekit.open(number)
        for number in range(1, CLOSED + 1):
            await self.livekit.close(number)
        await self.livekit.close(CLOSED + 1, "MEDIA_FAILURE")
        await self.livekit.refuse(OPENED)
        self.livekit.faults = [ApiFault("unavailable")] * 2
        await self.livekit.record(1, "EGRESS_COMPLETE")
        await self.livekit.record(2, "EGRESS_COMPLETE")
        await self.livekit.record(3, "EGRESS_FAILED")
        await self.livekit.record(OPENED)

    async def _tokens(self) -> None:
        asked = {"kind": "participant", "identity": "desk-7", "room": "lobby"}
        for place in range(REFRESHED):
            status, told = await self.serve.ask("/tokens", "POST", json=asked)
            assert status == 200, told
            old = {"token": told["token"]}
            assert (await self.serve.ask("/tokens/refresh", "POST", json=old))[0] == 200
            if place < REFUSED:
                assert (await self.serve.ask("/tokens/refresh", "POST", json=old))[0] == 409

    async def _hook(self, body: bytes, headers: dict[str, str]) -> None:
        status, told = await self.serve.ask("/webhooks/livekit", "POST", headers=headers, data=body)
        assert status == 200, told

    def _endpoints(self) -> str | None:
        """Host and port of the worker's own endpoints, from its log."""
        (log,) = self.folder.glob("worker-*/worker.log")
        for line in log.read_text().splitlines():
            if line.startswith("{") and "endpoints" in (told := json.loads(line)):
                return told["endpoints"]
        return None

    def _kill(self) -> None:
        """The job of one call dies."""
        with contextlib.closing(CallLog.open(self.database, readonly=True)) as log:
            (call,) = (c for c in log.list_calls(100) if c.called_number == KILLED_CALLED)
        assert call.pid
        os.kill(call.pid, signal.SIGKILL)

    def _records(self) -> list[CallRecord]:
        rooms = {placed.events[0].room for placed in self.placed}
        with contextlib.closing(CallLog.open(self.database, readonly=True)) as log:
            return [log.get_call(call.id) for call in log.list_calls(100) if call.room in rooms]


def _personas(folder: Path) -> Path:
    """The shipped personas; the Russian one has a number of its own, and is always closed."""
    shutil.copytree(ROOT / "config" / "personas", folder)
    file = folder / "ru.yaml"
    body = yaml.safe_load(file.read_text("utf-8"))
    body |= {"numbers": [CLOSED_CALLED], "hours": {"zone": "UTC", "week": {"monday": "closed"}}}
    file.write_text(yaml.safe_dump(body, allow_unicode=True), "utf-8")
    return folder


WELL = BY_NAME["none"]
LONG, SHORT = "i would like to know what your opening hours are", "where can i park"
LISTEN, HANGUP = Listen(listen=Patience()), Hangup(hangup={})
UNTIL_HANGUP = Silence(silence=UntilHangup())
BRIEF = [LISTEN, Say(say=SHORT), LISTEN, Say(say="thank you goodbye"), UNTIL_HANGUP]
AFTER_THE_QUESTION = 2
"""The step of BRIEF in which the caller waits for the answer."""

STEPS = {
    # One caller cuts a long answer off, one hangs up without a goodbye.
    3: [
        LISTEN,
        Say(say=LONG),
        WhileAgentSpeaks(while_agent_speaks=Interjection(after=1.5, say=SHORT)),
        LISTEN,
        HANGUP,
    ],
    6: [LISTEN, Say(say=LONG), LISTEN, HANGUP],
    CALLS: [UNTIL_HANGUP],
}
"""What some of the callers do; the others ask and say goodbye."""
NUMBERS = {KILLED: KILLED_CALLED, CALLS: CLOSED_CALLED}
