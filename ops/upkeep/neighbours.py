"""What runs beside a command on this machine: a worker, a control plane, and the machine itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from http import HTTPStatus

import psutil

from config.sections import LOOPBACK
from config.settings import Settings
from ops.health import here
from ops.health.check import Result, Status
from ops.upkeep.sizes import disk, told

DISK, MEMORY, CPU = (80.0, 90.0), (80.0, 90.0), (70.0, 85.0)
"""Per cent in use that somebody should look at, and that are critical."""

SAMPLE = 0.3
"""Seconds over which the processors' load is measured."""


NAMES = ("serve", "worker")


async def results(settings: Settings, expected: Collection[str]) -> dict[str, Result]:
    """How a running `ops serve` and a running worker say they are.

    One of NAMES that is `expected` to run here is unhealthy when nobody answers.
    """
    found = await asyncio.gather(_serve(settings), _worker(settings))
    return {
        name: Result(Status.UNHEALTHY, None, f"{one.detail}, and it should")
        if name in expected and one.status is Status.NOT_CONFIGURED
        else one
        for name, one in zip(NAMES, found, strict=True)
    }


def machine(settings: Settings) -> dict[str, Result]:
    """Disk, memory and processors. Blocks for a moment."""
    memory = psutil.virtual_memory()
    free = f"{told(memory.available)} of {told(memory.total)} available"
    many = psutil.cpu_count() or 1
    # The lower of now and of the last five minutes: a moment's work is no finding.
    load = min(psutil.cpu_percent(interval=SAMPLE), psutil.getloadavg()[1] / many * 100)
    try:
        found = disk(settings.data.folder)
        room = _judged(found.used_percent, DISK, f"{told(found.free)} free")
    except OSError as error:
        room = Result(Status.UNHEALTHY, None, f"{settings.data.folder}: {error.strerror}")
    return {
        "disk": room,
        "memory": _judged(memory.percent, MEMORY, free),
        "cpu": _judged(load, CPU, f"{many} processors"),
    }


def connections(settings: Settings) -> dict[str, int]:
    """How many connections there are to each of our ports on this machine."""
    ports = {
        "ops serve": settings.serve.port,
        "the worker's endpoints": settings.worker.endpoints_port,
    }
    try:
        made = [
            one.laddr.port
            for one in psutil.net_connections("tcp")
            if one.status == psutil.CONN_ESTABLISHED and one.laddr
        ]
    except (psutil.Error, OSError):  # a system that shows them to nobody else
        return {}
    return {name: made.count(port) for name, port in ports.items() if port}


def _judged(percent: float, limits: tuple[float, float], detail: str) -> Result:
    much, critical = limits
    status = Status.HEALTHY
    if percent >= much:
        status = Status.UNHEALTHY if percent >= critical else Status.DEGRADED
    return Result(status, None, f"{percent:.0f} % in use, {detail}")


async def _serve(settings: Settings) -> Result:
    section = settings.serve
    if not section.port:
        return Result(Status.NOT_CONFIGURED, None, "serve.port is 0: nobody knows where it is")
    where = here.address(section.host, section.port)
    began = time.perf_counter()
    answer = await here.health(section)
    took = round((time.perf_counter() - began) * 1000, 1)
    if answer is None:
        return _nobody(where, section.host)
    try:
        status = Status(str(answer.body.get("status")))
    except ValueError:
        return Result(Status.UNHEALTHY, None, f"{where}: something else answers")
    code = "" if answer.status == HTTPStatus.OK else f" ({answer.status})"
    return Result(status, took, f"{where} answers{code}")


async def _worker(settings: Settings) -> Result:
    section = settings.worker
    if not section.endpoints_port:
        why = "worker.endpoints_port is 0: nobody knows where it is"
        return Result(Status.NOT_CONFIGURED, None, why)
    began = time.perf_counter()
    answer = await here.ready(section)
    where = here.address(section.endpoints_host, section.endpoints_port)
    if answer is None:
        return _nobody(where, section.endpoints_host)
    took = round((time.perf_counter() - began) * 1000, 1)
    lacking = [name for name, met in answer["checks"].items() if not met]
    if lacking:
        return Result(Status.DEGRADED, took, f"{where}: not {', not '.join(lacking)}")
    return Result(Status.HEALTHY, took, f"{where} is ready")


def _nobody(where: str, host: str) -> Result:
    """Nobody listens on this machine: it may run on another, unless the settings name one."""
    if here.ANYWHERE.get(host, host) in LOOPBACK:
        return Result(Status.NOT_CONFIGURED, None, f"none runs on this machine ({where})")
    return Result(Status.UNHEALTHY, None, f"{where}: no answer")
