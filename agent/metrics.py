"""Every metric of the product: its name, its unit and what it means, each defined here once.

They are in prometheus_client's default registry, beside those of the framework (`lk_agents_*`), and
are served by the worker and by `ops serve`. Labels have few values: never a name of a room.
"""

from __future__ import annotations

from prometheus_client import Counter, Histogram

API_REQUESTS = Counter(
    "livekit_api_requests_total",
    "Requests to the LiveKit API, repeated ones too. `status` is that of HTTP, or why there is none"
    " (timeout, unreachable, breaker_open).",
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
PROVIDER_RECOVERIES = Counter(
    "voice_ai_provider_recoveries",
    "Providers that came back; `by` tells what found out: a probe, or a call.",
    ["kind", "provider", "by"],
)
