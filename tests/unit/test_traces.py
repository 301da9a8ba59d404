"""Spans leave the process with the id of their call, without content, and hold nothing up."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest
from livekit.agents import telemetry
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status, StatusCode

from agent import traces
from agent.errors import StartError
from agent.start import check_traces
from config.settings import SettingsError, load
from config.traces import Traces
from tests.otlp import Receiver, values

SECRET_WORDS = "my card is 4111 1111 1111 1111"
NUMBER = "+15550100123"


class Kept(SpanExporter):
    def __init__(self):
        self.spans = []

    def export(self, spans):
        self.spans += spans
        return SpanExportResult.SUCCESS


def a_tracer(exporter, *, content=False):
    calls = traces.Calls(exporter, content=content)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(calls)
    return provider.get_tracer("test"), calls


@pytest.fixture
def kept():
    return Kept()


def a_call(tracer):
    """The spans of a call with a turn, as the framework makes them, and all that it could hold."""
    with tracer.start_as_current_span("job_entrypoint") as call:
        call.set_attributes({"lk.pii.room_name": f"call_{NUMBER}", "lk.job_id": "AJ_1"})
        turn = tracer.start_span("user_turn", start_time=1_000_000_000)
        turn.set_attributes(
            {
                "lk.pii.user_transcript": SECRET_WORDS,
                "lk.transcription_delay": 0.2,
                "gen_ai.provider.name": "offline",
                "lk.stt.events": json.dumps(
                    [{"received_at": 2.5, "type": "final_transcript", "transcript_length": 30}]
                ),
                "lk.sip.h.x-name": "Jane",
                "lk.sip.trunkPhoneNumber": NUMBER,
                "lk.rpc.caller_identity": f"sip_{NUMBER}",
                "something.new": SECRET_WORDS,
                "lk.agent_label": f"agent of {NUMBER}",
                "gen_ai.response.finish_reasons": ["stop"],
            }
        )
        turn.add_event("rearmed", {"lk.eou.source": "vad", "content": SECRET_WORDS, "count": 2})
        turn.record_exception(ValueError(SECRET_WORDS))
        turn.set_status(Status(StatusCode.ERROR, SECRET_WORDS))
        turn.end(end_time=3_000_000_000)


def test_what_is_private_stays_and_figures_go(kept):
    tracer, _ = a_tracer(kept)
    a_call(tracer)
    everything = "".join(span.to_json() for span in kept.spans)
    for private in (SECRET_WORDS, "4111", NUMBER, "Jane", "test_traces.py"):
        assert private not in everything
    turn = next(span for span in kept.spans if span.name == "user_turn")
    assert turn.attributes == {
        "lk.transcription_delay": 0.2,
        "gen_ai.provider.name": "offline",
        "lk.agent_label": "agent of [personal data]",
        "gen_ai.response.finish_reasons": ["stop"],
    }
    rearmed, failed = turn.events
    assert (rearmed.name, dict(rearmed.attributes)) == (
        "rearmed",
        {"lk.eou.source": "vad", "count": 2},
    )
    assert dict(failed.attributes) == {"exception.type": "ValueError"}
    assert (turn.status.status_code, turn.status.description) == (StatusCode.ERROR, None)


def test_content_goes_where_it_is_allowed(kept):
    tracer, _ = a_tracer(kept, content=True)
    a_call(tracer)
    turn = next(span for span in kept.spans if span.name == "user_turn")
    assert turn.attributes["lk.pii.user_transcript"] == SECRET_WORDS


def test_recognition_is_a_span_below_its_turn(kept):
    tracer, _ = a_tracer(kept)
    a_call(tracer)
    by_name = {span.name: span for span in kept.spans}
    stt, turn, call = by_name["stt"], by_name["user_turn"], by_name["job_entrypoint"]
    assert stt.parent.span_id == turn.context.span_id
    assert turn.parent.span_id == call.context.span_id
    assert {span.context.trace_id for span in kept.spans} == {call.context.trace_id}
    assert len({span.context.span_id for span in kept.spans}) == len(kept.spans) == 3
    assert (stt.start_time, stt.end_time) == (1_000_000_000, 2_500_000_000)
    assert stt.attributes == {"gen_ai.provider.name": "offline", "lk.transcription_delay": 0.2}


@pytest.mark.parametrize("events", [None, "", "[]", "{}", "[1]", '[{"received_at": "x"}]'])
def test_a_turn_without_transcripts_has_no_recognition(kept, events):
    tracer, calls = a_tracer(kept)
    turn = tracer.start_span("user_turn")
    if events is not None:
        turn.set_attribute("lk.stt.events", events)
    turn.end()
    calls.force_flush()
    assert [span.name for span in kept.spans] == ["user_turn"]


def test_all_spans_have_left_when_the_call_has_ended(kept):
    tracer, _ = a_tracer(kept)
    with tracer.start_as_current_span("job_entrypoint"), tracer.start_as_current_span("llm_node"):
        pass
    assert [span.name for span in kept.spans] == ["llm_node", "job_entrypoint"]


def test_a_receiver_that_does_not_answer_holds_the_end_of_a_call_for_a_moment(monkeypatch):
    monkeypatch.setattr(traces, "FLUSH", 0.2)
    go_on = threading.Event()

    class Stuck(Kept):
        def export(self, spans):
            go_on.wait(30)
            return super().export(spans)

    tracer, _ = a_tracer(Stuck())
    began = time.monotonic()
    with tracer.start_as_current_span("job_entrypoint"):
        pass
    assert time.monotonic() - began < 10
    go_on.set()


@pytest.fixture
def provider():
    """The framework's tracer as it was, after the test."""
    before = telemetry.tracer._tracer_provider
    yield
    telemetry.tracer.set_provider(before)


