"""How a thing is examined: within its own time, beside the others, and never with a traceback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from agent import log
from ops.doctor.finding import Finding, Level

T = TypeVar("T")
logger = log.get(__name__)

WITHIN = 5.0
"""Seconds for one question to anybody."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at. `name` is what `--without` calls it."""

    name: str
    tried: str
    run: Callable[[], Awaitable[Sequence[Finding]]]
    todo: str = ""
    """What to do when nothing comes back."""
    lost: Level = Level.DEGRADED
    """How bad it is that nothing comes back."""
    within: float | None = None
    """Seconds, where they are not those of one question."""


async def attempt_all(checks: Iterable[Check]) -> list[Finding]:
    """Everything at once; the findings in the order of the checks."""
    found = await asyncio.gather(*(attempt(check) for check in checks))
    return [finding for findings in found for finding in findings]


async def attempt(check: Check) -> Sequence[Finding]:
    """What the check found, or that it found nothing in its time."""
    within = check.within or WITHIN
    try:
        async with asyncio.timeout(within):
            return [
                one if one.check else replace(one, check=check.name) for one in await check.run()
            ]
    except TimeoutError:
        came_back = f"no answer within {within:g} s"
        return [Finding(check.lost, check.tried, came_back, check.todo, check.name)]
    except Exception as error:
        # The boundary of a check: one that breaks must not keep the others from being told.
        logger.debug("a check failed", check=check.name, exc_info=True)
        came_back = f"the check itself failed ({type(error).__name__})"
        todo = "this is a fault of the doctor: please report it"
        return [Finding(Level.DEGRADED, check.tried, came_back, todo, check.name)]


async def in_thread(work: Callable[[], T]) -> T:
    """Run what blocks; a thread that hangs is left behind, also when the process ends."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: Exception | None) -> None:
        if done.done():
            return
        if error:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type] # there is a result: no error

    def run() -> None:
        result, failed = None, None
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - raised where it is awaited
            failed = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, result, failed)

    threading.Thread(target=run, name="doctor", daemon=True).start()
    return await done


def named(check: str, findings: Iterable[Finding]) -> list[Finding]:
    """The findings as those of `check`."""
    return [replace(one, check=check) for one in findings]


def masked(findings: Iterable[Finding], secrets: Iterable[str]) -> list[Finding]:
    """The findings without any of `secrets`, whoever may have repeated one."""
    hidden = sorted({secret for secret in secrets if secret}, key=len, reverse=True)

    def hide(text: str) -> str:
        for secret in hidden:
            text = text.replace(secret, "***")
        return text

    return [
        replace(one, tried=hide(one.tried), came_back=hide(one.came_back), todo=hide(one.todo))
        for one in findings
    ]
