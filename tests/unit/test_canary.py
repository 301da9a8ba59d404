"""Canary calls: how they are judged, who is taken out of dispatch, and who is told of it."""

from __future__ import annotations

import asyncio
import sys
import wave
from dataclasses import replace
from datetime import timedelta

import pytest
from livekit import api
from prometheus_client import REGISTRY

from agent.call import now
from agent.canary import target
from agent.store.workers import Wanted, WorkerRow, Workers, WorkerState
from config import settings as configuration
from config.canary import CANARY_PREFIX, Canary
from config.livekit_auth import load_ring
from config.persona import load_personas
from config.rooms import ROOM_PREFIX
from config.settings import ROOT
from ops.canary import call as calls
from ops.canary import watch as watching
from ops.canary.dispatch import Orders, Outcome, orders, to_try
from ops.canary.judgement import Heard, failing, word_accuracy
from ops.canary.watch import Watch, call_by_process
from ops.front.alerts import Alerts
from ops.front.database import Database
from ops.lease import Lease
from ops.sidecars.canary import Canary as Sidecar
from tests import canaries
from tests.control_plane import ControlPlane

PERSONAS = load_personas(ROOT / "config" / "personas")
WELL, FAILED, NOT_PLACED = Outcome.WELL, Outcome.FAILED, Outcome.NOT_PLACED


@pytest.mark.parametrize(
    ("greeted", "answered", "why"),
    [
        (1.2, 0.6, ""),
        (5.0, 4.0, ""),
        (None, None, "no greeting was heard"),
        (5.1, 0.6, "greeted after 5.10 s, more than 5 s"),
        (1.2, None, "no answer was heard"),
        (1.2, 4.2, "answered after 4.20 s, more than 4 s"),
    ],
)
def test_a_call_is_judged_by_what_is_heard_and_when(greeted, answered, why):
    heard = Heard(greeted_after=greeted, answered_after=answered)
    assert failing(heard, greeting_within=5, answer_within=4) == why


@pytest.mark.parametrize(
    ("said", "understood", "accuracy"),
    [
        ("what are your opening hours", "What are your opening hours?", 1.0),
        ("what are your opening hours", "what are your hours", 0.8),
        ("what are your opening hours", "what is your opening our", 0.6),
        ("what are your opening hours", "uh what are your opening hours", 0.8),
        ("what are your opening hours", "", 0.0),
        ("open", "no no no no", 0.0),
        ("", "anything", 1.0),
        ("what's the address", "what’s the address", 1.0),
        ("до скольки вы работаете", "До скольки вы работали", 0.75),
    ],
)
def test_word_accuracy_is_one_less_the_word_error_rate(said, understood, accuracy):
    assert word_accuracy(said, understood) == pytest.approx(accuracy)


def row(worker, state=WorkerState.SERVING, wanted=Wanted.SERVE, by=""):
    at = now() - timedelta(seconds=1)
    return WorkerRow(
        id=worker,
        agent_name="voice-ai",
        state=state.value,
        calls=0,
        max_calls=10,
        started_at=at,
        seen_at=at,
        wanted=wanted.value,
        wanted_by=by,
    )


A, B, C = row("a"), row("b"), row("c")
OUT = row("out", WorkerState.RESTING, Wanted.REST, "canary")
DRAINED = row("drained", WorkerState.RESTING, Wanted.REST, "operator")
AWAY, LEAVING = row("away", WorkerState.AWAY), row("leaving", WorkerState.LEAVING, Wanted.LEAVE)


def test_who_is_in_dispatch_is_tried_and_whom_we_took_out():
    assert to_try([A, DRAINED, OUT, AWAY, LEAVING]) == [A, OUT]


