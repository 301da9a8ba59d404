"""Events of a session, as the framework makes them, become the turns of a record."""

from __future__ import annotations

import os

import pytest
from livekit import rtc
from livekit.agents import ConversationItemAddedEvent, FunctionToolsExecutedEvent
from livekit.agents.llm import AgentHandoff, ChatMessage, FunctionCall, FunctionCallOutput

from agent.turn import MEMORY_TURN, Turns, private_memory

PROVIDERS = {"stt": "deepgram", "llm": "openai", "tts": "cartesia"}


class Noted:
    """Takes what a record is told about turns."""

    def __init__(self):
        self.memory_bytes = None
        self.committed, self.finished = [], []

    def turn_committed(self, turn, **values):
        self.committed.append((turn, values))

    def turn_finished(self, turn, **values):
        self.finished.append((turn, values))


class Session(rtc.EventEmitter):
    """What `Turns` knows of a session: it emits events."""

    def hears(self, text, **values):
        self._add(ChatMessage(role="user", content=[text], **values))

    def says(self, text, **values):
        self._add(ChatMessage(role="assistant", content=[text], **values))

    def uses(self, *names):
        calls = [FunctionCall(call_id=name, name=name, arguments="{}") for name in names]
        outputs = [
            FunctionCallOutput(call_id=name, name=name, output="", is_error=False) for name in names
        ]
        event = FunctionToolsExecutedEvent(function_calls=calls, function_call_outputs=outputs)
        self.emit("function_tools_executed", event)

    def _add(self, item):
        self.emit("conversation_item_added", ConversationItemAddedEvent(item=item))


@pytest.fixture
def record():
    return Noted()


@pytest.fixture
def turns(record):
    return Turns(record, PROVIDERS)


@pytest.fixture
def session(turns):
    session = Session()
    turns.follow(session)
    return session


def test_the_greeting_is_turn_0(session, record):
    session.says("Hello. How can I help you?")
    ((committed, values),) = record.committed
    assert (committed, values) == (0, {})
    ((turn, reply),) = record.finished
    assert (turn, reply["agent_text"]) == (0, "Hello. How can I help you?")
    assert (reply["llm"], reply["tts"]) == ("openai", "cartesia")


def test_a_turn_has_its_latencies(session, record):
    session.hears(
        "when do you open",
        transcript_confidence=0.9,
        metrics={"transcription_delay": 0.1, "end_of_turn_delay": 0.3},
    )
    session.says(
        "At nine.", metrics={"e2e_latency": 0.5, "llm_node_ttft": 0.2, "tts_node_ttfb": 0.1}
    )
    ((turn, said),) = record.committed
    assert (turn, said["user_text"], said["confidence"]) == (1, "when do you open", 0.9)
    assert (said["transcription_delay"], said["end_of_turn_delay"]) == (0.1, 0.3)
    assert said["stt"] == "deepgram"
    ((turn, reply),) = record.finished
    assert (turn, reply["agent_text"], reply["interrupted"]) == (1, "At nine.", False)
    assert (reply["latency"], reply["llm_ttft"], reply["tts_ttfb"]) == (0.5, 0.2, 0.1)


def test_figures_that_the_framework_does_not_have_stay_unknown(session, record):
    session.hears("hello")
    session.says("Hello.")
    assert record.committed[0][1]["end_of_turn_delay"] is None
    assert record.finished[0][1]["latency"] is None


def test_a_reply_in_parts_is_one_turn_with_the_first_parts_latency(session, record):
    session.hears("goodbye")
    session.says("One moment.", metrics={"e2e_latency": 0.4})
    session.uses("end_call")
    session.says("Goodbye.", metrics={"e2e_latency": 9.0})
    assert [turn for turn, _ in record.finished] == [1, 1, 1]
    reply = record.finished[-1][1]
    assert reply["agent_text"] == "One moment. Goodbye."
    assert (reply["latency"], reply["tools"]) == (0.4, ("end_call",))


def test_tools_without_words_are_written_too(session, record):
    session.hears("a human please")
    session.uses("transfer_call", "dtmf_pressed")
    reply = record.finished[-1][1]
    assert (reply["agent_text"], reply["tools"]) == ("", ("transfer_call", "dtmf_pressed"))


def test_an_interrupted_reply_says_so_and_keeps_what_was_heard(session, record):
    session.hears("tell me everything")
    session.says("We open at", interrupted=True)
    assert record.finished[-1][1]["agent_text"] == "We open at"
    assert record.finished[-1][1]["interrupted"] is True


def test_each_turn_begins_anew(session, record):
    session.says("Hello.")
    session.hears("one")
    session.says("First.", metrics={"e2e_latency": 0.5})
    session.uses("end_call")
    session.hears("two")
    session.says("Second.")
    assert [turn for turn, _ in record.committed] == [0, 1, 2]
    turn, reply = record.finished[-1]
    assert (turn, reply["agent_text"], reply["tools"]) == (2, "Second.", ())
    assert reply["latency"] is None


def test_what_is_no_message_of_a_turn_is_passed_over(session, record):
    session._add(AgentHandoff(new_agent_id="b"))
    session._add(ChatMessage(role="system", content=["be kind"]))
    assert (record.committed, record.finished) == ([], [])


async def test_the_memory_is_read_after_the_third_turn(session, turns, record):
    for number in range(1, MEMORY_TURN + 2):
        session.hears(f"question {number}")
        assert turns._measuring is None or number > MEMORY_TURN
        session.says(f"answer {number}")
    await turns._measuring
    assert record.memory_bytes == pytest.approx(private_memory(os.getpid()), rel=0.3)
    await turns.aclose()


async def test_closing_ends_a_measurement_that_runs(session, turns):
    for number in range(1, MEMORY_TURN + 1):
        session.hears(f"question {number}")
        session.says(f"answer {number}")
    await turns.aclose()
    assert turns._measuring.done()


async def test_closing_without_a_measurement_is_fine(turns):
    await turns.aclose()
