"""The record that a job writes, as its worker receives it."""

from __future__ import annotations

import asyncio

import pytest

from agent.call import Call, Caller, EndReason, Verdict
from agent.channel import ChannelServer
from agent.events import (
    CallEnded,
    CallerJoined,
    CallNote,
    CallOpened,
    TurnCommitted,
    TurnFinished,
    encode,
)
from agent.keypad import Digits, Keypad
from agent.pseudonym import Pseudonyms
from agent.quality import Link
from agent.record import Record
from agent.spool import Spool
from config.persona import Privacy, load_personas
from config.settings import ROOT

CALL = Call.new(room="room-1", room_sid="RM_1", job_id="AJ_1", agent_name="voice-ai")
PERSONA = load_personas(ROOT / "config" / "personas")["en"]
SALTED = Pseudonyms(b"salt")
CARD = "4111 1111 1111 1111"


@pytest.fixture
async def told(tmp_path):
    """What a worker on `events.sock` was told."""
    events = []

    async def keep(event):
        events.append(event)

    async def lose(job):
        events.append(job)

    server = ChannelServer(tmp_path / "events.sock", keep, lose)
    await server.start()
    yield events
    await server.aclose()


async def open_record(tmp_path):
    return await Record.open(
        CALL,
        socket=tmp_path / "events.sock",
        spool=tmp_path / "s",
        worker_id="host/1",
        pid=42,
        pseudonyms=SALTED,
    )


async def test_a_call_is_told_from_its_opening_to_its_end(told, tmp_path):
    record = await open_record(tmp_path)
    caller = Caller("sip_1", "+15550100", "+15550199")
    record.caller_joined(caller, PERSONA, providers={"stt": "offline"})
    record.turn_committed(1, user_text="hello", stt="offline")
    record.turn_finished(1, agent_text="Hello.", tools=("end_call",))
    record.note("said_filler", after=1.5)
    record.memory_bytes = 41_000_000
    await record.close(EndReason.AGENT_HANGUP, "farewell", {"models": []})

    assert [type(event) for event in told] == [
        CallOpened,
        CallerJoined,
        TurnCommitted,
        TurnFinished,
        CallNote,
        CallEnded,
    ]
    assert [event.seq for event in told] == [1, 2, 3, 4, 5, 6]
    assert {event.call_id for event in told} == {CALL.id}
    opened, joined, _, finished, note, ended = told
    assert (opened.room, opened.room_sid, opened.job_id) == ("room-1", "RM_1", "AJ_1")
    assert opened.pid == 42
    assert (joined.persona, joined.language) == ("en", "en")
    assert finished.tools == ("end_call",)
    assert (note.name, note.detail) == ("said_filler", {"after": 1.5})
    assert (ended.reason, ended.detail) == (EndReason.AGENT_HANGUP, "farewell")
    assert ended.memory_bytes == 41_000_000


async def test_a_record_is_closed_once(told, tmp_path):
    record = await open_record(tmp_path)
    await asyncio.gather(
        record.close(EndReason.SILENCE, "", {}), record.close(EndReason.AGENT_ERROR, "", {})
    )
    ends = [event for event in told if isinstance(event, CallEnded)]
    assert [end.reason for end in ends] == [EndReason.SILENCE]


async def test_a_record_without_a_worker_waits_in_the_spool(tmp_path):
    record = await open_record(tmp_path)
    await record.close(EndReason.CALLER_HANGUP, "", {})
    found = []
    Spool(tmp_path / "s").replay(
        lambda worker, events: found.extend((worker, event.kind) for event in events)
    )
    assert found == [("host/1", "call_opened"), ("host/1", "call_ended")]


async def test_the_number_of_the_caller_does_not_leave_the_job(told, tmp_path):
    record = await open_record(tmp_path)
    caller = Caller("sip_+15550100", "+15550100", "+15550199", "sip", {"sip.phoneNumber": "x"})
    record.caller_joined(caller, PERSONA, providers={})
    record.note("transfer_failed", error="no answer from +15550100", tried=["+1 555 01 00"])
    await record.close(EndReason.TRANSFERRED, "to +1-555-0100", {})

    joined = told[1]
    assert joined.number == SALTED.of_number("+15550100")
    assert joined.identity == f"sip_{joined.number}"
    assert joined.called == "+15550199"  # our own line
    assert "5550100" not in "".join(encode(event) for event in told)
    assert told[2].detail == {"error": "no answer from [phone]", "tried": ["[phone]"]}
    assert told[3].detail == "to [phone]"


async def test_words_that_the_persona_does_not_keep_are_taken_out_of_everything(told, tmp_path):
    record = await open_record(tmp_path)
    record.caller_joined(Caller("x"), PERSONA, providers={})
    record.turn_committed(1, user_text=f"my card is {CARD}")
    record.turn_finished(1, agent_text=f"I heard {CARD}, and the ann dot b at example dot com.")
    record.note("summary", text=f"The caller told card {CARD}.", nested={"card": [CARD]})
    await record.close(EndReason.CALLER_HANGUP, "", {})

    assert told[2].user_text == "my card is [card]"
    assert told[3].agent_text == "I heard [card], and the [email]."
    assert told[4].detail == {
        "text": "The caller told card [card].",
        "nested": {"card": ["[card]"]},
    }


