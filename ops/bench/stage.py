"""Calls against stand-ins for the providers, each by a worker of its own.

A worker remembers which providers have failed: a row must not hear of the one before it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from agent.events import Event, encode
from agent.rehearsal.troupe import STAGE, Troupe
from config.persona import Persona, load_personas
from config.settings import ROOT
from ops.bench import standins, stock
from ops.bench.rows import CHAINS, PACES, TALKS, Row
from plugins.line import Clock, Hello, NoAnswer, Phone, Recording
from plugins.line.caller import SimulatedCaller
from plugins.line.scenario import (
    AnyStep,
    CallerProfile,
    Listen,
    Patience,
    Say,
    Scenario,
    Silence,
    UntilHangup,
)

OURS = "ours"
AGENTS: Mapping[str, Sequence[str]] = {
    OURS: STAGE,
    stock.STOCK: (*stock.COMMAND, stock.STOCK),
    stock.PLAIN: (*stock.COMMAND, stock.PLAIN),
}
QUIET = 3.2
"""Seconds that a caller waits: longer than the silence allowed, so that a filler is not all."""
HANGUP_WITHIN = 15.0
ANSWER_WITHIN, CALL_LIMIT, RECORD_WITHIN, PHRASES_WITHIN = 30.0, 120.0, 10.0, 30.0
"""Seconds: to pick up, for a whole call, for its record, for the worker's phrases."""
ASKED = 3
"""The step in which the caller speaks for the second time."""

VOICES = {"en": "en-us", "ru": "ru"}


@dataclass(frozen=True, slots=True)
class Placed:
    """One call that is over."""

    caller: SimulatedCaller
    recording: Recording
    answered_at: float
    """UNIX seconds: when the recording began."""
    events: tuple[Event, ...]
    spoken: frozenset[str]
    """Every text that a stand-in was asked to speak."""
    struck: int
    """How often the faults struck."""


async def place(agent: str, row: Row, language: str, folder: Path, clock: Clock) -> Placed:
    """Place the call of one row with a worker of its own. Files go to `folder`."""
    providers = standins.load()
    servers = providers.Providers()
    faults = [(name, providers.Fault.model_validate(fault)) for name, fault in row.faults]

    def arm(step: int) -> None:
        if step == (0 if row.at_start else ASKED):
            for name, fault in faults:
                getattr(servers, name).faults.add(fault)

    async with servers:
        pace(servers, row.paces or PACES)
        caller = SimulatedCaller(scenario_of(row, language), on_step=arm)
        if row.at_start:
            arm(0)
        async with worker(agent, language, servers, folder) as troupe:
            placed = await dial(troupe, caller, clock, servers)
    own = folder / f"{row.name}-{language}-{agent}"
    own.mkdir(exist_ok=True, parents=True)
    placed.recording.save(own / "call.wav")
    (own / "events.jsonl").write_text("".join(f"{encode(e)}\n" for e in placed.events), "utf-8")
    return placed


@asynccontextmanager
async def worker(
    agent: str,
    language: str,
    servers: Any,
    folder: Path,
    calls: int = 1,
    command: Sequence[str] = (),
    **more: str,
) -> AsyncIterator[Troupe]:
    """A worker that uses the stand-ins, once its phrases are cached; `command` is another one."""
    own = folder / f"worker-{uuid4().hex[:8]}"
    (own / "data").mkdir(parents=True)
    phrases = folder / "phrases"
    phrases.mkdir(exist_ok=True)
    (own / "data" / "phrases").symlink_to(phrases.resolve())  # the same for all, made once
    variables = {
        **servers.variables,
        **{f"VOICE_AGENT__SPEECH__{kind}": chain for kind, chain in CHAINS.items()},
        "VOICE_AGENT__PERSONAS__DEFAULT": language,
        "VOICE_AGENT__WORKER__MAX_CALLS": str(max(10, calls)),
        "VOICE_AGENT__WORKER__IDLE_PROCESSES": str(calls),
        "VOICE_AGENT__DATA__FOLDER": str(own / "data"),
        "VOICE_AGENT__STORE__URL": f"sqlite:///{own / 'calls.db'}",
        **more,
    }
    command = command or AGENTS[agent]
    async with Troupe(variables, own / "worker.log", lambda *_: None, command) as troupe:
        await _until(lambda: len(list(phrases.glob("*.wav"))) >= _phrases(), PHRASES_WITHIN)
        yield troupe


