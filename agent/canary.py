"""Canary calls: the product calls itself. What a worker knows of them, and which are for it.

A canary call holds no place and knows no limit of callers, so that its order is signed. It may
name the worker that is to answer; the others pass the job on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from livekit.protocol.agent import Job

from agent import log, metrics
from agent.orders import body_of, is_signed, signature
from agent.places import Place
from config.livekit_auth import KeyRing
from config.settings import Settings

logger = log.get(__name__)

KIND = metrics.CANARY
PURPOSE = "voice-ai canary"


def metadata(ring: KeyRing, room: str, worker: str = "", persona: str = "") -> str:
    """The metadata of a canary's job in `room`, for `worker`, or for any. Raises NoKeys."""
    _, secret = ring.credentials()
    told = {"kind": KIND, "worker": worker, "signature": signature(secret, PURPOSE, room, worker)}
    return json.dumps(told | ({"persona": persona} if persona else {}))


def target(told: str, room: str, settings: Settings) -> str | None:
    """The worker that a canary's job in `room` is for, empty for any; None: it is no canary's."""
    if KIND not in told:
        return None
    body = body_of(told)
    if body.get("kind") != KIND:
        return None
    worker = str(body.get("worker", ""))
    if not is_signed(settings, body.get("signature"), PURPOSE, room, worker):
        logger.warning("a canary call is not signed by us", action="take it for a caller's")
        return None
    return worker


def kind_of(metadata: str, room: str, settings: Settings) -> str:
    """Whose call a job's metadata makes it: one of `agent.metrics.KINDS`.

    Only what we have signed is a canary's: it is left out of business figures and their alerts.
    """
    if target(metadata, room, settings) is not None:
        return metrics.CANARY
    is_placed = isinstance(body_of(metadata).get("dial"), dict)
    return metrics.OUTBOUND if is_placed else metrics.CALLER


@dataclass(frozen=True, slots=True)
class Sorting:
    """Which jobs one worker looks at at all."""

    settings: Settings
    worker: str
    is_resting: Callable[[], bool]

    def __call__(self, job: Job) -> Place | None:
        """BESIDE for a canary's job of ours, ELSEWHERE for another worker's; None: a caller's.

        A worker that rests passes on all but the canary that asks for it by name.
        """
        wanted = target(job.metadata, job.room.name, self.settings)
        if wanted == self.worker:
            return Place.BESIDE
        if wanted or self.is_resting():
            return Place.ELSEWHERE
        return None if wanted is None else Place.BESIDE