async def test_a_persona_may_keep_what_is_said(told, tmp_path):
    record = await open_record(tmp_path)
    open_book = PERSONA.model_copy(update={"privacy": Privacy(redact=())})
    record.caller_joined(Caller("x"), open_book, providers={})
    record.turn_committed(1, user_text=f"my card is {CARD}")
    record.keys_pressed("4321")
    await record.close(EndReason.CALLER_HANGUP, "", {})

    assert told[2].user_text == f"my card is {CARD}"
    assert told[3].detail == {"pressed": 4, "keys": "4321"}


async def test_keys_are_counted_and_not_kept_wherever_they_are_repeated(told, tmp_path):
    record = await open_record(tmp_path)
    record.caller_joined(Caller("x"), PERSONA, providers={})
    record.keys_pressed("5")
    record.keys_pressed("4321#")
    record.turn_committed(1, user_text="i pressed 4 3 2 1 #")
    record.turn_finished(1, agent_text="You pressed four three two one. Is five right?")
    await record.close(EndReason.CALLER_HANGUP, "", {})

    assert told[2].detail == {"pressed": 1, "keys": "5"}  # a choice in a menu
    assert told[3].detail == {"pressed": 5, "keys": ""}
    assert told[4].user_text == "i pressed [keys]"
    assert told[5].agent_text == "You pressed [keys]. Is five right?"


async def test_keys_that_were_asked_for_are_taken_out_of_what_follows(told, tmp_path):
    record = await open_record(tmp_path)
    record.caller_joined(Caller("x"), PERSONA, providers={})
    pad = Keypad(record, told.append)
    asking = asyncio.create_task(pad.collect(Digits(count=4), first=5, between=5))
    await asyncio.sleep(0)
    for key in "4821":
        pad.pressed(key)
    assert (await asking).keys == "4821"
    record.turn_finished(1, agent_text="your PIN is 4 8 2 1")
    record.turn_finished(2, agent_text="it is four eight two one, forty eight twenty one")
    await record.close(EndReason.CALLER_HANGUP, "", {})

    assert (told[2].name, told[2].detail) == ("digits_collected", {"count": 4, "all": True})
    assert told[3].agent_text == "your PIN is [keys]"
    assert told[4].agent_text == "it is [keys]"


async def test_a_question_that_is_cut_short_leaves_its_keys_to_the_redactor(told, tmp_path):
    record = await open_record(tmp_path)
    record.caller_joined(Caller("x"), PERSONA, providers={})
    pad = Keypad(record, told.append)
    asking = asyncio.create_task(pad.collect(Digits(count=4), first=5, between=5))
    await asyncio.sleep(0)
    pad.pressed("4")
    pad.pressed("8")
    asking.cancel()
    await asyncio.wait({asking})
    record.turn_finished(1, agent_text="so far I have 48")
    await record.close(EndReason.CALLER_HANGUP, "", {})

    assert told[3].agent_text == "so far I have [keys]"


async def test_the_record_knows_how_long_the_caller_has_been_there(told, tmp_path):
    record = await open_record(tmp_path)
    assert record.seconds == 0
    record.caller_joined(Caller("x"), PERSONA, providers={})
    assert 0 <= record.seconds < 60
    await record.close(EndReason.CALLER_HANGUP, "", {})


async def test_a_worker_that_does_not_answer_lets_the_caller_in(tmp_path):
    record = await open_record(tmp_path)  # nobody is there
    assert await record.judged(Caller("sip_1", "+15550100"), "en") is Verdict.ADMITTED


async def test_the_workers_verdict_comes_back(tmp_path):
    asked = []

    async def keep(_event): ...

    async def answer(question):
        asked.append(question)
        return "too_often"

    server = ChannelServer(tmp_path / "events.sock", keep, keep, answer)
    await server.start()
    record = await open_record(tmp_path)
    assert await record.judged(Caller("sip_1", "+15550100"), "en") is Verdict.TOO_OFTEN
    assert asked == [{"job": "AJ_1", "persona": "en", "number": "+15550100", "is_telephone": True}]
    await record.close(EndReason.REJECTED_TOO_OFTEN, "", {})
    await server.aclose()


async def test_the_link_is_told_when_it_sounds_otherwise(told, tmp_path):
    record = await open_record(tmp_path)
    for loss in (0.0, 0.001, 0.05):
        record.linked(Link(loss, 0.004, 0.05))
    await record.close(EndReason.CALLER_HANGUP, "", {})
    first, second = [event.detail for event in told if event.kind == "note"]
    assert first == {"score": 4.37, "loss": 0.0, "jitter": 0.004, "round_trip": 0.05}
    assert second["score"] < 4.0


async def test_whose_call_it_is_is_told_where_it_is_no_callers(told, tmp_path):
    record = await open_record(tmp_path)
    record.is_for("caller")
    record.is_for("canary")
    await record.close(EndReason.CALLER_HANGUP, "", {})
    assert [event.detail for event in told if event.kind == "note"] == [{"kind": "canary"}]


async def test_requests_of_the_job_are_told_until_the_end(told, tmp_path):
    record = await open_record(tmp_path)
    record.requested("room", "delete_room", "200", 0.0123456)
    await record.close(EndReason.CALLER_HANGUP, "", {})
    record.requested("room", "delete_room", "200", 0.1)
    (note,) = [event for event in told if event.kind == "note"]
    asked = {"service": "room", "method": "delete_room", "status": "200", "seconds": 0.0123}
    assert (note.name, note.detail) == ("livekit_request", asked)
    assert not (tmp_path / "s").exists()
