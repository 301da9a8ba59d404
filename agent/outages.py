"""Providers that a worker knows to fail: told to all of its calls, and probed until they are back.

One prober a worker, in its main process, for as long as there is an outage: a probe is a real
request and costs money. Failures and recoveries come as notes of the calls that met them.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from agent import log, metrics, tasks
from agent.availability import ALL_KINDS, FAILED, RECOVERED, State, is_refusal
from agent.channel import Standing
from agent.events import CallNote, Event

logger = log.get(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 10.0, 300.0
"""Seconds before the first probe, and at most between two; each pause is twice the one before."""

JITTER = 0.1
"""Part of a pause by which it may be longer: workers that failed together part."""

RELAPSE = 60.0
"""Seconds after a recovery in which another failure goes on with the pauses where they were."""


@dataclass(slots=True)
class Outage:
    """One provider that failed, now or a while ago."""

    state: State = State.DOWN
    since: float = 0.0
    pause: float = FIRST_PAUSE
    recovered_at: float = float("-inf")
    probing: asyncio.Task[None] | None = None


class Outages:
    """The worker's board of providers that are not up."""

    def __init__(
        self,
        probe: Callable[[str, str], Awaitable[None]],
        tell: Callable[[str, str, State], None],
    ) -> None:
        """`probe` asks a provider something small, and raises when it does not answer well.

        `tell` passes a change on to the calls that run.
        """
        self._probe = probe
        self._tell = tell
        self._outages: dict[tuple[str, str], Outage] = {}

    def expect(self, places: Iterable[tuple[str, str]]) -> None:
        """Show these providers as up from the start, each as (kind, provider)."""
        for kind, provider in places:
            metrics.PROVIDER_FAILURES.labels(kind, provider)
            _show(kind, provider, State.UP)

    def now(self) -> list[Standing]:
        """The providers that are not up."""
        return [
            (*place, outage.state)
            for place, outage in self._outages.items()
            if outage.state is not State.UP
        ]

    def hear(self, event: Event) -> None:
        """Learn from a call's note; other events tell nothing of providers."""
        if not isinstance(event, CallNote) or event.name not in (FAILED, RECOVERED):
            return
        kind, provider = str(event.detail.get("of")), str(event.detail.get("provider"))
        if event.name == FAILED:
            refused = event.detail.get("state") == State.REFUSED
            self._failed(kind, provider, State.REFUSED if refused else State.DOWN)
        elif event.detail.get("by") == "call":
            self._recovered(kind, provider, by="call")

    async def aclose(self) -> None:
        """Probe no more."""
        await tasks.end(*(outage.probing for outage in self._outages.values()))

    def _failed(self, kind: str, provider: str, state: State) -> None:
        outage = self._outages.setdefault((kind, provider), Outage(State.UP))
        if outage.state in (state, State.REFUSED):
            self._keep_probing(kind, provider, outage)
            return
        now = time.monotonic()
        if outage.state is State.UP:
            outage.since = now
            relapsed = now - outage.recovered_at < RELAPSE
            outage.pause = longer(outage.pause) if relapsed else FIRST_PAUSE
        outage.state = state
        metrics.PROVIDER_FAILURES.labels(kind, provider).inc()
        self._change(kind, provider, state)
        if state is State.REFUSED:
            self._alert(kind, provider)
            if outage.probing is not None:
                outage.probing.cancel()
            return
        logger.warning("a provider is down", kind=kind, provider=provider, probe_in=outage.pause)
        self._keep_probing(kind, provider, outage)

    def _keep_probing(self, kind: str, provider: str, outage: Outage) -> None:
        """Probe what is down, unless that is under way."""
        task = outage.probing
        probed = task is not None and not task.done() and not task.cancelling()
        if outage.state is State.DOWN and not probed:
            outage.probing = tasks.spawn(
                self._probe_until_up(kind, provider, outage), f"probe-{kind}-{provider}"
            )

    def _recovered(self, kind: str, provider: str, by: str) -> None:
        outage = self._outages.get((kind, provider))
        if outage is None or outage.state is not State.DOWN:
            return
        now = time.monotonic()
        outage.state, outage.recovered_at = State.UP, now
        metrics.PROVIDER_RECOVERIES.labels(kind, provider, by).inc()
        away = round(now - outage.since, 1)
        logger.info("a provider is back", kind=kind, provider=provider, away=away, by=by)
        self._change(kind, provider, State.UP)
        if by != "probe" and outage.probing is not None:
            outage.probing.cancel()

    async def _probe_until_up(self, kind: str, provider: str, outage: Outage) -> None:
        while outage.state is State.DOWN:
            await asyncio.sleep(outage.pause * (1 + JITTER * random.random()))
            try:
                await self._probe(kind, provider)
            except Exception as error:  # noqa: BLE001 - the boundary of a plugin: probing must go on
                if is_refusal(error):
                    self._refused(kind, provider, outage)
                    return
                outage.pause = longer(outage.pause)
                logger.info(
                    "a provider is still down",
                    kind=kind,
                    provider=provider,
                    error=type(error).__name__,
                    probe_in=outage.pause,
                )
            else:
                self._recovered(kind, provider, by="probe")

    def _refused(self, kind: str, provider: str, outage: Outage) -> None:
        outage.state = State.REFUSED
        self._change(kind, provider, State.REFUSED)
        self._alert(kind, provider)

    def _change(self, kind: str, provider: str, state: State) -> None:
        _show(kind, provider, state)
        self._tell(kind, provider, state)

    @staticmethod
    def _alert(kind: str, provider: str) -> None:
        logger.error(
            "a provider refuses the key",
            kind="all" if kind == ALL_KINDS else kind,
            provider=provider,
            action="not asked again until the worker is restarted with another key",
        )


def _show(kind: str, provider: str, state: State) -> None:
    metrics.PROVIDER_UP.labels(kind, provider).set(state is State.UP)
    metrics.PROVIDER_REFUSED.labels(kind, provider).set(state is State.REFUSED)


def longer(pause: float) -> float:
    """The pause after `pause`."""
    return min(2 * pause, LONGEST_PAUSE)