def started(**values):
    traces.start(Traces(**values), content=False, service="voice-ai", worker_id="host-1/abc")
    return telemetry.tracer._tracer_provider


def test_without_an_endpoint_nothing_is_set_up(provider):
    before, threads = telemetry.tracer._tracer_provider, threading.active_count()
    assert started() is before
    assert threading.active_count() == threads


async def test_spans_reach_a_receiver_with_its_headers(provider):
    async with Receiver() as receiver:
        mine = started(endpoint=receiver.url, headers="Authorization=Bearer k=1, x-team=phones")
        with telemetry.tracer.start_as_current_span("job_entrypoint") as span:
            span.set_attribute("lk.pii.user_input", SECRET_WORDS)
            span.set_attribute("lk.e2e_latency", 0.7)
            # the end of the span waits for the receiver, which is in this loop
            context = trace.get_current_span().get_span_context()
            mine._active_span_processor._span_processors[-1].on_end = lambda _span: None
        await asyncio.to_thread(_send, mine, span)
        (told,) = receiver.spans
        assert told.trace_id == context.trace_id.to_bytes(16, "big")
        assert values(told.attributes) == {"lk.e2e_latency": 0.7}
        (headers,) = receiver.headers
        assert headers["Authorization"] == "Bearer k=1"
        assert headers["x-team"] == "phones"
        assert receiver.resources[0]["service.name"] == "voice-ai"
        assert receiver.resources[0]["service.instance.id"] == "host-1/abc"
        assert SECRET_WORDS.encode() not in receiver.bodies[0]
        await asyncio.to_thread(mine.shutdown)


def _send(provider, span):
    calls = provider._active_span_processor._span_processors[-1]
    type(calls).on_end(calls, span._readable_span())


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("", ""),
        ("https://otel.example.com:4318", "https://otel.example.com:4318/v1/traces"),
        ("https://otel.example.com/", "https://otel.example.com/v1/traces"),
        ("https://example.com/otlp/v1/traces", "https://example.com/otlp/v1/traces"),
    ],
)
def test_the_endpoint_has_the_usual_path_where_none_is_given(given, meant):
    assert Traces(endpoint=given).endpoint == meant


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ENDPOINT", "otel.example.com:4318"),
        ("ENDPOINT", "https://user:secret@otel.example.com"),
        ("HEADERS", "no value"),
        ("HEADERS", "a=b\nc=d"),
    ],
)
def test_what_cannot_be_used_is_told_without_what_it_holds(key, value):
    with pytest.raises(SettingsError) as told:
        load(environ={f"VOICE_AGENT__TRACES__{key}": value})
    assert "traces." in str(told.value)
    assert value not in str(told.value)


def test_http_to_another_machine_must_be_allowed():
    far = {"VOICE_AGENT__TRACES__ENDPOINT": "http://otel.example.com:4318"}
    with pytest.raises(StartError, match=r"traces\.endpoint: http:// to otel\.example\.com"):
        check_traces(load(environ=far))
    check_traces(load(environ={**far, "VOICE_AGENT__TRACES__ALLOW_INSECURE": "true"}))
    check_traces(load(environ={"VOICE_AGENT__TRACES__ENDPOINT": "http://127.0.0.1:4318"}))
