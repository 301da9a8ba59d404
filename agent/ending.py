"""Every way a call ends becomes one `EndReason`; the first reason that is given wins."""

from __future__ import annotations

import asyncio

from agent.call import EndReason


class Ending:
    """The end of one call, decided once. Belongs to the event loop of the call."""

    def __init__(self) -> None:
        self._decided = asyncio.Event()
        self._reason: EndReason | None = None
        self._detail = ""

    def decide(self, reason: EndReason, detail: str = "") -> bool:
        """Say why the call ends. False when an earlier reason stands."""
        if self._reason is not None:
            return False
        self._reason, self._detail = reason, detail
        self._decided.set()
        return True

    @property
    def reason(self) -> EndReason | None:
        """Why the call ended, or None while it goes on."""
        return self._reason

    @property
    def detail(self) -> str:
        """What is worth knowing beside the reason: an error's type, a timer's name."""
        return self._detail

    async def wait(self) -> EndReason:
        """Return the reason as soon as there is one."""
        await self._decided.wait()
        assert self._reason is not None
        return self._reason
