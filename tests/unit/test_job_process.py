"""A real job process of the framework, whose worker dies."""

from __future__ import annotations

import multiprocessing
import select
import socket

from livekit.agents.ipc.channel import send_message
from livekit.agents.ipc.job_proc_lazy_main import ProcStartArgs, proc_main
from livekit.agents.ipc.proto import InitializeRequest, PingRequest
from livekit.agents.utils.aio.duplex_unix import _Duplex

from agent import framework

ANSWERED = ENDED = 30.0
"""Seconds at most: an idle machine needs less than one."""


def prewarm(_process):
    framework.let_process_end()


async def answer(_ctx):
    raise AssertionError("there was no job")


def test_a_job_process_ends_when_its_worker_is_killed():
    worker, its = socket.socketpair()
    logs, its_logs = socket.socketpair()
    start = ProcStartArgs(
        initialize_process_fnc=prewarm,
        job_entrypoint_fnc=answer,
        session_end_fnc=None,
        session_end_timeout=1.0,
        user_arguments=None,
        mp_cch=its,
        log_cch=its_logs,
        logger_levels={},
    )
    process = multiprocessing.get_context("spawn").Process(target=proc_main, args=(start,))
    process.start()
    try:
        its.close()
        its_logs.close()
        channel = _Duplex.open(worker)
        send_message(channel, InitializeRequest())
        channel.recv_bytes()
        send_message(channel, PingRequest())
        channel.recv_bytes()  # its event loop runs
        send_message(channel, PingRequest())
        answered, _, _ = select.select([worker], [], [], ANSWERED)
        assert answered
        # What a killed worker has not read resets the connection: the process ends with an error.
        worker.close()
        logs.close()
        process.join(ENDED)
        assert process.exitcode is not None, "a process without a worker stays for good"
    finally:
        process.kill()
        process.join()
        process.close()
