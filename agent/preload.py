"""What job processes inherit: imported once in the forkserver, shared copy-on-write by all calls.

First use of a provider's client stalls the audio loop for some 200 ms and costs 50 MB a process;
here it is done before there is a call. Nothing here may start a thread or an event loop.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import livekit.agents.llm.async_toolset  # the next three: imported by the first audio
import livekit.local_inference
import numpy.fft
import numpy.random  # noqa: F401
import openai.resources  # noqa: F401 - the client imports it on first use
from livekit.agents import JobExecutorType, JobProcess, llm, tokenize, vad

from agent import framework, log, speech, traces
from agent.job import House
from agent.livekit import LiveKit

T = TypeVar("T")
logger = log.get(__name__)

BEHIND = 10
"""Niceness of what is made for the next call while others are being answered: that much more."""
NICEST = 19

livekit.local_inference.init_vad()
tokenize.basic.hyphenate_word("preload")  # its patterns: 30 ms, needed by the first words said
llm.ChatMessage.model_rebuild()  # pydantic would on first use: 14 ms, of the instructions
speech.preload()
framework.pace_transcripts_lightly()

PROCESS = os.getpid()
"""The process that imported this module: in a job process that inherited it, not its own."""


def was_inherited() -> bool:
    """Whether this process inherited the imports from the forkserver."""
    return os.getpid() != PROCESS


def prewarm(house: House, proc: JobProcess) -> None:
    """Make what a call needs before there is one: the framework's setup of a job process."""
    if proc.executor_type is JobExecutorType.PROCESS:
        # A SIGTERM to the whole group (systemd, a terminal) must not end calls: the worker drains.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        framework.let_process_end()
    # Not behind calls: its threads would keep the lower priority for the call.
    framework.start_native_runtime()
    traces.start(
        house.settings.traces,
        content=house.settings.security.traces_with_content,
        service=house.settings.worker.agent_name,
        worker_id=house.worker_id,
    )
    proc.userdata["house"] = house
    proc.userdata["livekit"] = LiveKit.of(
        house.settings.livekit, house.ring.credentials, house.retries
    )
    proc.userdata["vad"] = _behind_calls(lambda: _make(house))
    if not was_inherited():
        logger.warning("this job process did not inherit the preload", action="more memory a call")


def _make(house: House) -> vad.VAD:
    speech.warm(house.settings, house.personas.values())
    return speech.hearing(house.settings)


def _behind_calls(work: Callable[[], T]) -> T:
    """Do it at a lower priority: a burst of calls takes as many processes as are made anew.

    On Linux a thread has a niceness of its own, and nobody needs rights to end a thread: the
    process that answers a call later has its full priority.
    """
    if sys.platform != "linux":
        return work()

    def behind() -> T:
        thread = threading.get_native_id()
        niceness = os.getpriority(os.PRIO_PROCESS, thread) + BEHIND
        os.setpriority(os.PRIO_PROCESS, thread, min(niceness, NICEST))
        return work()

    with ThreadPoolExecutor(1, "prewarm") as one:
        return one.submit(behind).result()
