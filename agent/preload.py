"""What job processes inherit: imported once in the forkserver, shared copy-on-write by all calls.

First use of a provider's client stalls the audio loop for some 200 ms and costs 50 MB a process;
here it is done before there is a call. Nothing here may start a thread or an event loop.
"""

from __future__ import annotations

import os
import signal

import livekit.agents.llm.async_toolset  # the next three: imported by the first audio
import livekit.local_inference
import numpy.fft
import numpy.random  # noqa: F401
import openai.resources  # noqa: F401 - the client imports it on first use
from livekit.agents import JobExecutorType, JobProcess, tokenize

from agent import log, speech
from agent.job import House

logger = log.get(__name__)

livekit.local_inference.init_vad()
tokenize.basic.hyphenate_word("preload")  # its patterns: 30 ms, needed by the first words said
speech.preload()

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
    proc.userdata["house"] = house
    proc.userdata["vad"] = speech.hearing(house.settings)
    speech.warm(house.settings, house.personas.values())
    if not was_inherited():
        logger.warning("this job process did not inherit the preload", action="more memory a call")
