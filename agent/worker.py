"""The worker: registers with LiveKit, keeps job processes ready, hears what happens in them.

The only place that wires the house together: settings, personas, job processes, event channel,
call log and endpoints. Read `VoiceServer.run` first.
"""

from __future__ import annotations

import asyncio
import math
import shutil
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from livekit.agents import JobContext, JobRequest
from livekit.agents.utils import http_context

from agent import framework, lines, log, metrics, preload, probes, providers, speech, tasks
from agent.call import EndReason
from agent.channel import ChannelServer, Conversation
from agent.connection import Connection
from agent.costs import Pricing
from agent.deposit import Deposit
from agent.endpoints import Endpoints
from agent.errors import LiveKitAway, StartError, StoreError
from agent.events import WORKER_SEQ, CallEnded, CallOpened, Event
from agent.gate import Gate
from agent.job import House, answer, close
from agent.ledger import Ledger
from agent.livekit import LiveKit
from agent.outages import Outages
from agent.phrases import PhraseCache, Phrases
from agent.remote import RemoteLedger
from agent.roster import Roster
from agent.tally import Tally
from config.livekit_auth import EMPTY_RING, KeyRing
from config.persona import Persona
from config.prices import load_prices
from config.settings import Settings

logger = log.get(__name__)

START_FAILED = 2
"""Exit code of a process that cannot start as configured."""

FAILED = 1
"""Exit code of a worker that LiveKit has left for too long, or that broke."""

PROCESS_START = 60.0
"""Seconds for a job process to get ready. The framework's ten would, on a busy machine, end one
process after another just before it is ready."""

MOST_IDLE = 10
"""Idle processes by default, at most: a burst that large is taken at once."""


FULL = 0.99
"""The greatest load that is told: at 1, LiveKit would not ask, and callers would ring in vain."""

PHRASES_AGAIN, PHRASES_LATEST = 60.0, 3600.0
"""Seconds until a voice that could not say a phrase is asked again: at first, and at most."""