@pytest.mark.parametrize(
    ("rows", "outcomes", "wanted"),
    [
        ([A, B, C], {"a": WELL, "b": WELL, "c": WELL}, Orders()),
        ([A, B, C], {"a": WELL, "b": FAILED, "c": WELL}, Orders(rest=("b",))),
        ([A, B, C], {"a": WELL, "b": FAILED, "c": FAILED}, Orders()),
        ([A, B], {"a": FAILED, "b": FAILED}, Orders()),
        ([A, B], {"a": FAILED, "b": NOT_PLACED}, Orders()),
        ([A, B], {"a": NOT_PLACED, "b": WELL}, Orders()),
        ([A], {"a": FAILED}, Orders()),
        ([A, DRAINED], {"a": FAILED}, Orders()),
        ([A, AWAY], {"a": FAILED}, Orders()),
        ([A, B], {"a": FAILED}, Orders()),
        ([A, OUT], {"a": WELL, "out": FAILED}, Orders()),
        ([A, OUT], {"a": WELL, "out": WELL}, Orders(back=("out",))),
        ([A, OUT], {"a": FAILED, "out": FAILED}, Orders()),
        ([A, B, OUT], {"a": FAILED, "b": WELL, "out": FAILED}, Orders()),
        ([A, B, OUT], {"a": FAILED, "b": WELL, "out": WELL}, Orders(("a",), ("out",))),
        ([OUT, AWAY], {"out": FAILED}, Orders(back=("out",))),
        ([DRAINED], {}, Orders()),
        ([], {"": FAILED}, Orders()),
    ],
)
def test_a_worker_is_taken_out_only_when_it_alone_fails_and_never_the_last(rows, outcomes, wanted):
    assert orders(rows, outcomes) == wanted


class House:
    """A watch over workers in a database; `answers` says how the calls to each go."""

    def __init__(self, tmp_path, **section):
        url = f"sqlite:///{tmp_path}/calls.db"
        settings = configuration.load(environ={"VOICE_AGENT__STORE__URL": url})
        self.settings = settings.model_copy(update={"canary": Canary(**section)})
        self.database, self.alerts, self.told = Database(url), Alerts(), []
        self.alerts.listeners.append(lambda one: self.told.append((one.name, one.level)))
        self.answers, self.called = {}, []
        self.lease = Lease(self.database, "canary")
        self.watch = Watch(self.settings, self.database, self.alerts, self.lease, self._call)

    async def there(self, *rows):
        def work(db):
            for one in rows:
                Workers(db.engine).tell(replace(one, seen_at=now()))

        await self.database.run(work)

    async def _call(self, worker):
        self.called.append(worker)
        answer = self.answers.get(worker, True)
        if answer is None:
            return {"why": "LiveKit is away"}
        words = 0.5 if answer else None
        return {"well": answer, "why": "", "word_accuracy": words, "persona": "en"}

    async def wanted(self):
        rows = await self.database.run(lambda db: Workers(db.engine).seen(60))
        return {one.id: (one.wanted, one.wanted_by) for one in rows if one.wanted}

    async def aclose(self):
        await self.watch.aclose()
        await self.database.aclose()


@pytest.fixture
async def house(tmp_path):
    house = House(tmp_path)
    yield house
    await house.aclose()


def up(worker):
    return REGISTRY.get_sample_value("voice_canary_up", {"worker": worker})


def accuracy():
    return REGISTRY.get_sample_value("voice_canary_word_accuracy", {"persona": "en"})


async def test_a_round_tries_every_worker_and_the_figures_tell(house):
    await house.there(A, B, AWAY)
    house.answers = {"b": False}
    assert await house.watch.round() == {"a": WELL, "b": FAILED}
    assert house.called == ["a", "b", "b"]  # a failure counts when it is one twice
    assert (up("a"), up("b"), up("away"), accuracy()) == (1, 0, None, 0.5)
    await house.watch.aclose()
    assert (up("a"), up("b"), accuracy()) == (None, None, None)


