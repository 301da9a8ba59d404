"""Every private name of LiveKit Agents that we use, in one place, with a contract test.

Written against livekit-agents 1.8.9 (pinned).
"""

from __future__ import annotations

import inspect
import logging
import warnings
from typing import Any

import aiohttp
from livekit.agents import AgentServer, cli
from livekit.agents.cli.log import setup_logging

from agent.errors import ConnectionLost
from config.settings import default_environment, set_environment


class Server(AgentServer):
    """The framework's worker, with its connection to LiveKit in our hands.

    The framework would give up after two minutes, and reconnect without a pause where the server
    accepts and closes at once.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(max_retry=0, **options)

    async def stay_connected(self) -> None:
        """Be registered until the worker is closed; what it raises ends `run`. To be overridden."""
        await self.connect_once()

    async def connect_once(self) -> None:
        """Connect, register and serve; returns when the worker is closed.

        Raises ConnectionLost when there is no connection or no longer one.
        """
        connect = inspect.unwrap(AgentServer._connection_task)  # noqa: SLF001 - no public hook; the wrapper would log a traceback for each attempt
        try:
            await connect(self)
        except RuntimeError as error:
            self._connection_failed = False  # else the framework's own health check fails for good
            cause = error.__context__ or error
            status = cause.status if isinstance(cause, aiohttp.WSServerHandshakeError) else 0
            why = str(cause) or type(cause).__name__
            raise ConnectionLost(why, status) from cause

    async def _connection_task(self) -> None:
        await self.stay_connected()


def run_cli(server: AgentServer) -> None:
    """Run the framework's own commands on `sys.argv`. Raises SystemExit when they are done.

    The Python CLI is deprecated in favour of another program; that one warning is filtered.
    """
    warnings.filterwarnings("ignore", "the built-in Python CLI is deprecated", DeprecationWarning)
    logging.getLogger("livekit.agents").addFilter(_is_no_advice)
    cli.run_app(server)


def _is_no_advice(record: logging.LogRecord) -> bool:
    """`dev` says in two warnings that another program does it too."""
    return not str(record.msg).startswith(("dev mode is deprecated", "in-process auto-reload"))


def log_as_json(level: str) -> None:
    """Write logs as `start` does: one JSON object a line on standard error."""
    setup_logging(level.upper(), devmode=False, console=False)


def trace_content(*, allowed: bool) -> None:
    """Whether OpenTelemetry spans may carry what people said; else the framework strips them.

    To be called before the worker starts: job processes inherit it. An exporter is whatever the
    operator's OpenTelemetry set-up brings; the framework would give it everything by default.
    """
    set_environment("LIVEKIT_TELEMETRY_ALLOW_PII", "1" if allowed else "0")


def make_lean() -> None:
    """Settle how much memory job processes take. To be called before the worker starts.

    Without the weights of the framework's turn detector (we bring our own) the forkserver is
    244 MB smaller. One malloc arena, and large blocks that go back to the system at once, spare
    each job process 2 MB.
    """
    default_environment("LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE", "0")
    default_environment("MALLOC_ARENA_MAX", "1")
    default_environment("MALLOC_MMAP_THRESHOLD_", "131072")
    default_environment("MALLOC_TRIM_THRESHOLD_", "131072")


def prepare_simulated_rooms() -> None:
    """Make the stand-in for a room once, in the forkserver: it costs 100 ms and 7 MB."""
    from livekit.agents.ipc.mock_room import create_mock_room  # noqa: PLC0415 - imports unittest

    create_mock_room()


def http_port(server: AgentServer) -> int:
    """The port that the framework's HTTP server listens on, once the worker has started."""
    http = server._http_server  # noqa: SLF001 - not told in public
    assert http is not None
    return http.port
