"""Alerts become messages in the queue, and messages reach their channels: where no Alertmanager is.

Every process queues what it hears; one of them, by its lease, sends. A message is sent at least
once: who is killed between a channel's answer and the note of it leaves it to be sent again.
While the database is away, what is heard is sent at once, and queued when it is back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import uuid4

from agent import log, metrics, tasks
from agent.call import now
from agent.errors import EventRefused, StoreError
from agent.store.notices import GIVEN_UP, RESOLVED, SENT, Notice, Notices, Wanted
from config.incidents import Contacts, Notifications
from ops.front.alerts import Alert
from ops.front.database import Database
from ops.lease import Lease
from ops.notify.channels import Sender
from ops.notify.message import GROUPS, Message, of_alert, subject_of, topic_of

logger = log.get(__name__)

EVERY = 2.0
"""Seconds between two looks for messages that other processes have queued."""

MOST_WAITING = 1000
"""Alerts that are held in memory while the database is away; the oldest give way."""

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0
"""Seconds before a channel that failed is tried again: doubled each time, up to the longest."""

KEPT = timedelta(days=30)
"""For so long messages stay in the table after they were sent."""

LEAVING = 3.0
"""Seconds that a message under way has to end when the process ends."""

Clock = Callable[[], datetime]
OnAlert = Callable[[Alert], Awaitable[str]]
"""Told of each alert before its message is made; returns the incident's id, or "".

