"""Every metric of the product: its name, its unit and what it means, each defined here once.

They are in prometheus_client's default registry, beside those of the framework (`lk_agents_*`), and
are served by the worker and by `ops serve`. Labels have few values: never a name of a room.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

from prometheus_client import Counter, Gauge, Histogram

from agent.call import EndReason

API_REQUESTS = Counter(
    "livekit_api_requests_total",
    "Requests to the LiveKit API, repeated ones too. `status` is that of HTTP, or why there is none"
    " (timeout, unreachable, breaker_open, cancelled). A call's own are counted by its worker.",
    ["service", "method", "status"],
)
API_SECONDS = Histogram(
    "livekit_api_request_duration_seconds",
    "Seconds from a request to the LiveKit API to the end of its answer, each attempt by itself.",
    ["service", "method"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
PROVIDER_FAILURES = Counter(
    "voice_ai_provider_failures",
    "Providers that went down or refused the key.",
    ["kind", "provider"],
)
PROVIDER_UP = Gauge(
    "voice_provider_up",
    "1 while a provider of speech or language is asked, 0 while it is left out.",
    ["kind", "provider"],
)
PROVIDER_REFUSED = Gauge(
    "voice_provider_refused",
    "1 while a provider is left out because it refused our key.",
    ["kind", "provider"],
)
PROVIDER_RECOVERIES = Counter(
    "voice_ai_provider_recoveries",
    "Providers that came back; `by` tells what found out: a probe, or a call.",
    ["kind", "provider", "by"],
)
HTTP_SECONDS = Histogram(
    "voice_http_request_duration_seconds",
    "Seconds from a request to `ops serve` to the head of its answer. `route` is the path as"
    " declared, empty for one that there is not.",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0),
)
TOKEN_REQUESTS = Counter(
    "voice_token_requests_total",
    "Requests of tokens by `operation` (issue, refresh, validate, revoke) and `outcome` (done,"
    " refused: the client may not; invalid: the token is not good; unavailable: nobody knows).",
    ["operation", "outcome"],
)
TOKENS_ISSUED = Counter("voice_tokens_issued_total", "Tokens that were made, by kind.", ["kind"])
REVOKED_REMOVED = Counter(
    "voice_revoked_participants_removed_total",
    "Participants that were removed from a room because their token was revoked.",
)
SUSPICIOUS = Counter(
    "voice_suspicious_requests_total",
    "What an attack would look like: bad_key, bad_signature, refused_grant, burst (more than"
    " allowed), many_rooms (tokens for many rooms).",
    ["kind"],
)
REPORTED = Counter(
    "voice_reported_events_total",
    "Events that workers sent to `ops serve`, by what became of them: new, known, refused.",
    ["outcome"],
)
WORKERS = Gauge(
    "voice_reporting_workers",
    "Workers that send their events to `ops serve` and are heard of. Told by one `ops serve` of"
    " all.",
)
HEALTH = Gauge(
    "voice_health_check",
    "How the last run of a check went: 1 healthy, 0.5 degraded, 0 unhealthy. A check of something"
    " that is not configured has no value.",
    ["check"],
)
HEALTH_SECONDS = Gauge(
    "voice_health_check_latency_seconds",
    "Seconds that the last run of a check took. A check of something that is not configured has no"
    " value.",
    ["check"],
)
SESSION_READS = Counter(
    "voice_session_cache_reads_total",
    "How often live calls were looked up in Redis: hit, miss (it has not heard of every worker yet,"
    " or not of an open call), or away (it does not answer: the call log is asked).",
    ["outcome"],
)
SESSION_RECONNECTS = Counter(
    "voice_session_cache_reconnects_total", "How often Redis came back after it was away."
)
SESSIONS = Gauge("voice_session_cache_calls", "Live calls whose sessions this worker keeps fresh.")

STATUSES = frozenset(("timeout", "unreachable", "breaker_open", "cancelled"))
"""Why a request to the LiveKit API has no status of HTTP."""


def requested(service: str, method: str, status: str, seconds: float | None) -> None:
    """Count a request to the LiveKit API, and its seconds unless it was not even sent."""
    API_REQUESTS.labels(service, method, status).inc()
    if seconds is not None:
        API_SECONDS.labels(service, method).observe(seconds)


_LEVELS = {"healthy": 1.0, "degraded": 0.5, "unhealthy": 0.0}


def health(check: str, status: str, latency_ms: float | None) -> None:
    """Keep the result of a health check."""
    if status in _LEVELS:
        HEALTH.labels(check).set(_LEVELS[status])
        HEALTH_SECONDS.labels(check).set((latency_ms or 0.0) / 1000)
        return
    for gauge in (HEALTH, HEALTH_SECONDS):
        gauge.remove(check)


class Told(NamedTuple):
    """A gauge that is read when it is scraped, by `ops.health.machine`."""

    name: str
    meaning: str


CPU = Told(
    "livekit_system_cpu_usage",
    "Per cent of this machine's processors in use since the last scrape, 0 to 100.",
)
MEMORY = Told(
    "livekit_system_memory_usage",
    "Per cent of this machine's memory that is not available, 0 to 100.",
)
DISK = Told(
    "livekit_system_disk_usage",
    "Per cent of the disk with the data folder that is in use, 0 to 100.",
)
DISK_FREE = Told("voice_data_free_bytes", "Bytes free on the disk with the data folder.")
PROCESS_MEMORY = Told("voice_ops_memory_bytes", "Resident memory of this `ops serve`, in bytes.")
SPOOL_CALLS = Told(
    "voice_spool_calls", "Calls of this data folder whose events wait for the database."
)
DATABASE_IN_USE = Told(
    "voice_database_pool_in_use", "Connections to the database that are in use now."
)
DATABASE_IDLE = Told(
    "voice_database_pool_idle", "Connections to the database that are kept open beside them."
)
BACKUP = Told(
    "voice_backup_last_success_timestamp_seconds",
    "When a part (config, database, logs, recordings) was last backed up and read back: seconds"
    " since 1970. A part that never was has no value.",
)
ROOMS = Gauge("livekit_rooms_active", "Rooms that there are now. Told by one `ops serve` of all.")
PARTICIPANTS = Gauge(
    "livekit_participants_active",
    "Participants in rooms now, agents too. Told by one `ops serve` of all.",
)
CONNECTIONS = Counter("livekit_connections_total", "Telephones (SIP participants) seen in rooms.")
CONNECTION_ERRORS = Counter(
    "livekit_connection_errors_total",
    "Participants whose connection did not come about, or lost its media.",
)
WEBHOOKS = Counter(
    "voice_webhooks_total",
    "Webhooks by what became of them: stored, spooled, known (told before), forged, malformed,"
    " refused (neither database nor spool took it), dead (the database never will).",
    ["outcome"],
)
WEBHOOKS_HANDLED = Counter("voice_webhooks_handled_total", "Webhook events that were handled.")
WEBHOOK_LAG = Gauge(
    "voice_webhook_lag_seconds", "Age of the oldest webhook event that is not handled; 0: none."
)
WEBHOOKS_GIVEN_UP = Gauge(
    "voice_webhooks_given_up", "Webhook events that could not be handled, however often tried."
)
SPOOL_BYTES = Gauge(
    "voice_spool_bytes", "Bytes that wait on disk for a database that is away.", ["spool"]
)
UNATTENDED = Counter(
    "voice_unattended_calls_total",
    "Telephones that were alone in a room for calls: dispatched (an agent was called for them),"
    " deleted (none came, and the room was ended), left (the other side of a transfer hung up);"
    " nobody: an agent that was alone.",
    ["outcome"],
)
CALLS_RECONCILED = Counter(
    "voice_calls_reconciled_total", "Records of calls that nobody closed, closed for them."
)
RECORDINGS = Counter(
    "voice_recordings_total",
    "Recordings that came to an end: `by` whom they were made (egress, worker, other), and the"
    " outcome (complete, failed).",
    ["by", "outcome"],
)

RECORDINGS_ACTIVE = Gauge(
    "voice_recordings_active",
    "Recordings that were asked for and have not ended. Told by one `ops serve` of all.",
)
CERTIFICATE = Gauge(
    "voice_certificate_expires_timestamp_seconds",
    "When a TLS certificate ends, in seconds since 1970, as read within the last hour: livekit"
    " (livekit.url), serve (serve.tls_certificate, or a shorter one of its chain).",
    ["name"],
)
CANARY_UP = Gauge(
    "voice_canary_up",
    "1: the last synthetic call to this worker was greeted and answered in time; 0: it was not."
    " `any`: to whichever LiveKit chose. Told by one `ops serve` of all.",
    ["worker"],
)
CANARY_ACCURACY = Gauge(
    "voice_canary_word_accuracy",
    "Share of the known words of synthetic calls that the record has right (1 - word error rate,"
    " not below 0), over the last round; 0 to 1.",
    ["persona"],
)

KIND = "kind"
KINDS = CALLER, OUTBOUND, CANARY, COURTESY = "caller", "outbound", "canary", "courtesy"
"""Whose call it is, as a label. Business figures count the first two."""

BUSINESS = frozenset((CALLER, OUTBOUND))

FAULTS = frozenset(
    EndReason(reason)
    for reason in (
        "provider_failure agent_error process_killed worker_killed worker_shutdown livekit_lost"
        " caller_lost media_failure trunk_failure"
    ).split()
)
"""Reasons that are a fault of ours or of the line; to be full, closed or hung up on is none."""

SPEECH = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 8.0, 15.0)
"""Bounds in seconds that tell a quick answer from a slow one."""

PARTS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Bounds in seconds for what an answer is made of."""

