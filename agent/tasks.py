"""Background tasks: each is named, kept by one owner, ended by it, and heard of when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from agent import log

logger = log.get(__name__)


def spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Start `work`; the caller keeps the task. An exception that ends it is logged."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_log_failure)
    return task


async def end(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel the tasks that there are, and wait until they have ended."""
    there = [task for task in tasks if task is not None]
    for task in there:
        task.cancel()
    if there:
        await asyncio.wait(there)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("a background task failed", task=task.get_name(), exc_info=error)
