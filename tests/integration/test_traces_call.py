"""The spans of a real call, as a real receiver of OTLP gets them from a job process."""

from __future__ import annotations

import pytest

from agent.events import TurnCommitted, TurnFinished
from agent.rehearsal.troupe import Troupe
from plugins.line import Clock, Ended
from tests.callers import Ear, asks, place
from tests.otlp import Receiver, values
from tests.programs import settings

pytestmark = pytest.mark.clocked

ROOM = "voice-ai-call-_+15550100123_x"

BELOW = {
    "agent_session": "job_entrypoint",
    "user_turn": "agent_session",
    "agent_turn": "agent_session",
    "stt": "user_turn",
    "eou_wait": "user_turn",
    "llm_node": "agent_turn",
    "llm_request": "llm_node",
    "tts_node": "agent_turn",
    "tts_request": "tts_node",
}
"""The name of a span, and of that which the first of its name is in."""


async def test_a_call_is_one_tree_of_spans_without_what_was_said(tmp_path):
    async with Receiver() as receiver, Clock() as clock:
        variables = {
            **settings(tmp_path),
            "VOICE_AGENT__TRACES__ENDPOINT": receiver.url,
            "VOICE_AGENT__TRACES__HEADERS": "x-team=phones",
            "VOICE_AGENT__WORKER__IDLE_PROCESSES": "1",
        }
        async with Troupe(variables, tmp_path / "worker.log", Ear().hear) as troupe:
            caller = asks()
            placed = await place(troupe, clock, ROOM, caller)
            await receiver.spans.first(lambda span: span.name == "job_entrypoint")

    assert placed.ended is Ended.AGENT_HANGUP
    by_id = {span.span_id: span for span in receiver.spans}
    (root,) = receiver.named("job_entrypoint")
    assert {span.trace_id for span in by_id.values()} == {root.trace_id}
    for span in by_id.values():
        assert span is root or span.parent_span_id in by_id, span.name
    for name, above in BELOW.items():
        first = min(receiver.named(name), key=lambda span: span.start_time_unix_nano)
        assert by_id[first.parent_span_id].name == above, name

    turns = [event for event in placed.events if isinstance(event, TurnCommitted) and event.turn]
    assert len(receiver.named("user_turn")) == len(receiver.named("stt")) == len(turns)
    told = [values(span.attributes) for span in receiver.named("user_turn")]
    delays = [event.transcription_delay for event in turns]
    assert [one["lk.transcription_delay"] for one in told] == delays
    ids = {values(span.attributes).get("voice.call") for span in by_id.values()}
    assert ids == {placed.events[0].call_id}

    everything = b"".join(receiver.bodies).decode("latin-1")
    said = [event.user_text for event in turns]
    said += [event.agent_text for event in placed.events if isinstance(event, TurnFinished)]
    assert all(said)
    for private in (
        *said,
        "Maple Street",
        "receptionist",
        "5550100123",
        caller.scenario.caller.number,
    ):
        assert private not in everything
    assert all(headers["x-team"] == "phones" for headers in receiver.headers)