async def test_a_worker_that_alone_fails_rests_and_comes_back_when_it_is_well(house):
    await house.there(A, B)
    house.answers = {"b": False}
    await house.watch.round()
    assert await house.wanted() == {"b": ("rest", "canary")}
    assert house.told == [("CanaryFailed", "critical"), ("WorkerOutOfDispatch", "warning")]
    await house.there(A, row("b", WorkerState.RESTING))
    house.answers = {}
    await house.watch.round()
    assert (await house.wanted(), up("b")) == ({}, 1)
    assert house.told[2:] == [("CanaryFailed", "info"), ("WorkerOutOfDispatch", "info")]
    trail = await house.database.run(lambda db: db.audit_trail())
    assert [(line.who, line.what, line.object) for line in trail] == [
        ("canary", "worker.back", "b"),
        ("canary", "worker.drain", "b rest"),
    ]


async def test_what_an_operator_drained_is_left_alone(house):
    await house.there(A, B)
    await house.database.run(lambda db: Workers(db.engine).want("b", Wanted.REST, "operator"))
    await house.there(row("b", WorkerState.RESTING))
    assert await house.watch.round() == {"a": WELL}
    assert await house.wanted() == {"b": ("rest", "operator")}


async def test_nobody_is_taken_out_where_that_is_switched_off(tmp_path):
    house = House(tmp_path, drain=False, attempts=1)
    await house.there(A, B)
    house.answers = {"b": False}
    await house.watch.round()
    assert (await house.wanted(), house.called) == ({}, ["a", "b"])
    await house.aclose()


async def test_a_call_that_cannot_be_placed_is_no_workers_fault_and_is_told_all_the_same(house):
    await house.there(A, B)
    house.answers = {"a": None}
    assert await house.watch.round() == {"a": NOT_PLACED, "b": WELL}
    assert (await house.wanted(), up("a")) == ({}, 0)
    assert house.told == [("CanaryFailed", "critical")]


async def test_without_a_known_worker_whoever_is_there_is_called(house):
    house.answers = {"": False}
    assert await house.watch.round() == {"": FAILED}
    assert up("any") == 0
    await house.there(A)
    await house.watch.round()
    assert (up("any"), up("a")) == (None, 1)
    assert house.told == [("CanaryFailed", "critical"), ("CanaryFailed", "info")]


async def test_where_all_are_out_of_dispatch_it_is_tried_as_a_caller_would(house):
    await house.there(AWAY, LEAVING)
    house.answers = {"": None}
    assert await house.watch.round() == {"": NOT_PLACED}
    assert house.told == [("CanaryFailed", "critical")]


async def test_whom_we_took_out_comes_back_at_once_when_the_last_other_is_gone(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(watching, "BEAT", 0.01)
    house = House(tmp_path, attempts=1)
    await house.there(A, B)
    house.answers = {"b": False}
    await house.watch.round()
    house.watch._next = watching.time.monotonic() + 3600  # the next round is far away
    await house.there(A, row("b", WorkerState.RESTING))
    house.watch.start()
    await asyncio.sleep(0.1)
    assert await house.wanted() == {"b": ("rest", "canary")}
    await house.there(row("a", WorkerState.AWAY))
    async with asyncio.timeout(20):
        while await house.wanted():  # noqa: ASYNC110 - a row tells nobody
            await asyncio.sleep(0.01)
    assert house.told[-1] == ("WorkerOutOfDispatch", "info")
    await house.aclose()


async def test_a_number_is_rung_once_a_round_whoever_answers(tmp_path):
    house = House(tmp_path, number="+15550100", attempts=1)
    await house.there(A, B)
    house.answers = {"": False}
    await house.watch.round()
    assert (house.called, await house.wanted(), up("any")) == ([""], {}, 0)
    await house.aclose()


async def test_rounds_go_on_by_themselves_while_the_lease_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(watching, "BEAT", 0.01)
    monkeypatch.setattr(watching, "SEEN", 600.0)
    monkeypatch.setattr("ops.lease.RENEWAL", 0.0)
    house = House(tmp_path)
    other = Lease(house.database, "canary")
    assert await other.is_held()
    await house.there(A)
    house.watch.start()
    await asyncio.sleep(0.2)
    assert house.called == []
    await other.aclose()
    async with asyncio.timeout(60):
        while up("a") != 1:  # noqa: ASYNC110 - a gauge tells nobody
            await asyncio.sleep(0.01)
    assert house.called == ["a"]
    await house.aclose()
    assert up("a") is None


async def test_a_call_is_a_process_of_its_own(monkeypatch, tmp_path):
    program = tmp_path / "python"

    def pretends(script):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

    pretends("""echo "{\\"well\\": true, \\"asked\\": \\"$*\\"}" """)
    told = await call_by_process("host/a")
    assert told == {"well": True, "asked": "-m ops canary --json --worker host/a"}
    pretends("""echo 'error: nobody lets us in' >&2; exit 2""")
    assert await call_by_process("") == {"why": "nobody lets us in"}
    pretends("exit 1")
    assert await call_by_process("") == {"why": "it said nothing"}
    pretends("exec sleep 60")
    monkeypatch.setattr(watching, "LONGEST", 0.2)
    assert "did not end" in (await call_by_process(""))["why"]


async def test_canary_calls_are_off_unless_they_are_switched_on(tmp_path):
    on = {"VOICE_AGENT__CANARY__ENABLED": "true"}
    server = {"LIVEKIT_URL": "ws://127.0.0.1:9"}
    wanted = [({}, False), (server, False), (on, False), ({**on, **server}, True)]
    for variables, is_on in wanted:
        control = ControlPlane(tmp_path, **variables)
        assert (Sidecar(control.plane).watch is not None) is is_on
        await control.plane.aclose()


def test_the_sdk_is_loaded_by_nobody_who_makes_no_call():
    script = (
        "import sys, ops.sidecars.canary\n"
        "assert not [name for name in sys.modules if name in ('ops.canary.phone', 'plugins.line')]"
    )
    asyncio.run(_passes(script))


async def _passes(script):
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, cwd=ROOT)
    assert await process.wait() == 0


