"""May this job start? Calls at once are counted in the request, before a process is taken."""

from __future__ import annotations

from livekit.agents import JobRequest

from agent import log

logger = log.get(__name__)


class Admission:
    """Counts the calls of this worker: those that run and those that were just accepted."""

    def __init__(self, max_calls: int) -> None:
        self._max_calls = max_calls
        self._accepting = 0

    async def decide(self, request: JobRequest, running: int) -> None:
        """Accept the job, or pass it on to another worker when this one is full."""
        if running + self._accepting >= self._max_calls:
            logger.warning("a job was passed on", reason="full", calls=running)
            # terminate=False: LiveKit tries the next worker instead of dropping the call.
            await request.reject(terminate=False)
            return
        self._accepting += 1
        try:
            await request.accept()
        finally:
            self._accepting -= 1
