"""The call record in a database. Only `agent.worker` and `ops` reach in here; jobs send events."""

from agent.store import (
    access_tables,
    notice_tables,
    recording_tables,
    room_tables,
    worker_tables,
)
from agent.store.call_log import CallLog

TABLES = (access_tables, notice_tables, recording_tables, room_tables, worker_tables)
"""Beside the call record: imported so that one metadata knows every table."""

__all__ = ["CallLog"]
