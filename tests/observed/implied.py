"""What the calls, and all that was played in beside them, imply for each metric by its name.

The measures are not those of the metrics: the call log, the callers, the stand-ins, the machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import psutil

from agent import quality
from agent.call import EndReason
from agent.events import CallNote
from agent.metrics import FAULTS
from agent.store.rows import TurnRow
from ops.bench import stage
from tests.observed.links import PLAYED
from tests.observed.scene import CALLS, CLOSED, OPENED, REFRESHED, REFUSED, Scene

Value = float | Callable[[Scene], float]
Claims = Mapping[str, Value]
"""Values by the expressions that must have them at the end of the calls."""

OPS, WORKER = 'job="voice-ops"', 'job="voice-worker",kind="caller"'


def turns(scene: Scene) -> list[TurnRow]:
    """What callers said: the greeting is turn 0."""
    return [turn for record in scene.records for turn in record.turns if turn.number]


def measured(name: str, of: str) -> Claims:
    """A histogram has the values that turns have by the name `of`, as many and as much."""

    def values(scene: Scene) -> list[float]:
        return [value for turn in turns(scene) if (value := getattr(turn, of)) is not None]

    return {
        f"{name}_count{{{WORKER}}}": lambda scene: len(values(scene)),
        f"{name}_sum{{{WORKER}}}": lambda scene: sum(values(scene)),
    }


def noted(scene: Scene, name: str, key: str) -> list[float]:
    """What notes of the calls tell."""
    events = [event for placed in scene.placed for event in placed.events]
    return [e.detail[key] for e in events if isinstance(e, CallNote) and e.name == name]


def by_label(
    expression: str, label: str, counted: Iterable[str], of: Callable[..., Value]
) -> Claims:
    """A claim for each value of a label."""
    return {expression % f'{label}="{value}"': of(value) for value in counted}


def ended(reason: str) -> Callable[[Scene], float]:
    return lambda scene: sum(record.call.end_reason == reason for record in scene.records)


def asked(scene: Scene, at: float, *statuses: int) -> int:
    """Requests of the API that were answered before a moment."""
    wanted = statuses or (200, 503)
    return sum(one.ended <= at and one.status in wanted for one in scene.livekit.answered)


def latency(scene: Scene) -> float:
    took = [one.ended - one.begun for one in scene.livekit.answered if one.begun > scene.quiet]
    return sum(took) / len(took)


def lengths(scene: Scene) -> float:
    return sum(
        (record.call.ended_at - record.call.answered_at).total_seconds() for record in scene.records
    )


def most_at_once(scene: Scene) -> int:
    began = [record.call.answered_at for record in scene.records]
    return max(
        sum(r.call.answered_at <= at < r.call.ended_at for r in scene.records) for at in began
    )


def tools(scene: Scene) -> Counter[str]:
    return Counter(tool for turn in turns(scene) for tool in turn.tools)


def cost(scene: Scene) -> float:
    return sum(float(record.call.cost["known"]) for record in scene.records if record.call.cost)


def phrases(_: Scene) -> int:
    """What every persona may have to say at once."""
    return sum(bool(t) for p in stage.personas().values() for t in p.phrases.model_dump().values())


SINCE_QUIET = (
    f"sum(livekit_api_request_duration_seconds_%s{{{OPS}}})"
    f" - sum(livekit_api_request_duration_seconds_%s{{{OPS}}} @ QUIET)"
)
"""While calls are played, this process may be too busy to answer at once."""

NAMED: Mapping[str, Claims] = {
    "livekit_api_requests_total": {
        f"sum(livekit_api_requests_total{{{OPS}}})": lambda s: asked(s, s.sampled_at),
        f'sum(livekit_api_requests_total{{{OPS},status="503"}})': lambda s: asked(
            s, s.sampled_at, 503
        ),
        'sum(livekit_api_requests_total{job="voice-worker",method="delete_room"})': 1,
    },
    "livekit_api_request_duration_seconds": {
        f"({SINCE_QUIET.replace('%s', 'sum')}) / ({SINCE_QUIET.replace('%s', 'count')})": latency,
    },
    "livekit_rooms_active": {f"livekit_rooms_active{{{OPS}}}": OPENED - CLOSED - 1},
    "livekit_participants_active": {
        f"livekit_participants_active{{{OPS}}}": 2 * (OPENED - CLOSED - 1)
    },
    "livekit_connections_total": {f"livekit_connections_total{{{OPS}}}": OPENED + 1},
    "livekit_connection_errors_total": {f"livekit_connection_errors_total{{{OPS}}}": 2},
    "livekit_sip_calls_active": {
        f"livekit_sip_calls_active{{{WORKER}}}": 0,
        f"max_over_time(livekit_sip_calls_active{{{WORKER}}}[5m])": most_at_once,
    },
    "livekit_sip_call_duration_seconds": {
        f"livekit_sip_call_duration_seconds_count{{{WORKER}}}": CALLS,
        f"livekit_sip_call_duration_seconds_sum{{{WORKER}}}": lengths,
    },
    "livekit_sip_call_failures_total": by_label(
        f"livekit_sip_call_failures_total{{{WORKER},%s}}", "reason", sorted(FAULTS), ended
    ),
    "livekit_audio_quality_score": {
        'max_over_time(livekit_audio_quality_score{job="voice-worker"}[5m])': quality.mos(PLAYED),
    },
    "livekit_system_cpu_usage": {
        f"avg_over_time(livekit_system_cpu_usage{{{OPS}}}[RUN])": lambda s: s.busy,
    },
    "livekit_system_memory_usage": {
        f"livekit_system_memory_usage{{{OPS}}}": lambda s: s.memory,
    },
    "livekit_system_disk_usage": {
        f"livekit_system_disk_usage{{{OPS}}}": lambda s: psutil.disk_usage(str(s.folder)).percent,
    },
    "voice_response_latency_seconds": measured("voice_response_latency_seconds", "latency"),
    "voice_end_of_turn_seconds": measured("voice_end_of_turn_seconds", "end_of_turn_delay"),
    "voice_stt_seconds": measured("voice_stt_seconds", "transcription_delay"),
    "voice_llm_first_token_seconds": measured("voice_llm_first_token_seconds", "llm_ttft"),
    "voice_tts_first_byte_seconds": measured("voice_tts_first_byte_seconds", "tts_ttfb"),
    "voice_recognition_confidence": measured("voice_recognition_confidence", "confidence"),
    "voice_pickup_seconds": {
        f"voice_pickup_seconds_count{{{WORKER}}}": CALLS,
        f"voice_pickup_seconds_sum{{{WORKER}}}": lambda s: sum(noted(s, "greeted", "after")),
    },
    "voice_dead_air_seconds": {
        f"voice_dead_air_seconds_count{{{WORKER}}}": lambda s: len(
            noted(s, "silence_owed", "seconds")
        ),
        f"voice_dead_air_seconds_sum{{{WORKER}}}": lambda s: sum(
            noted(s, "silence_owed", "seconds")
        ),
    },
    "voice_turns_total": {f"voice_turns_total{{{WORKER}}}": lambda s: len(turns(s))},
    "voice_interruptions_total": {
        f"voice_interruptions_total{{{WORKER}}}": lambda s: sum(
            turn.interrupted for record in s.records for turn in record.turns
        )
    },
    "voice_calls_total": {
        **by_label(f"voice_calls_total{{{WORKER},%s}}", "reason", sorted(EndReason), ended),
        'sum(voice_calls_total{kind="courtesy"})': 1,
    },
    "voice_tool_calls_total": {
        'sum(voice_tool_calls_total{job="voice-worker"})': lambda s: tools(s).total(),
        'voice_tool_calls_total{tool="end_call"}': lambda s: tools(s)["end_call"],
    },
    "voice_cost_total": {'sum(voice_cost_total{currency="USD"})': cost},
    "voice_admission_refusals_total": {'voice_admission_refusals_total{verdict="closed"}': 1},
    "voice_phrases_lacking": {'voice_phrases_lacking{job="voice-worker"}': 0},
    "voice_phrases_cached": {'voice_phrases_cached{job="voice-worker"}': phrases},
    "voice_database_pool_in_use": {
        # Which of its connections are in use at a moment nobody else can know.
        f"voice_database_pool_in_use{{{OPS}}} >= bool 0": 1,
        f"voice_database_pool_in_use{{{OPS}}} + voice_database_pool_idle{{{OPS}}} >= bool 1": 1,
    },
    "voice_spool_calls": {f"voice_spool_calls{{{OPS}}}": 0},
    "voice_webhook_lag_seconds": {f"voice_webhook_lag_seconds{{{OPS}}}": 0},
    "voice_webhooks_total": {
        f'voice_webhooks_total{{{OPS},outcome="stored"}}': lambda s: s.livekit.told,
        f"voice_webhooks_handled_total{{{OPS}}}": lambda s: s.livekit.told,
    },
    "voice_recordings_total": {
        f'sum(voice_recordings_total{{{OPS},outcome="complete"}})': 2,
        f'sum(voice_recordings_total{{{OPS},outcome="failed"}})': 1,
    },
    "voice_recordings_active": {f"voice_recordings_active{{{OPS}}}": 1},
    "voice_token_requests_total": {
        f'voice_token_requests_total{{{OPS},operation="issue",outcome="done"}}': REFRESHED,
        f'voice_token_requests_total{{{OPS},operation="refresh",outcome="done"}}': REFRESHED,
        f'voice_token_requests_total{{{OPS},operation="refresh",outcome="invalid"}}': REFUSED,
    },
    "voice_provider_up": {
        'count(voice_provider_up{job="voice-worker"})': 6,
        'sum(voice_provider_refused{job="voice-worker"})': 0,
    },
    "voice_health_check": {f"count(voice_health_check{{{OPS}}} == 1)": lambda s: len(s.healthy)},
}
"""By the name that operators know."""
