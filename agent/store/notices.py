"""Messages to people in the database: each told once, kept until a channel has taken it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Engine, and_, delete, func, insert, or_, select, update
from sqlalchemy.orm import aliased

from agent.store import engine as database
from agent.store import writes
from agent.store.notice_tables import notice_topics, notices
from agent.store.projection import storable
from agent.store.silences import covering_in

RESOLVED = "resolved"
SENT, GIVEN_UP, OVER = "sent", "given_up", "over"
"""What became of a message; `over`: what it was to tell had ended before it could be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message for one channel."""

    id: str
    topic: str
    channel: str
    body: Mapping[str, Any] = field(repr=False)
    made_at: datetime
    """Since when it may be sent."""
    attempts: int
    """How often it was tried, this time included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An alert that somebody is to be told of."""

    topic: str
    """What it is about: the same for its end. 64 characters at most."""
    state: str
    """Its severity, or RESOLVED."""
    name: str
    subject: str
    body: Mapping[str, Any]
    channels: Sequence[str] = ()
    """Who is told. The end is told to those who were told of the beginning."""
    done: Collection[str] = ()
    """Channels that have it already."""


@dataclass(frozen=True, slots=True)
class Notices:
    """The messages of one database. Every method may raise StoreUnavailable."""

    engine: Engine

    def tell(self, wanted: Wanted, at: datetime, again_after: float) -> list[str]:
        """Keep the messages of an alert: the channels they are for, none if it was told before.

        The same state is told again after so many seconds. What a silence covers waits for its
        end, and is never told where the alert is over by then.
        """

        def work(connection: Connection) -> list[str]:
            if not _is_news(connection, wanted, at, again_after):
                return []
            if wanted.state == RESOLVED:
                _unsend_silenced(connection, wanted.topic, at)
                channels = _told_of_it(connection, wanted.topic)
                silence = None
            else:
                channels = set(wanted.channels)
                silence = covering_in(connection, wanted.name, wanted.subject, at)
            rows = [
                _row(wanted.topic, channel, wanted.body, silence.until if silence else at)
                | {"silence": silence.id if silence else ""}
                | ({"done_at": at, "outcome": SENT} if channel in wanted.done else {})
                for channel in sorted(channels)
            ]
            add(connection, wanted.topic, rows)
            return sorted(channels)

        return database.write(self.engine, work)

    def is_known(self, topic: str, state: str, at: datetime, again_after: float) -> bool:
        """Whether `tell` would tell nobody of this state: it was told within these seconds."""
        table = notice_topics
        known = select(table.c.topic).where(
            table.c.topic == topic,
            table.c.state == state,
            table.c.told_at > at - timedelta(seconds=again_after),
        )
        return database.read(self.engine, lambda db: db.execute(known).first()) is not None

    def claim(
        self, who: str, channels: Collection[str], at: datetime, seconds: float
    ) -> list[Notice]:
        """Take the oldest due message of each channel for so many seconds.

        Nobody else is given them until then. A message waits for those before it of its topic.
        """
        older = aliased(notices)
        blocked = (
            select(older.c.id)
            .where(
                older.c.topic == notices.c.topic,
                older.c.channel == notices.c.channel,
                older.c.seq < notices.c.seq,
                older.c.done_at.is_(None),
            )
            .exists()
        )
        due = and_(
            notices.c.done_at.is_(None),
            notices.c.due_at <= at,
            ~blocked,
        )
        oldest = select(notices).where(due).order_by(notices.c.made_at, notices.c.seq).limit(1)

        def look(connection: Connection) -> list[Notice]:
            found = [
                connection.execute(oldest.where(notices.c.channel == name)).mappings().first()
                for name in channels
            ]
            rows = [row for row in found if row is not None]
            rows.sort(key=lambda row: (row["made_at"], row["seq"]))
            return [_notice(row) for row in rows]

        first = database.read(self.engine, look)
        if not first:
            return []  # without a write lock: most looks find nothing

        def work(connection: Connection) -> list[Notice]:
            return [one for one in first if _take(connection, one.id, who, at, seconds)]

        return database.write(self.engine, work)

    def done(self, notice_id: str, at: datetime, outcome: str, error: str = "") -> None:
        """Send it no more."""
        own = and_(notices.c.id == notice_id, notices.c.done_at.is_(None))
        values = {"done_at": at, "outcome": outcome, "error": storable(error)}
        self._update(own, values)

    def put_back(self, who: str, notice_id: str, due_at: datetime, error: str) -> None:
        """Try it again then, unless somebody else has it."""
        own = and_(
            notices.c.id == notice_id, notices.c.claimed_by == who, notices.c.done_at.is_(None)
        )
        self._update(own, {"due_at": due_at, "claimed_by": "", "error": storable(error)})

    def give_up_unknown(self, channels: Collection[str], before: datetime, at: datetime) -> int:
        """Give up what waits since then for channels that are not among these; how many."""
        lost = and_(
            notices.c.done_at.is_(None),
            notices.c.made_at < before,
            notices.c.channel.not_in(list(channels)),
        )
        return self._update(lost, {"done_at": at, "outcome": GIVEN_UP, "error": "no such channel"})

    def forget(self, before: datetime) -> int:
        """Remove what was done before then; how many."""
        statement = delete(notices).where(notices.c.done_at < before)
        return database.write(self.engine, lambda db: db.execute(statement).rowcount)

    def counts(self) -> dict[str, int]:
        """How many messages there are by outcome; "" are those that wait."""
        statement = select(notices.c.outcome, func.count()).group_by(notices.c.outcome)
        rows = database.read(self.engine, lambda db: db.execute(statement).all())
        return {outcome: count for outcome, count in rows}  # noqa: C416  rows are no pairs to mypy

    def _update(self, where: Any, values: dict[str, Any]) -> int:
        statement = update(notices).where(where).values(values)
        return database.write(self.engine, lambda db: db.execute(statement).rowcount)


def add(connection: Connection, topic: str, rows: Sequence[dict[str, Any]]) -> None:
    """Put rows behind those of their topic, whose row or incident the transaction has locked."""
    if not rows:
        return
    last = connection.scalar(select(func.max(notices.c.seq)).where(notices.c.topic == topic))
    filled = {"silence": "", "done_at": None, "outcome": ""}
    connection.execute(insert(notices), [{**filled, **row, "seq": (last or 0) + 1} for row in rows])


def rows_for(
    topic: str, channels: Collection[str], body: Mapping[str, Any], at: datetime
) -> list[dict[str, Any]]:
    """The rows of one message for these channels, as `add` takes them."""
    return [_row(topic, channel, body, at) for channel in sorted(set(channels))]


def _is_news(connection: Connection, wanted: Wanted, at: datetime, again_after: float) -> bool:
    """Set what was told last of the topic; whether we are the one to tell."""
    table = notice_topics
    values = {"state": wanted.state, "told_at": at}
    if wanted.state == RESOLVED:
        open_ = and_(table.c.topic == wanted.topic, table.c.state != RESOLVED)
        return connection.execute(update(table).where(open_).values(values)).rowcount > 0
    old = table.c.told_at <= at - timedelta(seconds=again_after)
    statement = (
        writes.insert_into(connection, table)
        .values({"topic": wanted.topic, **values})
        .on_conflict_do_update(
            index_elements=[table.c.topic],
            set_=values,
            where=or_(table.c.state != wanted.state, old),
        )
    )
    keep = {"preserve_rowcount": True}  # SQLAlchemy forgets it for an INSERT
    return connection.execute(statement, execution_options=keep).rowcount > 0


def _told_of_it(connection: Connection, topic: str) -> set[str]:
    """The channels that were told, or are to be, since it was over the last time."""
    statement = select(notices.c.channel, notices.c.body).where(
        notices.c.topic == topic, notices.c.outcome.not_in([OVER, GIVEN_UP])
    )
    told: set[str] = set()
    ended: set[str] = set()
    for channel, body in connection.execute(statement.order_by(notices.c.seq.desc())):
        if body.get("state") == RESOLVED:
            ended.add(channel)
        elif channel not in ended:
            told.add(channel)
    return told


def _unsend_silenced(connection: Connection, topic: str, at: datetime) -> None:
    """Drop what a silence still holds back: it is over."""
    held = and_(
        notices.c.topic == topic,
        notices.c.done_at.is_(None),
        notices.c.silence != "",
        notices.c.due_at > at,
        notices.c.attempts == 0,
    )
    connection.execute(update(notices).where(held).values(done_at=at, outcome=OVER))


def _take(connection: Connection, notice_id: str, who: str, at: datetime, seconds: float) -> bool:
    own = and_(notices.c.id == notice_id, notices.c.done_at.is_(None), notices.c.due_at <= at)
    values = {
        "claimed_by": who,
        "due_at": at + timedelta(seconds=seconds),
        "attempts": notices.c.attempts + 1,
    }
    return connection.execute(update(notices).where(own).values(values)).rowcount > 0


def _row(topic: str, channel: str, body: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    return {
        "id": uuid4().hex,
        "topic": topic,
        "channel": storable(channel),
        "body": storable(dict(body)),
        "made_at": at,
        "due_at": at,
    }


def _notice(row: Mapping[Any, Any]) -> Notice:
    names = ("id", "topic", "channel", "body", "made_at")
    return Notice(**{name: row[name] for name in names}, attempts=row["attempts"] + 1)