@pytest.mark.parametrize("name", sorted(PERSONAS))
def test_every_persona_can_be_asked_something_that_needs_no_tool(name):
    asked = calls.question(PERSONAS[name])
    assert len(asked.split()) > 1
    assert not any(char.isdigit() for char in asked)


@pytest.fixture
def settings(monkeypatch):
    monkeypatch.setenv("LIVEKIT_API_KEY", "key")
    monkeypatch.setenv("LIVEKIT_API_SECRET", canaries.secret())
    return configuration.load()


@pytest.mark.parametrize("by_number", [False, True])
def test_the_room_asks_for_the_worker_unless_a_number_is_rung(settings, by_number):
    ring, room = load_ring(settings), "voice-ai-canary-1"
    token = calls._token(settings, ring, room, "host/a", by_number=by_number)
    told = api.TokenVerifier(*ring.credentials()).verify(token)
    assert (told.identity, told.video.room, told.video.room_join) == ("canary", room, True)
    asked = [] if by_number else told.room_config.agents
    assert [(one.agent_name, target(one.metadata, room, settings)) for one in asked] == (
        [] if by_number else [("voice-ai", "host/a")]
    )


def test_rooms_of_canaries_are_no_rooms_for_calls():
    assert not CANARY_PREFIX.startswith(ROOM_PREFIX)


async def test_a_persona_that_there_is_not_is_said_in_a_line(settings):
    wrong = settings.model_copy(update={"canary": Canary(persona="nobody")})
    with pytest.raises(calls.NotPlaced, match="persona nobody: there are en, ru"):
        await calls.place(wrong, load_ring(wrong))


def test_a_recording_that_cannot_be_played_is_said_in_a_line(settings, tmp_path):
    wrong = settings.model_copy(update={"canary": Canary(sound=tmp_path / "nothing.wav")})
    with pytest.raises(calls.NotPlaced, match=r"canary.sound: .*no file .* to play"):
        calls._caller(wrong, "en", PERSONAS["en"])


def test_a_recorded_caller_says_what_is_in_the_recording(settings, tmp_path):
    path = tmp_path / "question.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))
    told = settings.model_copy(update={"canary": Canary(sound=path, text="when are you open")})
    caller, said = calls._caller(told, "en", PERSONAS["en"])
    assert (said, caller.scenario.persona) == ("when are you open", "en")