# What the caller feels: exported by the worker.

CALLS_ACTIVE = Gauge("livekit_sip_calls_active", "Calls that go on.", [KIND])
CALL_SECONDS = Histogram(
    "livekit_sip_call_duration_seconds",
    "Seconds from the caller's arrival to the end of the call.",
    [KIND],
    buckets=(5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200, 1800, 3600, 7200),
)
CALL_FAILURES = Counter(
    "livekit_sip_call_failures_total",
    "Calls that ended for a reason that is a fault: not a refusal, a hang-up or a limit.",
    [KIND, "reason"],
)
CALLS = Counter("voice_calls_total", "Calls that have ended, by their EndReason.", [KIND, "reason"])
QUALITY = Gauge(
    "livekit_audio_quality_score",
    "Estimated MOS (1 to 4.5) of the callers' audio, mean of the calls that go on and are no"
    " canary's; 0: none is measured now. By ITU-T G.107, see agent.quality: for telephone callers"
    " it sees only the leg between livekit-sip and the server.",
)
RESPONSE_SECONDS = Histogram(
    "voice_response_latency_seconds",
    "Seconds from the end of the caller's turn to the first audio of the answer.",
    [KIND],
    buckets=SPEECH,
)
END_OF_TURN_SECONDS = Histogram(
    "voice_end_of_turn_seconds",
    "Part of the response: seconds from the end of speech to the decision that the turn is over.",
    [KIND],
    buckets=PARTS,
)
STT_SECONDS = Histogram(
    "voice_stt_seconds",
    "Part of the response: seconds from the end of speech to its final transcript.",
    [KIND],
    buckets=PARTS,
)
LLM_SECONDS = Histogram(
    "voice_llm_first_token_seconds",
    "Part of the response: seconds from the request to the model's first word.",
    [KIND],
    buckets=PARTS,
)
TTS_SECONDS = Histogram(
    "voice_tts_first_byte_seconds",
    "Part of the response: seconds from the first text to the first audio.",
    [KIND],
    buckets=PARTS,
)
PICKUP_SECONDS = Histogram(
    "voice_pickup_seconds",
    "Seconds from the caller's arrival to the first audio of the greeting.",
    [KIND],
    buckets=SPEECH,
)
DEAD_AIR_SECONDS = Histogram(
    "voice_dead_air_seconds",
    "Silences that callers were owed, at least one a turn: seconds from the end of what the caller"
    " said (or from where an answer broke off) to the agent's next audible sound, a filler too, or"
    " to the end of the call. Held calls are owed nothing.",
    [KIND],
    buckets=SPEECH,
)
TURNS = Counter("voice_turns_total", "Turns that callers finished.", [KIND])
INTERRUPTIONS = Counter("voice_interruptions_total", "Replies that callers cut off.", [KIND])
CONFIDENCE = Histogram(
    "voice_recognition_confidence",
    "The recogniser's own confidence in a turn, 0 to 1: a proxy, not accuracy.",
    [KIND],
    buckets=(0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0),
)
TOOL_CALLS = Counter("voice_tool_calls_total", "Tools that the model called.", ["tool"])
COST = Counter(
    "voice_cost_total", "What ended calls have cost, as far as prices are known.", ["currency"]
)
COST_UNKNOWN = Counter("voice_cost_unknown_total", "Ended calls with a price that is not known.")
REFUSALS = Counter(
    "voice_admission_refusals_total", "Callers who were not let in, by the verdict.", ["verdict"]
)