class VoiceServer(framework.Server):
    """The framework's worker with our house around it.

    `observer` is told of every event of every call after it was made durable. `entry` answers a
    call: another one than ours is for a bench. `ring` is that of the start, and without keys for
    simulated calls; a worker takes another key when it is started anew.
    """

    _unspoken: dict[str, list[str]]
    """By persona, the phrases that no voice has said yet."""
    _cached: dict[str, int]
    """By persona, how many are there."""

    def __init__(
        self,
        settings: Settings,
        personas: dict[str, Persona],
        observer: Callable[[Event], None] | None = None,
        preload_modules: Sequence[str] = (),
        entry: Callable[[JobContext], Awaitable[None]] = answer,
        ring: KeyRing = EMPTY_RING,
    ) -> None:
        section = settings.worker
        super().__init__(
            ws_url=settings.livekit.url,
            **_credentials(ring),
            host=section.host,
            port=section.port,
            drain_timeout=int(section.drain_timeout),
            num_idle_processes=_idle_processes(settings),
            initialize_process_timeout=PROCESS_START,
            # Load is counted in calls, at the job request; a full worker rejects there.
            load_threshold=math.inf,
            # Whom LiveKit believes to be full gets no jobs, and could turn no caller away.
            load_fnc=lambda _: self.load(),
            preload_modules=["agent.preload", *preload_modules],
            log_level="warn" if settings.log.level == "warning" else settings.log.level,
        )
        self.exit_code = 0
        self._settings = settings
        self._personas = personas
        self._observer = observer
        self._folder = Path(tempfile.gettempdir()) / f"voice-ai-{uuid4().hex[:12]}"
        self._livekit = LiveKit.of(settings.livekit, ring.credentials)
        self._pricing = Pricing(load_prices(settings.costs.prices))
        self._ledger = _ledger(settings, self._delete_rooms, self._pricing)
        self._deposit, self._tally = Deposit(settings, self._ledger.add), Tally()
        self._connection = Connection(section.give_up_after)
        self._endpoints = Endpoints(section, self._checks, lambda: self._connection.away_seconds)
        self._roster = self._in_list()
        self._gate = self._at_gate(ring)
        self._open, self._calls = AsyncExitStack(), lines.CallIds()
        self._closing = asyncio.Lock()
        self._phrases: asyncio.Task[None] | None = None
        self._unspoken, self._cached = {}, {}
        socket, policies = self._folder / "events.sock", self._livekit.policies
        house = House(settings, personas, socket, self._ledger.worker_id, policies, ring)
        self.setup_fnc = partial(preload.prewarm, house)
        self.rtc_session(
            entry, agent_name=section.agent_name, on_request=self.admit, on_session_end=close
        )
        self.on("worker_registered", self._on_registered)

    def _in_list(self) -> Roster:
        return Roster(
            self._settings.worker,
            self._ledger.worker_id,
            None if isinstance(self._ledger, RemoteLedger) else self._ledger.run,
            calls=lambda: len(self.jobs),
            is_registered=lambda: self._connection.is_registered,
            is_draining=lambda: self.draining,
            leave=partial(signal.raise_signal, signal.SIGTERM),  # the way of every other end
        )

    def _at_gate(self, ring: KeyRing) -> Gate:
        return Gate(
            self._settings,
            self._personas,
            self._ledger.worker_id,
            secret=_credentials(ring)["api_secret"],
            running=lambda: self.jobs,
            is_draining=lambda: self.draining,
            is_resting=lambda: self._roster.is_resting,
            is_registered=lambda: self._connection.is_registered,
            keep=self._keep,
            delete_rooms=self._delete_rooms,
            burst=self.hold_idle_processes,
        )

    async def run(self, *, devmode: bool = False, unregistered: bool = False) -> None:
        """Open the house, then be the framework's worker until it is closed."""
        log.protect()
        framework.write_lines(lines.formatter())
        framework.trace_content(allowed=self._settings.security.traces_with_content)
        try:
            await self._open_house()
            self.on("worker_started", self._tell_ports)
            self.on("worker_started", self._gate.start)
            await super().run(devmode=devmode, unregistered=unregistered)
        except LiveKitAway as error:
            self.exit_code = FAILED
            logger.error("the worker gives up", error=str(error))
            await self._outlast_calls()
        except (StartError, StoreError, OSError) as error:
            self.exit_code = START_FAILED
            print(f"voice-ai: {error}", file=sys.stderr)  # noqa: T201 - for people, not the log
        except Exception:
            self.exit_code = FAILED  # the framework logs the error, and would exit with 0
            raise
        finally:
            await self._close_house()

    def update_options(self, **options: Any) -> None:
        """Take options of the framework's command line, but no key: which one signs is settled.

        The framework would take LIVEKIT_API_KEY in the place of the one that was promoted.
        """
        super().update_options(
            **{name: value for name, value in options.items() if not name.startswith("api_")}
        )

    def load(self) -> float:
        """How busy this worker is, as LiveKit is told: one that rests is asked last."""
        share = len(self.active_jobs) / self._settings.worker.max_calls
        return FULL if self._roster.is_resting else min(FULL, share)

    async def admit(self, request: JobRequest) -> None:
        """Answer a request for a job, LiveKit's or that of a simulated call."""
        await self._gate.decide(request)

    async def stay_connected(self) -> None:
        """Be registered with LiveKit for as long as the worker runs."""
        await self._connection.keep(self.connect_once)

    async def aclose(self) -> None:
        """End the jobs, then close the house behind them."""
        await super().aclose()
        await self._close_house()

    async def _open_house(self) -> None:
        self._calls.attach()
        self._open.callback(self._calls.detach)
        self._folder.mkdir(mode=0o700)
        self._open.callback(shutil.rmtree, self._folder, ignore_errors=True)
        self._open.push_async_callback(self._livekit.aclose)
        await self._ledger.open()
        self._open.push_async_callback(self._ledger.aclose)
        self._roster.start()
        self._open.push_async_callback(self._roster.aclose)
        self._deposit.start()
        self._open.push_async_callback(self._deposit.aclose)
        self._open.push_async_callback(self._gate.aclose)
        self._outages = Outages(
            partial(probes.probe, self._settings, self._personas),
            lambda *change: channel.tell(*change),  # noqa: PLW0108 - made below
        )
        self._outages.expect(providers.places(self._settings, self._personas.values()))
        channel = ChannelServer(
            self._folder / "events.sock",
            self._keep,
            self._bury,
            self._gate.answer,
            self._outages.now,
        )
        await channel.start()
        self._open.push_async_callback(channel.aclose)
        self._open.push_async_callback(self._outages.aclose)
        self._endpoints_port = await self._endpoints.start()
        self._open.push_async_callback(self._endpoints.aclose)
        providers.announce(self._settings)
        self._phrases = tasks.spawn(self._fill_phrases(), "phrase-cache")
        self._open.push_async_callback(tasks.end, self._phrases)

    async def _outlast_calls(self) -> None:
        """Calls that LiveKit left end by themselves: the house is open until they have."""
        try:
            await self.drain()
        except TimeoutError:
            logger.warning("calls are cut", calls=len(self.active_jobs))

    async def _close_house(self) -> None:
        async with self._closing:
            await self._open.aclose()

    async def _fill_phrases(self) -> None:
        """Have every phrase said that is not on disk yet, so that calls need not wait for it."""
        pause, lacking = PHRASES_AGAIN, True
        while lacking:
            async with http_context.open():
                filled = await asyncio.gather(*map(self._fill, self._personas.values()))
            if lacking := any(filled):
                await asyncio.sleep(pause)
                pause = min(2 * pause, PHRASES_LATEST)

    async def _fill(self, persona: Persona) -> bool:
        """Whether the persona's first voice lacks phrases still."""
        try:
            voices = speech.voices_of(self._settings, persona)
        except StartError as error:
            logger.warning("a persona cannot be used", persona=persona.name, why=str(error))
            self._unspoken[persona.name] = []
            return False
        phrases = Phrases.of(persona, self._settings, PhraseCache.of(self._settings))
        async with AsyncExitStack() as open_voices:
            for voice in voices.values():
                await open_voices.enter_async_context(voice)
            lacking = await phrases.fill(voices)
        unspoken = self._unspoken[persona.name] = phrases.lacking()
        self._cached[persona.name] = phrases.count - len(unspoken)
        metrics.PHRASES_LACKING.set(sum(map(len, self._unspoken.values())))
        metrics.PHRASES_CACHED.set(sum(self._cached.values()))
        logger.debug("phrases are cached", persona=persona.name, missing=len(lacking))
        return bool(lacking)

    def _on_registered(self, *_: object) -> None:
        self._connection.registered()
        self._gate.registered()

    def _tell_ports(self) -> None:
        section = self._settings.worker
        logger.info(
            "the worker is ready",
            http=f"{section.host}:{framework.http_port(self)}",
            endpoints=f"{section.endpoints_host}:{self._endpoints_port}",
        )

    async def _keep(self, event: Event) -> None:
        if isinstance(event, CallOpened):
            self._calls.know(event.job_id, event.call_id)
        self._gate.hear(event)
        self._outages.hear(event)
        (event,) = self._pricing.priced([event])
        await self._ledger.add(event)
        if not isinstance(self._ledger, RemoteLedger):  # else counted where it is written
            self._tally.count(event)
        self._deposit.hear(event)
        if self._observer:
            self._observer(event)

    async def _bury(self, job: Conversation) -> None:
        """A job process was killed: close its record and delete its room, at once."""
        logger.error("a job process was killed", call=job.call_id, job_pid=job.pid)
        end = CallEnded(call_id=job.call_id, seq=WORKER_SEQ, reason=EndReason.PROCESS_KILLED)
        # The caller sits in a silent room: that must not wait for a slow database.
        kept, _ = await asyncio.gather(
            self._keep(end), self._delete_rooms([job.room]), return_exceptions=True
        )
        if isinstance(kept, BaseException):
            logger.error("the end of a call could not be kept", call=job.call_id, error=str(kept))

    async def _delete_rooms(self, rooms: Iterable[str]) -> None:
        """Delete rooms whose agent is gone: the caller in them hears nothing."""
        await asyncio.gather(*map(self._livekit.delete_room, rooms))

    def _has_phrases(self) -> bool:
        """Whether every phrase of every persona that can be used is on disk, in any voice."""
        is_filled = len(self._unspoken) == len(self._personas)
        return is_filled and not any(self._unspoken.values())

    def _checks(self) -> Mapping[str, bool]:
        return {
            "registered": self._connection.is_registered,
            "not_draining": not (self.draining or self._roster.is_resting),
            "phrases": self._has_phrases(),
            "call_log": not self._ledger.is_degraded,
            "not_full": not self._gate.is_full,
        }


def _credentials(ring: KeyRing) -> dict[str, str]:
    key, secret = ring.credentials() if ring.signing else ("", "")
    return {"api_key": key, "api_secret": secret}


def _ledger(
    settings: Settings, abandoned: Callable[[Iterable[str]], Awaitable[None]], pricing: Pricing
) -> Ledger | RemoteLedger:
    folder = settings.data.folder
    if settings.worker.report_to:
        return RemoteLedger(settings.worker, folder, abandoned, pricing.priced)
    return Ledger(settings.store.url, folder, abandoned, pricing.priced)


def _idle_processes(settings: Settings) -> int:
    chosen = settings.worker.idle_processes
    return min(settings.worker.max_calls, MOST_IDLE) if chosen is None else chosen
