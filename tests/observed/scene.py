"""A product that is observed: a worker, `ops serve` and all around them, ten calls and rooms."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

from agent.events import CallEnded, Event
from ops.bench import stage
from ops.bench.rows import BY_NAME, PACES, Row
from ops.bench.stage import OURS, Placed
from plugins.line import Clock
from plugins.line.caller import SimulatedCaller
from plugins.line.scenario import Hangup, Interjection, Listen, Patience, Say, WhileAgentSpeaks
from tests import serve_process
from tests.livekit_stand_in import KEY, SECRET
from tests.observed.alertmanager import Alertmanager, Receiver, secrets
from tests.observed.prometheus import Prometheus
from tests.observed.rooms import LiveKitServer
from tests.programs import PATIENCE, eventually
from tests.providers import Providers, ears

EVERY = 2
"""Seconds between two scrapes: the shipped 15 would only make the test longer."""

CALLS, APART = 10, 1.5
"""Calls, and seconds between their beginnings."""

OPENED, CLOSED, REFUSED, LOST = 8, 3, 1, 1
"""Rooms: that a telephone came to, of them ended well, and ended by a failure of the media."""

SCOPES = ("metrics", "tokens:caller", "health", "calls", "recordings")


class Scene:
    """All of it, from `async with` on; `play` brings the calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.providers = Providers()
        self.livekit = LiveKitServer()
        self.receiver = Receiver()
        self.placed: list[Placed] = []
        self.began = self.ended = 0.0
        """UNIX seconds: before the first call, and after all that it implies was scraped."""
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
        database = shared["VOICE_AGENT__STORE__URL"]
        self.key = serve_process.client_key(database, *SCOPES)
        self.serve = await enter(serve_process.ServeProcess(shared, self.key))
        self.livekit.tell(self._hook)
        own = {"VOICE_AGENT__STORE__URL": database}
        work = stage.worker(OURS, "en", self.providers, self.folder, calls=CALLS, **own)
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
        self.began = time.time()
        await asyncio.gather(self._calls(), self._rooms())
        await self.scraped()
        self.ended = time.time()

    async def call(self, row: Row, steps: Sequence[object] = ()) -> Placed:
        """One call, with the steps of the row or with these."""
        scenario = stage.scenario_of(row, "en")
        if steps:
            scenario = scenario.model_copy(update={"steps": list(steps)})
        return await stage.dial(self.troupe, SimulatedCaller(scenario), self.clock, self.providers)

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
            return await self.call(BY_NAME["none"], STEPS.get(place, ()))

        self.placed = await asyncio.gather(*map(one, range(CALLS)))
        for placed in self.placed:
            assert isinstance(placed.events[-1], CallEnded), placed.caller.failure

    async def _rooms(self) -> None:
        for number in range(1, OPENED + 1):
            await self.livekit.open(number)
        for number in range(1, CLOSED + 1):
            await self.livekit.close(number)
        await self.livekit.close(CLOSED + 1, "MEDIA_FAILURE")
        await self.livekit.refuse(OPENED)
        await self.livekit.record(1, "EGRESS_COMPLETE")
        await self.livekit.record(2, "EGRESS_COMPLETE")
        await self.livekit.record(3, "EGRESS_FAILED")

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

    def events(self, kind: type[Event]) -> list[Event]:
        """The events of this kind of all ten calls."""
        return [e for placed in self.placed for e in placed.events if isinstance(e, kind)]


LONG, SHORT = "i would like to know what your opening hours are", "where can i park"
STEPS = {
    # One caller cuts a long answer off, one hangs up in the middle.
    3: [
        Listen(listen=Patience()),
        Say(say=LONG),
        WhileAgentSpeaks(while_agent_speaks=Interjection(after=1.5, say=SHORT)),
        Listen(listen=Patience()),
        Hangup(hangup={}),
    ],
    6: [Listen(listen=Patience()), Say(say=LONG), Listen(listen=Patience()), Hangup(hangup={})],
}
"""What some of the callers do; the others ask twice and say goodbye."""
