"""Canary calls by `ops serve`: a round every few minutes, and what follows from how it went.

Each call is a process of its own: the SDK's runtime and its clock have no business in a server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from agent import log, metrics, tasks
from agent.errors import StoreError
from agent.roster import SEEN
from agent.store import CallLog
from agent.store.workers import Wanted, WorkerRow, Workers
from config.fields import ROOT
from config.settings import Settings
from ops.canary.dispatch import WHO, Outcome, orders, to_try
from ops.front.alerts import Alerts
from ops.front.database import Database
from ops.lease import Lease

logger = log.get(__name__)

ANY = "any"
"""The worker that LiveKit chose, as metrics and alerts name it."""

LONGEST = 180.0
"""Seconds that a call may take, with the start and the end of its process."""

BEAT = 5.0
"""Seconds between two looks whether it is this process that calls."""


SOURCE = "ops serve"

Told = Mapping[str, Any]
"""What `ops canary --json` tells; without `well` when the call could not be placed."""

Call = Callable[[str], Awaitable[Told]]


async def call_by_process(worker: str) -> Told:
    """Run `python -m ops canary --json` for one worker (empty: any)."""
    named = ("--worker", worker) if worker else ()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ops", "canary", "--json", *named),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(LONGEST):
            out, errors = await process.communicate()
    except TimeoutError:
        return {"why": f"the call did not end within {LONGEST:g} s"}
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    try:
        told: Told = json.loads(out)
    except ValueError:
        last = errors.decode(errors="replace").strip().splitlines()[-1:]
        return {"why": log.clean(last[0].removeprefix("error: ")) if last else "it said nothing"}
    return told


class Watch:
    """Makes canary calls while this process has the lease."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        alerts: Alerts,
        lease: Lease,
        call: Call = call_by_process,
    ) -> None:
        self._section = settings.canary
        self._agent_name = settings.worker.agent_name
        self._database = database
        self._alerts = alerts
        self._lease = lease
        self._call = call
        self._shown: set[str] = set()
        """The workers that have a gauge."""
        self._failing: set[str] = set()
        self._next = 0.0
        self._round: asyncio.Task[None] | None = None
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Call from now on."""
        self._running = tasks.spawn(self._keep_calling(), "canary")

    async def aclose(self) -> None:
        """Call no more; another process may."""
        await tasks.end(self._running, self._round)
        self._hide()
        await self._lease.aclose()

    async def round(self) -> dict[str, Outcome]:
        """Try every worker once, and do what follows: how it went for each."""
        rows = await self._rows()
        there = [] if self._section.number else [row.id for row in to_try(rows)]
        # Where nobody is in dispatch, a caller would ring all the same.
        tried = there or [""]
        told = {worker: await self._try(worker) for worker in tried}
        self._show(told)
        outcomes = {worker: _outcome(one) for worker, one in told.items()}
        await self._order(outcomes)
        return outcomes

    async def _keep_calling(self) -> None:
        while True:
            if await self._lease.is_held():
                # With nobody left in dispatch, whom we took out does not wait for the next round.
                await self._order({})
                self._begin_if_due()
            else:
                await tasks.end(self._round)
                self._hide()
            await asyncio.sleep(BEAT)

    def _begin_if_due(self) -> None:
        if time.monotonic() >= self._next and (self._round is None or self._round.done()):
            self._next = time.monotonic() + 60 * self._section.every
            self._round = tasks.spawn(self._guarded_round(), "canary-round")

    async def _guarded_round(self) -> None:
        try:
            await self.round()
        except Exception:
            # The boundary of a round: the next one may find things in order.
            logger.exception("a round of canary calls broke off")

    async def _rows(self) -> list[WorkerRow]:
        """The workers of our agent; none while the database is away."""
        try:
            rows = await self._database.run(lambda db: Workers(db.engine).seen(SEEN))
        except StoreError as error:
            logger.debug("workers cannot be listed", error=str(error))
            return []
        return [row for row in rows if row.agent_name == self._agent_name]

    async def _try(self, worker: str) -> Told:
        """The last of so many calls as may fail before that counts."""
        told: Told = {}
        for _ in range(self._section.attempts):
            told = await self._call(worker)
            well = told.get("well", False)
            logger.info("a canary call", asked=worker or ANY, well=well, why=told.get("why", ""))
            if well:
                break
        return told

    def _show(self, told: Mapping[str, Told]) -> None:
        """Metrics and alerts of a round."""
        there = {worker or ANY: one for worker, one in told.items()}
        for name in self._shown - there.keys():
            metrics.CANARY_UP.remove(name)
        self._shown = set(there)
        for name, one in there.items():
            metrics.CANARY_UP.labels(name).set(bool(one.get("well")))
        _show_accuracy(list(there.values()))
        for name in self._failing - there.keys():
            self._over(name, "the worker is gone")
        for name, one in there.items():
            if one.get("well"):
                self._over(name, "")
            else:
                self._failing.add(name)
                self._alerts.tell(
                    "CanaryFailed",
                    "a synthetic call was not answered as it should be",
                    "critical",
                    name,
                    why=one.get("why", ""),
                )

    def _over(self, name: str, why: str) -> None:
        if name in self._failing:
            self._failing.discard(name)
            what = (
                "synthetic calls are answered again" if not why else "no synthetic calls any more"
            )
            self._alerts.tell("CanaryFailed", what, "info", name, why=why)

    async def _order(self, outcomes: Mapping[str, Outcome]) -> None:
        if not self._section.drain or self._section.number:
            return
        wanted = orders(await self._rows(), outcomes)
        for worker in wanted.rest:
            await self._want(worker, Wanted.REST)
            self._alerts.tell(
                "WorkerOutOfDispatch",
                "a worker whose synthetic calls fail takes no more calls",
                "warning",
                worker,
            )
        for worker in wanted.back:
            await self._want(worker, Wanted.SERVE)
            self._alerts.tell("WorkerOutOfDispatch", "the worker takes calls again", "info", worker)

    async def _want(self, worker: str, wanted: Wanted) -> None:
        what = "worker.back" if wanted is Wanted.SERVE else "worker.drain"

        def work(db: CallLog) -> None:
            db.audit(WHO, what, f"{worker} {wanted.value}".strip(), SOURCE)
            Workers(db.engine).want(worker, wanted, WHO)

        try:
            await self._database.run(work)
        except StoreError as error:
            logger.warning("a worker could not be told", worker=worker, error=str(error))

    def _hide(self) -> None:
        """Another process tells now."""
        for name in self._shown:
            metrics.CANARY_UP.remove(name)
        metrics.CANARY_ACCURACY.clear()
        self._shown, self._failing = set(), set()


def _outcome(told: Told) -> Outcome:
    if "well" not in told:
        return Outcome.NOT_PLACED
    return Outcome.WELL if told["well"] else Outcome.FAILED


def _show_accuracy(told: Sequence[Told]) -> None:
    """The mean of a round, for the persona that was called; what is not known stays as it was."""
    known = [one for one in told if one.get("word_accuracy") is not None]
    if known:
        mean = sum(one["word_accuracy"] for one in known) / len(known)
        metrics.CANARY_ACCURACY.labels(known[0]["persona"]).set(mean)
