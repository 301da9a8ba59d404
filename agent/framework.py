"""Every private name of LiveKit Agents that we use, in one place, with a contract test.

Written against livekit-agents 1.8.9 (pinned).
"""

from __future__ import annotations

import inspect
import json
import logging
import sys
import warnings
from collections.abc import Callable
from multiprocessing.util import Finalize
from typing import Any

import aiohttp
from livekit import rtc
from livekit.agents import AgentServer, APIConnectOptions, cli, llm, stt, tts, utils
from livekit.agents.cli.log import JsonFormatter, setup_logging
from livekit.agents.ipc.log_queue import LogQueueHandler
from livekit.agents.job import JobAcceptArguments, RunningJobInfo
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS
from livekit.agents.voice.transcription._speaking_rate import SpeakingRateDetector
from livekit.protocol.agent import Job
from livekit.rtc import _ffi_client as ffi

from agent.errors import ConnectionLost
from config.settings import default_environment, set_environment

PACE_STEP = 0.5
"""Seconds between two looks at the pace of the agent's speech."""


class Server(AgentServer):
    """The framework's worker, with its connection to LiveKit in our hands.

    The framework would give up after two minutes, and reconnect without a pause where the server
    accepts and closes at once.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(max_retry=0, **options)

    @property
    def jobs(self) -> set[str]:
        """The ids of the jobs that run: none as long as the worker is being opened."""
        is_open = hasattr(self, "_proc_pool")  # `active_jobs` fails before the pool is made
        return {info.job.id for info in self.active_jobs} if is_open else set()

    def hold_idle_processes(self, held: bool) -> None:  # noqa: FBT001 - a state
        """Make no idle processes for a while, or again as many as configured.

        Each takes half a second of the processor: not while others are being answered. A job that
        finds none is given one all the same.
        """
        if hasattr(self, "_proc_pool"):
            self._proc_pool.set_target_idle_processes(0 if held else sys.maxsize)

    async def simulate(self, job: Job) -> None:
        """Run `job` without a LiveKit server, by the id that it was admitted with.

        The framework's `simulate_job` would give it another one.
        """
        arguments = JobAcceptArguments(name="", identity=f"agent-{job.id}", metadata="")
        await self._proc_pool.launch_job(
            RunningJobInfo(
                worker_id=self.id,
                accept_arguments=arguments,
                job=job,
                url=self._ws_url,
                token="",
                fake_job=True,
            )
        )

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


class Judge(llm.LLM[None]):
    """What AMD, the detector of answering machines, takes for a language model.

    It is asked with a tool that takes a `label`, and calls it with what `judge` makes of the words
    that were heard so far.
    """

    def __init__(self, judge: Callable[[str], str]) -> None:
        super().__init__()
        self.judge = judge

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        **_: Any,
    ) -> llm.LLMStream:
        """Judge the last message."""
        return _Judgement(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class _Judgement(llm.LLMStream):
    _llm: Judge

    async def _run(self) -> None:
        heard = self._chat_ctx.messages()[-1].text_content or ""
        save, *_ = llm.ToolContext(self._tools).function_tools
        call = llm.FunctionToolCall(
            name=save,
            arguments=json.dumps({"label": self._llm.judge(heard)}),
            call_id=utils.shortuuid("call_"),
        )
        delta = llm.ChoiceDelta(role="assistant", tool_calls=[call])
        self._event_ch.send_nowait(llm.ChatChunk(id=utils.shortuuid("amd_"), delta=delta))


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


def write_lines(lines: logging.Formatter) -> None:
    """Have `lines` write what the framework would write as JSON in a form of its own.

    It concerns its own records, ours and those of job processes: all pass through its formatter.
    """

    def format_line(self: JsonFormatter, record: logging.LogRecord) -> str:  # noqa: ARG001 - its
        return lines.format(record)

    JsonFormatter.format = format_line  # type: ignore[method-assign]


def trace_content(*, allowed: bool) -> None:
    """Whether OpenTelemetry spans may carry what people said; else the framework strips them.

    To be called before the worker starts: job processes inherit it. An exporter is whatever the
    operator's OpenTelemetry set-up brings; the framework would give it everything by default.
    """
    set_environment("LIVEKIT_TELEMETRY_ALLOW_PII", "1" if allowed else "0")


def make_lean() -> None:
    """Settle how much memory and time job processes take. To be called before the worker starts.

    The native runtime logs nothing unless RUST_LOG is set: its errors quote whole messages, with
    the words of the caller and the password of the TURN server in them.
    Without the weights of the framework's turn detector (we bring our own) the forkserver is
    244 MB smaller. One malloc arena, and large blocks that go back to the system at once, spare
    each job process 2 MB. An event loop that blocks is told of from 250 ms on: for the 100 ms of
    the framework a thread of its own would look at the loop fifty times a second in each process.
    """
    default_environment("LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE", "0")
    default_environment("LIVEKIT_AGENTS_LOOP_BLOCK_WARN_MS", "250")
    default_environment("RUST_LOG", "off")
    default_environment("MALLOC_ARENA_MAX", "1")
    default_environment("MALLOC_MMAP_THRESHOLD_", "131072")
    default_environment("MALLOC_TRIM_THRESHOLD_", "131072")


def pace_transcripts_lightly() -> None:
    """Measure the pace of what the agent says twice a second, not ten times: for job processes.

    The framework's synchronizer needs the pace to know which words were heard when a reply is cut.
    A greeting from the cache is measured all at once, before its first sample is sent: at ten
    times a second that took a third of a second of the event loop, in every call of a burst.
    """
    defaults = SpeakingRateDetector.__init__.__kwdefaults__
    assert defaults is not None
    defaults["step_size"] = PACE_STEP


def start_native_runtime() -> None:
    """Start the SDK's native runtime, with its logs left to itself: in a job process, before a job.

    The SDK would have every line that WebRTC logs, at any level, handed to Python one by one, which
    drops nearly all of them: more than half of what a call costs until its greeting. Left to itself
    the runtime writes to standard error what the variable RUST_LOG asks for: see `make_lean`.
    """
    library = ffi.FfiClient.instance._ffi_lib  # noqa: SLF001 - the SDK has no option for it
    version = rtc.__version__.encode("ascii")
    library.livekit_ffi_initialize(ffi.ffi_event_callback, False, b"python", version)


def let_process_end() -> None:
    """Let this job process end with its main thread, however that ends: to be called in prewarm.

    When the worker dies, the main thread ends with an error, and the framework leaves the thread
    behind its log handler running: the process would wait for that for good.
    """
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogQueueHandler):
            Finalize(None, handler.close, exitpriority=0)


def prepare_simulated_rooms() -> None:
    """Make the stand-in for a room once, in the forkserver: it costs 100 ms and 7 MB."""
    from livekit.agents.ipc.mock_room import create_mock_room  # noqa: PLC0415 - imports unittest

    create_mock_room()


async def close_recogniser(recogniser: stt.STT[Any]) -> None:
    """Close a recogniser with its connections; OpenAI's plugin leaves those of its client open."""
    await recogniser.aclose()
    wrapped = recogniser.wrapped_stt if isinstance(recogniser, stt.StreamAdapter) else recogniser
    if client := getattr(wrapped, "_client", None):
        await client.close()


def own_client(plugin: llm.LLM[Any] | tts.TTS[Any]) -> None:
    """Have OpenAI's plugin close the client that we made for it, as it does with one of its own."""
    assert hasattr(plugin, "_owns_client")
    plugin._owns_client = True  # noqa: SLF001 - its plugins close no client that was given to them


def http_port(server: AgentServer) -> int:
    """The port that the framework's HTTP server listens on, once the worker has started."""
    http = server._http_server  # noqa: SLF001 - not told in public
    assert http is not None
    return http.port