async def dial(troupe: Troupe, caller: SimulatedCaller, clock: Clock, servers: Any) -> Placed:
    """One call, from the first ring to its closed record."""
    profile, room = caller.scenario.caller, f"voice-ai-call-{uuid4().hex[:10]}"
    hello = Hello(number=profile.number, called=profile.called, law=profile.law)
    async with Phone(clock, caller, hello, noise_dbfs=profile.noise_dbfs) as phone:
        await troupe.dial(room, phone.path)
        try:
            await phone.ring(ANSWER_WITHIN)
            await asyncio.wait_for(asyncio.shield(phone.ended), CALL_LIMIT)
        except NoAnswer:
            caller.failure = f"nobody answered within {ANSWER_WITHIN:g} s"
        except TimeoutError:
            caller.failure = f"the call did not end within {CALL_LIMIT:g} s"
    events = await troupe.record_of(room, RECORD_WITHIN)
    return Placed(
        caller,
        phone.recording,
        phone.answered_at or 0.0,
        tuple(events),
        spoken(servers),
        sum(len(server.faults.struck) for server in servers.all),
    )


def scenario_of(row: Row, language: str) -> Scenario:
    """What the caller of a row does."""
    talk = TALKS[language]
    steps: list[AnyStep] = [
        Listen(listen=Patience()),
        Say(say=talk.greeted.text),
        Listen(listen=Patience()),
        Say(say=talk.asked[row.asks].text),
    ]
    if row.ends.value == "agent_hangup":
        patient = Listen(listen=Patience(quiet=QUIET, timeout=row.listens))
        steps.append(patient)
        if row.for_good:
            steps += [Say(say=talk.following.text), patient]
        steps.append(Say(say=talk.parting.text))
    steps.append(Silence(silence=UntilHangup(timeout=HANGUP_WITHIN)))
    profile = CallerProfile(voice=VOICES[language])
    return Scenario(name=row.name, about=row.title, persona=language, caller=profile, steps=steps)


def pace(servers: Any, paces: Mapping[str, Mapping[str, Any]]) -> None:
    """Let the stand-ins be so fast from now on."""
    kind = standins.load().Pace
    for name, fields in paces.items():
        getattr(servers, name).pace = kind.model_validate(fields)


def spoken(servers: Any) -> frozenset[str]:
    """Every text that the stand-ins were asked to speak."""
    asked = [one.what for server in servers.all for one in server.asked]
    texts = (str(what.get("transcript") or what.get("input") or "").strip() for what in asked)
    return frozenset(filter(None, texts))


def spare(servers: Any) -> int:
    """Requests for hearing, thinking and speaking to those that stand behind the first."""
    turns = servers.openai.turns
    return int(turns["transcribe"] + turns["speak"] + servers.groq.turns["chat"])


def personas() -> dict[str, Persona]:
    """The shipped personas, which the stand-ins know."""
    return load_personas(ROOT / "config" / "personas")


def _phrases() -> int:
    """How many phrases a worker caches."""
    return sum(len(set(p.phrases.model_dump().values())) for p in personas().values())


async def _until(true: Callable[[], bool], within: float) -> None:
    """Wait for what tells nobody that it happened; after `within` seconds go on all the same."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within):
            while not true():  # noqa: ASYNC110 - files that another process makes
                await asyncio.sleep(0.1)