# Who was told of what.

NOTIFICATIONS = Counter(
    "voice_notifications_total",
    "Attempts to tell people of an alert or an incident: sent, failed (tried again), given_up.",
    ["outcome"],
)
INCIDENTS_OPEN = Gauge(
    "voice_incidents_open",
    "Incidents that nobody has closed, by level; of the one `serve` that looks after them.",
    ["level"],
)

# The worker itself.

WORKER = Gauge(
    "voice_worker_state",
    "1 or 0 for each thing that must be true of a ready worker: registered, not_draining,"
    " not_full, phrases, call_log; and `ready` for all of them.",
    ["check"],
)
AWAY_SECONDS = Gauge("voice_livekit_away_seconds", "Seconds since LiveKit was lost; 0: registered.")
PHRASES_CACHED = Gauge(
    "voice_phrases_cached", "Phrases of personas that are in the cache, and heard at once."
)
PHRASES_LACKING = Gauge(
    "voice_phrases_lacking", "Phrases of personas that no voice has said yet, once all were asked."
)


def observe(histogram: Histogram, kind: str, value: float | None) -> None:
    """Add `value` to the histogram of this kind of call, unless it is not known."""
    if value is not None:
        histogram.labels(kind).observe(value)


def _begin_at_zero() -> None:
    """Give every series that can be known its zero: an increase is seen from the first one on."""
    for kind in KINDS:
        _begin_calls_at_zero(kind)
    for by, outcome in product(("egress", "worker", "other"), ("complete", "failed")):
        RECORDINGS.labels(by, outcome)
    for outcome in ("done", "refused", "invalid", "unavailable"):
        TOKEN_REQUESTS.labels("refresh", outcome)
    for counter, values in (
        (UNATTENDED, ("dispatched", "deleted", "left")),
        (NOTIFICATIONS, ("sent", "failed", "given_up")),
        (INCIDENTS_OPEN, ("P1", "P2", "P3", "P4")),
    ):
        for value in values:
            counter.labels(value)


def _begin_calls_at_zero(kind: str) -> None:
    CALLS_ACTIVE.labels(kind).set(0)
    for parted in (CALL_SECONDS, RESPONSE_SECONDS, PICKUP_SECONDS, DEAD_AIR_SECONDS):
        parted.labels(kind)
    for counted in (TURNS, INTERRUPTIONS):
        counted.labels(kind)
    for reason in EndReason:
        CALLS.labels(kind, reason.value)
    for reason in FAULTS:
        CALL_FAILURES.labels(kind, reason.value)


_begin_at_zero()
