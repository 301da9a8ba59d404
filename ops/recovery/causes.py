"""What each finding is about, what it may be the cause of, and who mends it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ops.doctor.finding import MARKS, Finding, Level

Kind = Literal["auth", "api", "sip", "performance", "security"]
KINDS: tuple[Kind, ...] = get_args(Kind)
EVERY = frozenset(KINDS)


@dataclass(frozen=True, slots=True)
class About:
    """What a check is about. `step`: of `recover`; `section`: of ops/docs/runbook.md."""

    kinds: frozenset[Kind]
    step: str = ""
    section: str = ""


def _about(kinds: str, step: str = "", section: str = "") -> About:
    return About(frozenset(kind for kind in KINDS if kind in kinds.split()), step, section)


CHECKS: Mapping[str, About] = {
    "settings": About(EVERY, "reload"),
    "disk": _about("performance", section="HighDiskUsage"),
    "network": _about("auth api sip", "connectivity", "WorkerNotRegistered"),
    "livekit": _about("api sip", "connectivity", "WorkerNotRegistered"),
    "key": _about("auth api", section="WorkerNotRegistered"),
    "keys": _about("auth", section="WorkerNotRegistered"),
    "grants": _about("auth sip", section="WorkerNotRegistered"),
    "database": _about("auth api performance", "reconnect", "SpoolNotEmpty"),
    "redis": _about("auth performance", "restart-redis", "HealthCheckFailing"),
    "sessions": _about("performance", "clear-caches", "HealthCheckFailing"),
    "worker": _about("api sip", "restart-services", "NoWorker"),
    "serve": _about("auth api", "restart-services", "NoOps"),
    "providers": _about("api performance", section="ProviderFailing"),
    "personas": _about("api", section="ProviderRefusedKey"),
    "ports": _about("performance", section="NoWorker"),
    "trunks": _about("sip", section="CallWithoutAgent"),
    "sip": _about("sip", section="SIPCallFailures"),
    "sip_gateway": _about("sip", section="SIPCallFailures"),
    "sip-file": _about("sip", section="CallWithoutAgent"),
    "egress": _about("api", section="RecordingMissing"),
    "webhook": _about("api", section="WebhookLag"),
    "processors": _about("performance", section="HighCPUUsage"),
    "memory": _about("performance", section="HighMemoryUsage"),
    "security": _about("security"),
    # Below: what the record tells. These are effects of something, mostly of what stands above.
    "calls:livekit_lost": _about("api sip", section="WorkerNotRegistered"),
    "calls:provider_failure": _about("api performance", section="ProviderFailing"),
    "calls:trunk_failure": _about("sip", section="SIPCallFailures"),
    "calls:media_failure": _about("sip", section="SIPCallFailures"),
    "calls:caller_lost": _about("sip", section="PoorAudioQuality"),
    "calls:no_agent": _about("sip", section="CallWithoutAgent"),
    "calls:process_killed": _about("performance", section="HighMemoryUsage"),
    "calls:worker_killed": _about("performance", section="NoWorker"),
    "calls:worker_shutdown": _about("performance", section="NoWorker"),
    "calls:agent_error": _about("api", section="SIPCallFailures"),
    "calls:rejected_busy": _about("performance", section="HighCPUUsage"),
    "calls:rejected_closed": _about("sip"),
    "calls:rejected_blocked": _about("security"),
    "calls:rejected_too_often": _about("security"),
    "latency": _about("performance", section="SlowResponse"),
    "spool": _about("performance", section="SpoolNotEmpty"),
    "webhooks": _about("api", section="WebhooksGivenUp"),
    "dead-letters": _about("api", section="WebhooksGivenUp"),
    "recordings": _about("api", section="RecordingMissing"),
    "record": About(EVERY),
}
"""By the name of a check, in the order in which one thing is the cause of another."""

ELSEWHERE = About(EVERY, section="HealthCheckFailing")
RANK = {name: rank for rank, name in enumerate(CHECKS)}
EFFECTS = RANK["calls:livekit_lost"]


@dataclass(frozen=True, slots=True)
class Cause:
    """One finding with what to do about it."""

    finding: Finding
    about: About

    def told(self) -> dict[str, Any]:
        """For machines."""
        one = self.finding
        return {
            "check": one.check,
            "level": MARKS[one.level][0],
            "kinds": sorted(self.about.kinds),
            "tried": one.tried,
            "came_back": one.came_back,
            "todo": one.todo,
            "recover": self.about.step or None,
            "runbook": self.about.section or None,
        }

    @property
    def way_out(self) -> str:
        """What to do, for people."""
        section = f"ops/docs/runbook.md, {self.about.section}" if self.about.section else ""
        step = f"python -m ops recover --only {self.about.step}" if self.about.step else ""
        return "; ".join(part for part in (self.finding.todo, step, section) if part)


def ordered(findings: Iterable[Finding], kind: Kind | None) -> list[Cause]:
    """The findings of this kind, the likeliest cause first.

    What is broken now comes before what is degraded, a cause before its effects, and what the
    record tells of the last hours after what was seen just now.
    """
    causes = [Cause(one, CHECKS.get(one.check, ELSEWHERE)) for one in findings]
    wanted = [one for one in causes if kind is None or kind in one.about.kinds]

    def key(cause: Cause) -> tuple[bool, bool, int, int]:
        one = cause.finding
        rank = RANK.get(one.check, len(RANK))
        return one.level is Level.WELL, rank >= EFFECTS, -one.level, rank

    return sorted(wanted, key=key)
