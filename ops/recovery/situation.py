"""How it stands with what recovery can do something about: asked anew, over new connections.

The checks are those of `ops.health`, and beside them what an operator sees from outside: whether a
worker and `ops serve` answer here, and whether the cache of live calls can be read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from functools import partial
from http import HTTPStatus

from redis.exceptions import ResponseError

from agent.errors import SharingLost
from agent.sessions import RedisSessions
from agent.store.engine import file_of
from config.errors import SettingsError
from config.settings import Settings
from ops.front.plane import Plane
from ops.health import here, livekit, stores
from ops.health.check import Check, Result, Status, Unwell, attempt

PASSING = frozenset({"not_full", "not_draining", "phrases"})
"""What a worker may lack without being broken: it passes by itself, or a provider is away."""

LIVEKIT = ("livekit", "room", "keys")

Checks = Mapping[str, Result]


async def look(settings: Settings, without: Collection[str] = ()) -> dict[str, Result]:
    """Every check, by name. Never raises for what it finds, and makes no database."""
    try:
        plane = Plane.of(settings)
    except SettingsError as error:
        return {"keys": Result(Status.UNHEALTHY, None, str(error).partition("\n")[0])}
    try:
        checks = [check for check in _checks(plane) if check.name not in without]
        found = await asyncio.gather(*map(attempt, checks))
        for check in checks:
            if check.aclose:
                await check.aclose()
    finally:
        await plane.aclose()
    return {check.name: result for check, result in zip(checks, found, strict=True)}


def ill(checks: Checks) -> list[str]:
    """The names of what does not work at all; with less than it should have, it works."""
    return [name for name, result in checks.items() if result.status is Status.UNHEALTHY]


def _checks(plane: Plane) -> Iterable[Check]:
    settings = plane.settings
    every, within = settings.health.every, settings.health.within
    for check in stores.checks(plane):
        if check.name == "database" and is_new(settings):
            yield Check("database", _no_database, every, within)
        else:
            yield check
    if settings.livekit.url:
        yield from (check for check in livekit.checks(plane) if check.name in LIVEKIT)
    own: dict[str, Callable[[], Awaitable[str]]] = {
        "sessions": partial(_sessions, plane),
        "worker": partial(_worker, settings),
        "serve": partial(_serve, settings),
    }
    yield from (Check(name, ask, every, max(within, here.WITHIN + 1)) for name, ask in own.items())


def is_new(settings: Settings) -> bool:
    """Whether there is no database yet: the first start of a worker makes it."""
    file = file_of(settings.store.url)
    return file is not None and not file.exists()


async def _no_database() -> str:
    raise Unwell("not there yet: the worker's first start makes it", Status.NOT_CONFIGURED)


async def _sessions(plane: Plane) -> str:
    """The cache of live calls can be read, if Redis answers at all."""
    if plane.redis is None:
        raise Unwell("redis.url is empty", Status.NOT_CONFIGURED)
    cache = RedisSessions(plane.redis, plane.settings.worker.agent_name)
    try:
        await cache.beating_since()
        calls = len(await cache.live()) + len(await cache.lost())
    except SharingLost as error:
        if isinstance(error.__cause__, ResponseError):
            raise Unwell(f"cannot be read: {error}") from error
        raise Unwell("not read: Redis does not answer in time", Status.NOT_CONFIGURED) from error
    except (ValueError, KeyError, TypeError) as error:
        raise Unwell(f"holds what nobody can read ({type(error).__name__})") from error
    return f"{calls} calls"


async def _worker(settings: Settings) -> str:
    """A worker of this machine says that it is ready. One elsewhere cannot be asked."""
    section = settings.worker
    told = await here.ready(section)
    if told is None:
        _nobody(settings, "worker", section.endpoints_port)
        raise Unwell(f"nothing answers at {section.endpoints_host}:{section.endpoints_port}/ready")
    lacking = [name for name, met in told["checks"].items() if not met]
    broken = [name for name in lacking if name not in PASSING]
    if broken:
        raise Unwell(f"not {', not '.join(broken)}")
    if lacking:
        raise Unwell(f"not {', not '.join(lacking)}", Status.DEGRADED)
    return "ready"


async def _serve(settings: Settings) -> str:
    """`ops serve` of this machine can do its work."""
    section = settings.serve
    answer = await here.health(section)
    if answer is None:
        _nobody(settings, "serve", section.port)
        raise Unwell(f"nothing answers at {section.host}:{section.port}/health")
    if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
        raise Unwell("cannot do its work (503)")
    if answer.status != HTTPStatus.OK:
        raise Unwell(f"answers {answer.status or 'no HTTP'}", Status.DEGRADED)
    return "answers"


def _nobody(settings: Settings, service: str, port: int) -> None:
    """Raises Unwell where nobody need answer: not ours to run, or not on this machine."""
    recovery = settings.recovery
    if not port:
        raise Unwell("its port is 0: cannot be asked", Status.NOT_CONFIGURED)
    if recovery.manager in {"none", "kubernetes"} or not getattr(recovery, service):
        why = f"none answers here, and recovery.{service} names none"
        raise Unwell(why, Status.NOT_CONFIGURED)