May raise StoreError: then it is told again later."""


@dataclass(slots=True)
class _Heard:
    """An alert that is not queued yet, and the channels that have it nevertheless."""

    alert: Alert
    done: set[str] = field(default_factory=set)

    @property
    def topic(self) -> str:
        return topic_of(self.alert.name, subject_of(self.alert))

    @property
    def is_end(self) -> bool:
        return self.alert.level == "info"


class Notifier:
    """Listens to `plane.alerts` (`hear`), and sends from `start` to `aclose`."""

    def __init__(
        self,
        database: Database,
        channels: Mapping[str, Sender],
        contacts: Contacts,
        section: Notifications,
        lease: Lease,
        on_alert: OnAlert | None = None,
        clock: Clock = now,
    ) -> None:
        self._database = database
        self._channels = channels
        self._contacts = contacts
        self._section = section
        self._lease = lease
        self._on_alert = on_alert
        self._clock = clock
        self._who = uuid4().hex
        self._heard: deque[_Heard] = deque()
        self._news = asyncio.Event()
        self._rest: dict[str, tuple[float, datetime]] = {}
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._working: asyncio.Task[None] | None = None
        self._forgot_at: datetime | None = None

    def hear(self, alert: Alert) -> None:
        """Take an alert: at once, and from the event loop."""
        heard = _Heard(alert)
        last = next((one for one in reversed(self._heard) if one.topic == heard.topic), None)
        if last is not None and last.alert.level == alert.level:
            return
        if len(self._heard) >= MOST_WAITING:
            self._heard.popleft()
        self._heard.append(heard)
        self._news.set()

    def start(self) -> None:
        """Send from now on."""
        if not self._channels:
            logger.info("nobody is told of alerts: no channels are configured")
        self._working = tasks.spawn(self._work(), "notifier")

    async def aclose(self) -> None:
        """Send no more; what is under way may end."""
        await tasks.end(self._working)
        if self._sending:
            await asyncio.wait(self._sending.values(), timeout=LEAVING)
        await tasks.end(*self._sending.values())

    async def take(self) -> None:
        """Queue what was heard. Raises StoreError; what was not queued is sent without it."""
        while self._heard:
            heard = self._heard[0]
            try:
                await self._queue(heard)
            except EventRefused as error:
                logger.error("an alert cannot be queued", alert=heard.alert.name, error=str(error))
            except StoreError:
                await self._send_unqueued()
                raise
            self._heard.popleft()

    async def send_due(self) -> None:
        """Begin to send what is due, a message a channel. Raises StoreError."""
        at = self._clock()
        free = [
            name
            for name in self._channels
            if name not in self._sending and (name not in self._rest or self._rest[name][1] <= at)
        ]
        if not free:
            return
        seconds = 2 * self._section.within + 10
        claimed = await self._database.run(
            lambda db: Notices(db.engine).claim(self._who, free, at, seconds)
        )
        for notice in claimed:
            name = notice.channel
            self._sending[name] = tasks.spawn(self._deliver(notice), f"notify-{name}")

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        while self._sending:
            await asyncio.wait(self._sending.values())

    async def _work(self) -> None:
        while True:
            self._news.clear()
            try:
                await self.take()
                if await self._lease.is_held():
                    await self.send_due()
                    await self._tidy()
            except StoreError as error:
                logger.debug("messages wait for the database", error=str(error))
            except Exception:
                # The boundary of a round: the next one may find things in order.
                logger.exception("messages are not sent")
            try:
                await asyncio.wait_for(self._news.wait(), EVERY)
            except TimeoutError:
                continue

    async def _queue(self, heard: _Heard) -> None:
        alert = heard.alert
        incident = await self._on_alert(alert) if self._on_alert else ""
        if not self._section.alerts:
            return
        message = of_alert(alert, incident)
        wanted = Wanted(
            topic=heard.topic,
            state=RESOLVED if heard.is_end else alert.level,
            name=alert.name,
            subject=subject_of(alert),
            body=message.body(),
            channels=self._contacts.group(GROUPS[alert.level]),
            done=heard.done,
        )
        at, again_after = self._clock(), self._section.again_after
        await self._database.run(lambda db: Notices(db.engine).tell(wanted, at, again_after))

    async def _deliver(self, notice: Notice) -> None:
        try:
            reason = await self._send(notice.channel, Message.of(notice.body))
            await self._settle(notice, reason)
        except StoreError as error:
            # It is sent again when the claim ends: twice is better than never.
            logger.debug("what became of a message is not noted", error=str(error))
        finally:
            self._sending.pop(notice.channel, None)
            self._news.set()

    async def _settle(self, notice: Notice, reason: str) -> None:
        at = self._clock()
        if not reason:
            await self._done(notice, at, SENT)
        elif (at - notice.made_at).total_seconds() >= self._section.give_up_after:
            metrics.NOTIFICATIONS.labels(GIVEN_UP).inc()
            logger.warning(
                "a message is given up",
                channel=notice.channel,
                subject=notice.body.get("name", ""),
                attempts=notice.attempts,
                why=reason,
            )
            await self._done(notice, at, GIVEN_UP, reason)
        else:
            due_at = self._rest[notice.channel][1]
            await self._database.run(
                lambda db: Notices(db.engine).put_back(self._who, notice.id, due_at, reason)
            )

    async def _done(self, notice: Notice, at: datetime, outcome: str, reason: str = "") -> None:
        await self._database.run(lambda db: Notices(db.engine).done(notice.id, at, outcome, reason))

    async def _send(self, name: str, message: Message) -> str:
        """Send now; the reason why not. A channel that fails rests for a while."""
        reason = await self._channels[name].send(message)
        if not reason:
            metrics.NOTIFICATIONS.labels(SENT).inc()
            if self._rest.pop(name, None):
                logger.info("a channel works again", channel=name)
            return ""
        metrics.NOTIFICATIONS.labels("failed").inc()
        before = self._rest.get(name)
        pause = min(2 * before[0], LONGEST_PAUSE) if before else FIRST_PAUSE
        self._rest[name] = pause, self._clock() + timedelta(seconds=pause)
        write = logger.debug if before else logger.warning
        write("a message is not taken", channel=name, why=reason, again_in=pause)
        return reason

    async def _send_unqueued(self) -> None:
        """Tell what was heard though no database keeps it: the end only to who has the beginning.

        Several processes may each do so: better twice than not at all.
        """
        if self._section.alerts:
            await asyncio.gather(*(self._send_unqueued_to(name) for name in self._channels))

    async def _send_unqueued_to(self, channel: str) -> None:
        begun: dict[str, bool] = {}
        for heard in list(self._heard):
            if channel in self._rest and self._rest[channel][1] > self._clock():
                return
            in_group = channel in self._contacts.group(GROUPS[heard.alert.level])
            is_wanted = begun.get(heard.topic, False) if heard.is_end else in_group
            if not is_wanted:
                continue
            if channel not in heard.done and not await self._send(channel, of_alert(heard.alert)):
                heard.done.add(channel)
            begun[heard.topic] = channel in heard.done and not heard.is_end

    async def _tidy(self) -> None:
        """Once an hour: what nobody will ever send, and what was sent long ago."""
        at = self._clock()
        if self._forgot_at is not None and at - self._forgot_at < timedelta(hours=1):
            return
        self._forgot_at = at
        names, before = list(self._channels), at - timedelta(seconds=self._section.give_up_after)
        lost = await self._database.run(
            lambda db: Notices(db.engine).give_up_unknown(names, before, at)
        )
        if lost:
            logger.warning("messages for channels that are gone are given up", count=lost)
        await self._database.run(lambda db: Notices(db.engine).forget(at - KEPT))
