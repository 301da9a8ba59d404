"""The steps of a recovery, in their order: what each would do, and doing it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import TimeoutError as NoAnswer

from agent import shared
from agent.errors import StartError
from agent.sessions import PREFIX, RedisSessions
from agent.start import prepare
from config.settings import Settings, environment
from ops.doctor import examine
from ops.doctor.finding import Level
from ops.recovery.calls import drained
from ops.recovery.manager import Command, Manager
from ops.recovery.situation import Checks, ill

PASSES = 5.0
"""Seconds in which what passes by itself has passed."""

PATIENCE = 2.0
"""Seconds for Redis to answer anything at all."""


class Skipped(Exception):
    """There is nothing for this step to do, or it may not; the message says why."""


class Failed(Exception):
    """The step could not do what it is for."""


@dataclass(slots=True)
class Scene:
    """What a step works on. `is_asked`: the operator asked for this step by its name."""

    settings: Settings
    checks: Checks
    is_asked: bool = False
    commands: list[Command] = field(default_factory=list)
    """What was given to the manager."""
    is_restarted: bool = False
    """Whether something is starting that may need a while to be well."""

    @property
    def manager(self) -> Manager:
        """Who runs our services."""
        return Manager(self.settings.recovery)

    async def order(self, commands: list[Command]) -> None:
        """Let the manager do it. Raises CommandFailed."""
        self.commands += commands
        await self.manager.run(commands)

    async def restart(self, service: str) -> None:
        """Let the manager restart it. Raises CommandFailed."""
        await self.order(self.manager.restart(service))
        self.is_restarted = True


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `run` tells what it did; it raises Skipped, Failed, CommandFailed, StillCalls."""

    name: str
    about: str
    plan: Callable[[Settings], list[str]]
    """What it would do, each in a line."""
    run: Callable[[Scene], Awaitable[str]]
    patience: float = 0.0
    """Seconds after it in which things may become well; after a restart it is `recovery.within`."""


async def reconnect(_scene: Scene) -> str:
    """New connections are made with every look: what had passed already is found well."""
    return "asked anew over new connections"


async def restart_services(scene: Scene) -> str:
    """Restart `serve` and the worker, each if it is broken by itself."""
    broken = [name for name in ("serve", "worker") if _needs_restart(scene, name)]
    return await _restart(scene, broken, "serve and worker are not what is broken")


async def clear_caches(scene: Scene) -> str:
    """Drop the cache of live calls in Redis: workers tell it anew, the call log has it all."""
    url = scene.settings.redis.url
    if not url:
        raise Skipped("redis.url is empty: there is no cache")
    if "redis" in ill(scene.checks):
        raise Skipped("Redis does not answer")
    connections = shared.pool(url)
    try:
        async with asyncio.timeout(PATIENCE):
            gone = await RedisSessions(connections, scene.settings.worker.agent_name).clear()
    except (RedisError, OSError) as error:  # TimeoutError is an OSError
        raise Failed(f"Redis: {type(error).__name__}: {error}".removesuffix(": ")) from error
    finally:
        await connections.aclose()
    return f"{gone} keys of live calls dropped"


async def reload(scene: Scene) -> str:
    """Check the configuration; then let services take it, which they read when they start.

    Keys of LiveKit and client keys need none of this: they are read anew by themselves.
    """
    _check_configuration()
    if commands := scene.manager.reread():
        await scene.order(commands)
    if scene.is_asked:
        wanted = [name for name in ("serve", "worker") if scene.manager.restart(name)]
    else:
        wanted = [name for name in ("serve", "worker") if _needs_restart(scene, name)]
    if not wanted:
        return "the configuration is right; no service has to take it anew"
    return f"the configuration is right; {await _restart(scene, wanted, '')}"


async def connectivity(_scene: Scene) -> str:
    """Test every way out, as `python -m ops doctor` does. Changes nothing."""
    found = await examine.examine(environment())
    if broken := [f"{one.tried}: {one.came_back}" for one in found if one.level is Level.BROKEN]:
        raise Failed(f"broken: {'; '.join(broken)}")
    degraded = sum(one.level is Level.DEGRADED for one in found)
    return f"{len(found)} things tried, {degraded} of them degraded"


