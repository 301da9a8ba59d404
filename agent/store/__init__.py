"""The call record in a database. Only `agent.worker` and `ops` reach in here; jobs send events."""

from agent.store.call_log import CallLog

__all__ = ["CallLog"]
