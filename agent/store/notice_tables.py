"""The tables of messages to people, silences, and incidents with their timelines."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table, Text

from agent.store.tables import Json, UtcDateTime, metadata

notice_topics = Table(
    "notice_topics",
    metadata,
    Column("topic", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("told_at", UtcDateTime, nullable=False),
)
"""What was told last of each alert and subject: whoever sets a row is the one who tells."""

notices = Table(
    "notices",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("topic", String(64), nullable=False),
    Column("channel", Text, nullable=False),
    Column("body", Json, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("seq", Integer, nullable=False, server_default="0"),
    Column("silence", String(16), nullable=False, server_default=""),
    Column("claimed_by", String(32), nullable=False, server_default=""),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("error", Text, nullable=False, server_default=""),
    Column("done_at", UtcDateTime),
    Column("outcome", String(16), nullable=False, server_default=""),
)
"""Messages, one row for each channel. `due_at` is also the end of a claim, and of a silence.

Within a topic and a channel `seq` is their order.
"""
Index(
    "notices_waiting",
    notices.c.due_at,
    sqlite_where=notices.c.done_at.is_(None),
    postgresql_where=notices.c.done_at.is_(None),
)
Index("notices_by_topic", notices.c.topic, notices.c.channel)

silences = Table(
    "silences",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", Text, nullable=False),
    Column("subject", Text, nullable=False, server_default=""),
    Column("comment", Text, nullable=False, server_default=""),
    Column("made_by", Text, nullable=False, server_default=""),
    Column("made_at", UtcDateTime, nullable=False),
    Column("until", UtcDateTime, nullable=False),
)
Index("silences_by_end", silences.c.until)

incidents = Table(
    "incidents",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("open_key", String(64), unique=True),
    Column("level", String(4), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("what", Text, nullable=False),
    Column("alert", Text, nullable=False, server_default=""),
    Column("subject", Text, nullable=False, server_default=""),
    Column("opened_by", Text, nullable=False, server_default=""),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("climbs_from", UtcDateTime, nullable=False),
    Column("step", Integer, nullable=False, server_default="0"),
    Column("over_at", UtcDateTime),
    Column("acknowledged_at", UtcDateTime),
    Column("acknowledged_by", Text, nullable=False, server_default=""),
    Column("closed_at", UtcDateTime),
    Column("closed_by", Text, nullable=False, server_default=""),
)
"""`open_key` is that of an alert and its subject while the incident is open: one at a time.

`over_at` is when the alert ended: nobody is called any more, and a person closes the incident.
"""
Index("incidents_by_time", incidents.c.opened_at)
Index(
    "incidents_open",
    incidents.c.opened_at,
    sqlite_where=incidents.c.closed_at.is_(None),
    postgresql_where=incidents.c.closed_at.is_(None),
)

incident_timeline = Table(
    "incident_timeline",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("incident", String(16), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("who", Text, nullable=False, server_default=""),
    Column("event", String(16), nullable=False),
    Column("text", Text, nullable=False, server_default=""),
    Column("once", String(64), unique=True),
)
"""Append only: the database itself refuses to change a row. `once`: what may happen once."""
Index("incident_timeline_by_incident", incident_timeline.c.incident, incident_timeline.c.id)