async def restart_redis(scene: Scene) -> str:
    """Restart our Redis.

    One that answers nobody is restarted at once: workers go on with their calls without it, and
    nothing more can be lost. One that answers and is ill has its calls drained before.
    """
    if not scene.settings.redis.url:
        raise Skipped("redis.url is empty: there is none")
    if not scene.is_asked and not {"redis", "sessions"} & set(ill(scene.checks)):
        raise Skipped("Redis is not what is broken")
    if not scene.manager.restart("redis"):
        raise Skipped(_not_ours("redis"))
    if not await _answers(scene.settings.redis.url):
        await scene.restart("redis")
        return f"{scene.manager.name_of('redis')} was restarted: it had answered nobody"
    async with drained(scene.settings):
        await scene.restart("redis")
    return f"{scene.manager.name_of('redis')} was restarted, with no call going on"


def _needs_restart(scene: Scene, service: str) -> bool:
    """Whether a restart may mend it: what it needs is there, and it does not do its work."""
    broken = set(ill(scene.checks))
    needs = {"serve": {"database", "spool", "keys"}, "worker": {"livekit", "room", "database"}}
    told = scene.checks.get(service)
    if service not in broken or told is None:
        return False
    return told.detail.startswith("nothing answers") or not needs[service] & broken


async def _restart(scene: Scene, services: list[str], why_none: str) -> str:
    """Restart these, the worker with no call going on: draining would take its callers' agent."""
    if not services:
        raise Skipped(why_none)
    wanted = [name for name in services if scene.manager.restart(name)]
    if not wanted:
        raise Skipped("; ".join(map(_not_ours, services)))
    _check_configuration()
    for name in wanted:
        if name == "worker":
            async with drained(scene.settings):
                await scene.restart(name)
        else:
            await scene.restart(name)
    return f"restarted: {', '.join(map(scene.manager.name_of, wanted))}"


def _check_configuration() -> None:
    """A service that runs is not restarted into a configuration that it cannot start with."""
    try:
        prepare()
    except StartError as error:
        problems = "; ".join(str(error).splitlines())
        raise Failed(f"the configuration is wrong, nothing is restarted: {problems}") from error


async def _answers(url: str) -> bool:
    """Whether Redis says anything, be it an error. Raises Skipped where a restart would harm."""
    connections = shared.pool(url)
    try:
        async with asyncio.timeout(PATIENCE):
            await Redis(connection_pool=connections).ping()
    except AuthenticationError as error:
        raise Skipped("Redis refuses the password: set it in REDIS_URL") from error
    except BusyLoadingError as error:
        raise Skipped("Redis is loading its data: wait for it") from error
    except (NoConnection, NoAnswer, OSError):  # TimeoutError is an OSError
        return False
    except RedisError:
        return True
    finally:
        await connections.aclose()
    return True


def _not_ours(service: str) -> str:
    return f"{service}: not configured (recovery.manager and recovery.{service})"


def _would_restart(*services: str) -> Callable[[Settings], list[str]]:
    def plan(settings: Settings) -> list[str]:
        manager, lines = Manager(settings.recovery), []
        for name in services:
            commands = [" ".join(command) for command in manager.restart(name)]
            lines += [f"if it is broken: {one}" for one in commands] or [f"skip {_not_ours(name)}"]
        return lines

    return plan


def _would_clear(settings: Settings) -> list[str]:
    if not settings.redis.url:
        return ["skip: redis.url is empty"]
    return [f"delete {{{PREFIX}{settings.worker.agent_name}}}:* (live calls; nothing else)"]


def _would_reload(settings: Settings) -> list[str]:
    reread = [" ".join(command) for command in Manager(settings.recovery).reread()]
    return ["check settings, personas, prices, retry policies", *reread]


STEPS: tuple[Step, ...] = (
    Step(
        "reconnect",
        "ask everything anew over new connections",
        lambda _: [f"ask for {PASSES:g} s whether it has passed"],
        reconnect,
        PASSES,
    ),
    Step(
        "restart-services",
        "restart what is broken of serve and worker",
        _would_restart("serve", "worker"),
        restart_services,
    ),
    Step("clear-caches", "drop the cache of live calls", _would_clear, clear_caches, PASSES),
    Step(
        "reload",
        "check the configuration and let services take it",
        _would_reload,
        reload,
    ),
    Step(
        "connectivity",
        "test every way out (python -m ops doctor)",
        lambda _: ["python -m ops doctor"],
        connectivity,
    ),
    Step(
        "restart-redis",
        "restart our Redis, with calls drained",
        _would_restart("redis"),
        restart_redis,
    ),
)
NAMES = tuple(step.name for step in STEPS)
