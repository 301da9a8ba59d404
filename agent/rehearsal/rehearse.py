"""`call`: starts the worker as a process of its own, plays callers over the line, judges.

The simulated callers live in this process, which owns the 20 ms clock and makes the recordings;
the calls are answered by the worker's job processes, through the same `answer(ctx)` as any call.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import yaml

from agent import providers
from agent.errors import StartError
from agent.events import Event
from agent.rehearsal.playbill import Playbill, Result
from agent.rehearsal.troupe import Troupe
from agent.rehearsal.verdict import judge_record, story_of
from agent.start import prepare
from config.persona import Persona
from config.settings import Settings
from plugins.line import Clock, Hello, LineError, NoAnswer, Phone, TransferResult, heard_latency
from plugins.line.caller import Manner, SimulatedCaller
from plugins.line.judge import judge_line
from plugins.line.scenario import (
    Scenario,
    ScenarioError,
    load_scenario,
    recorded_caller,
    shipped,
)

ANSWER_WITHIN = 30.0
CALL_LIMIT = 600.0
RECORD_WITHIN = 10.0
"""Seconds: for a job to pick up, for one call in all, for its record to be closed."""

MEASURED = {Manner.SPEECH, Manner.RECORDED}
"""What is answered at leisure: a barge-in or a cut sentence has no latency."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for on the command line."""

    persona: str
    scenario: str
    wav: Path | None
    calls: int
    repeat: int
    out: Path
    json_output: bool


def run(wish: Wish, dotenv: Path) -> int:
    """Rehearse; 0 when every expectation was met, else 1. Raises StartError."""
    settings, personas = prepare(dotenv)
    scenario = _scenario(wish)
    if scenario.persona not in personas:
        raise StartError(f"no persona {scenario.persona} (there are {', '.join(personas)})")
    providers.chains(settings, personas[scenario.persona])
    try:
        SimulatedCaller(scenario)  # a file that it cannot play is told before the worker starts
    except ScenarioError as error:
        raise StartError(str(error)) from error
    out = wish.out / datetime.now().astimezone().strftime(f"%Y%m%d-%H%M%S-{scenario.name}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"--out {out} cannot be written: {error.strerror}") from error
    stage = _Stage(wish, settings, personas[scenario.persona], scenario, out)
    return asyncio.run(stage.play())


def print_scenarios() -> None:
    """List what is shipped, a line each."""
    for name in shipped():
        print(f"{name:22} {load_scenario(name).about}")  # noqa: T201 - the command's output


@dataclass(slots=True)
class _Stage:
    wish: Wish
    settings: Settings
    persona: Persona
    scenario: Scenario
    out: Path

    async def play(self) -> int:
        """All rounds of calls, from the worker's start to the summary."""
        bill = Playbill(self.scenario, self.out, quiet=self.wish.json_output, calls=self.wish.calls)
        results: list[Result] = []
        with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
            variables = self._variables(self.scenario, Path(folder))
            async with Troupe(variables, self.out / "worker.log", bill.tell) as troupe:
                lateness = 0.0
                for _ in range(self.wish.repeat):
                    async with Clock() as clock:
                        calls = [self._call(troupe, clock) for _ in range(self.wish.calls)]
                        results += await asyncio.gather(*calls)
                    lateness = max(lateness, clock.lateness)
                return bill.close(results, troupe.memory(), lateness=lateness)

    async def _call(self, troupe: Troupe, clock: Clock) -> Result:
        caller = SimulatedCaller(self.scenario)
        profile, room = caller.scenario.caller, f"voice-ai-call-{uuid4().hex[:10]}"
        hello = Hello(number=profile.number, called=profile.called, law=profile.law)
        far_end = caller.scenario.transfer
        async with Phone(
            clock,
            caller,
            hello,
            noise_dbfs=profile.noise_dbfs,
            transfer=TransferResult(ok=far_end.ok, code=far_end.code),
            transfer_after=far_end.after,
        ) as phone:
            await troupe.dial(room, phone.path)
            try:
                await phone.ring(ANSWER_WITHIN)
                await asyncio.wait_for(asyncio.shield(phone.ended), CALL_LIMIT)
            except NoAnswer:
                caller.failure = f"nobody answered within {ANSWER_WITHIN:g} s"
            except TimeoutError:
                caller.failure = f"the call did not end within {CALL_LIMIT:g} s"
        events = await troupe.record_of(room, RECORD_WITHIN)
        return self._judge(room, phone, caller, events)

    def _judge(
        self, room: str, phone: Phone, caller: SimulatedCaller, events: list[Event]
    ) -> Result:
        story = story_of(events, phone.answered_at or 0.0)
        recording = self.out / f"{room}.wav"
        phone.recording.save(recording)
        heard = heard_latency(phone.recording, caller.log)
        verdicts = judge_line(caller, phone.recording) + judge_record(caller, story, self.persona)
        latencies = [
            answer.latency if said.manner in MEASURED else None
            for said, answer in zip(caller.log, heard, strict=True)
        ]
        return Result(room, recording, story, caller.log, latencies, verdicts)

    def _variables(self, scenario: Scenario, folder: Path) -> Mapping[str, str]:
        """The worker's settings for this rehearsal."""
        variables = {
            "VOICE_AGENT__PERSONAS__DEFAULT": scenario.persona,
            "VOICE_AGENT__WORKER__MAX_CALLS": str(max(self.wish.calls, 10)),
            "VOICE_AGENT__WORKER__IDLE_PROCESSES": str(self.wish.calls),
            # Alone, at any hour: a rehearsal takes no place from callers.
            "VOICE_AGENT__REDIS__URL": "",
            "VOICE_AGENT__ADMISSION__MAX_CALLS_OVERALL": "0",
            "VOICE_AGENT__ADMISSION__OBSERVE_HOURS": "false",
            "VOICE_AGENT__ADMISSION__CALLS_AN_HOUR": "0",
            "VOICE_AGENT__DATA__FOLDER": str(self.settings.data.folder),
        }
        if scenario.limits or scenario.transfer.mode:
            _changed(self.settings.personas.folder, folder, scenario)
            variables["VOICE_AGENT__PERSONAS__FOLDER"] = str(folder)
        return variables


def _scenario(wish: Wish) -> Scenario:
    """The scenario that was asked for, or a recorded caller. Raises StartError."""
    if wish.wav:
        return recorded_caller(wish.wav, wish.persona or "en")
    try:
        scenario = load_scenario(wish.scenario)
    except LineError as error:
        raise StartError(str(error)) from error
    return scenario.model_copy(update={"persona": wish.persona}) if wish.persona else scenario


def _changed(personas: Path, folder: Path, scenario: Scenario) -> None:
    """Write the personas again, the one that answers with what the scenario sets over it."""
    for file in personas.glob("*.yaml"):
        body = yaml.safe_load(file.read_text("utf-8"))
        if file.stem == scenario.persona:
            body["limits"] = {**body.get("limits", {}), **scenario.limits}
            if scenario.transfer.mode:
                body["transfer"] = {**body.get("transfer", {}), "mode": scenario.transfer.mode}
        (folder / file.name).write_text(yaml.safe_dump(body, allow_unicode=True), "utf-8")
