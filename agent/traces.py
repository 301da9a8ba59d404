"""OpenTelemetry spans of a call, by OTLP over HTTP, where an endpoint is set (section `traces`).

The framework makes the spans: `job_entrypoint` is the whole call, below it are `agent_session`,
`user_turn`, `agent_turn`, `llm_request`, `tts_request` and others; `stt` is ours. All carry the
call's id. What leaves the process is what a list allows: figures, and the texts of keys that never
hold what people said, who they are or where they are. Each job process sends its own, on a thread.

Protocol: https://opentelemetry.io/docs/specs/otlp/ (OTLP/HTTP, protobuf).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from livekit.agents import get_job_context, telemetry
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import SpanContext, Status

from agent import log
from config.traces import Traces

logger = log.get(__name__)

FLUSH = 3.0
"""Seconds at the end of a call for the last spans to leave; then they are lost."""

SEND_EVERY = 2000
"""Milliseconds between two requests, about."""

TIMEOUT = 5.0
"""Seconds for a request, with its repetitions."""

MOST_WAITING = 2048
"""Spans that wait while nobody takes them; more are dropped."""

ROOT, TURN = "job_entrypoint", "user_turn"
"""The framework's names for a call, and for what a caller says in one go."""

STT = "stt"
"""Our span, below TURN: from the beginning of what was said to its last transcript."""

CALL = "voice.call"
"""The attribute with the call's id."""

TEXTS = frozenset(
    "lk.job_id lk.room_sid lk.dispatch_id lk.agent_name lk.job.worker_id job_id room_id"
    " lk.participant_id lk.participant_kind lk.track_sid lk.track_source lk.connection_state"
    " lk.disconnect_reason lk.close_reason lk.shutdown.reason lk.callback.name lk.old_state"
    " lk.new_state lk.speech_id lk.agent_label lk.generation_id lk.parent_generation_id"
    " lk.function_tool.name lk.tts.label lk.eou.source lk.eou.outcome lk.eou.language"
    " lk.interruption.source lk.fallback.label lk.provider_request_ids lk.blocking.severity"
    " gen_ai.conversation.id gen_ai.operation.name gen_ai.provider.name gen_ai.request.model"
    " gen_ai.response.model gen_ai.response.finish_reasons gen_ai.output.type gen_ai.tool.name"
    " gen_ai.tool.type gen_ai.agent.name gen_ai.workflow.name error.type exception.type".split()
)
"""Attributes whose texts are harmless. All others that are texts stay here."""

TURNS_EVENTS = "lk.stt.events"
"""The framework's list of transcripts of a turn, with their times and lengths, as JSON."""

OF_STT = ("gen_ai.provider.name", "gen_ai.request.model", "lk.transcription_delay")


def start(section: Traces, *, content: bool, service: str, worker_id: str) -> None:
    """Send the spans of this process's call, if there is somewhere to send them.

    `content` allows what people say. Once a process, before its call.
    """
    if not section.endpoint:
        return
    resource = Resource.create({SERVICE_NAME: service, "service.instance.id": worker_id})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(
        endpoint=section.endpoint,
        headers=section.named_headers(),
        timeout=TIMEOUT,
        compression=Compression.Gzip,
    )
    # The framework puts a filter of its own before what is added here.
    telemetry.set_tracer_provider(provider, allow_pii=content)
    provider.add_span_processor(Calls(exporter, content=content))


class Calls(SpanProcessor):
    """Sends the spans of a call with its id, and holds its end until they have left."""

    def __init__(self, exporter: SpanExporter, *, content: bool) -> None:
        self._outgoing = Outgoing(exporter, content=content)
        self._batch = BatchSpanProcessor(
            self._outgoing, max_queue_size=MOST_WAITING, schedule_delay_millis=SEND_EVERY
        )

    def on_end(self, span: ReadableSpan) -> None:
        """See SpanProcessor."""
        job = get_job_context(required=False)
        if job is not None:
            self._outgoing.call = str(job.log_context_fields.get("call", ""))
        self._batch.on_end(span)
        if span.name == TURN and (recognition := recognition_of(span)):
            self._batch.on_end(recognition)
        if span.name == ROOT and span.parent is None:
            self.force_flush()

    def force_flush(self, timeout_millis: int = int(1000 * FLUSH)) -> bool:
        """See SpanProcessor: the exporter itself knows no bound."""
        # Whoever does not answer holds up a thread that nobody waits for longer.
        flushing = threading.Thread(target=self._batch.force_flush, name="traces", daemon=True)
        flushing.start()
        flushing.join(timeout_millis / 1000)
        return not flushing.is_alive()

    def shutdown(self) -> None:
        """See SpanProcessor."""
        self._batch.shutdown()  # type: ignore[no-untyped-call]


class Outgoing(SpanExporter):
    """What leaves the process: every span with the id of its call, and nothing that is private."""

    def __init__(self, exporter: SpanExporter, *, content: bool) -> None:
        self._exporter = exporter
        self._content = content
        self.call = ""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See SpanExporter."""
        return self._exporter.export([self._changed(span) for span in spans])

    def shutdown(self) -> None:
        """See SpanExporter."""
        self._exporter.shutdown()

    def _changed(self, span: ReadableSpan) -> ReadableSpan:
        named = {CALL: self.call} if self.call else {}
        if self._content:
            return _copy(span, {**(span.attributes or {}), **named}, span.events, span.status)
        events = [Event(one.name, harmless(one.attributes), one.timestamp) for one in span.events]
        # An error's text may quote what was said.
        status = Status(span.status.status_code)
        return _copy(span, {**harmless(span.attributes), **named}, events, status)


def harmless(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """The attributes that hold nothing private: figures, and the texts that TEXTS allows."""
    kept: dict[str, Any] = {}
    for key, value in (attributes or {}).items():
        if telemetry.pii.is_pii_attribute(key):
            continue
        if isinstance(value, int | float):
            kept[key] = value
        elif key in TEXTS:
            is_one = isinstance(value, str)
            kept[key] = log.clean(value) if is_one else [log.clean(str(one)) for one in value]
    return kept


def recognition_of(turn: ReadableSpan) -> ReadableSpan | None:
    """The span of speech to text of a caller's turn; None where no transcript came."""
    attributes = turn.attributes or {}
    try:
        received = [float(one["received_at"]) for one in json.loads(str(attributes[TURNS_EVENTS]))]
    except (KeyError, TypeError, ValueError):
        return None
    if not received or turn.context is None or turn.start_time is None:
        return None
    context = SpanContext(
        turn.context.trace_id,
        RandomIdGenerator().generate_span_id(),
        is_remote=False,
        trace_flags=turn.context.trace_flags,
    )
    return ReadableSpan(
        name=STT,
        context=context,
        parent=turn.context,
        resource=turn.resource,
        attributes={key: attributes[key] for key in OF_STT if key in attributes},
        start_time=turn.start_time,
        end_time=max(turn.start_time, int(max(received) * 1e9)),
        instrumentation_scope=turn.instrumentation_scope,
    )


def _copy(
    span: ReadableSpan, attributes: Mapping[str, Any], events: Sequence[Event], status: Status
) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        events=events,
        links=span.links,
        kind=span.kind,
        status=status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
