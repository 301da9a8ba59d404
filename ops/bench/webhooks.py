"""`python -m ops bench webhooks`: events a second that are acknowledged, and survive SIGKILL.

The load is wrk (https://github.com/wg/wrk) with `webhooks.lua`; the server is a process of its own,
killed in the middle of the load. Then each event that was acknowledged must be in the database or
in the spool.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from agent.errors import StartError
from agent.store import CallLog
from agent.store.webhooks import WebhookEvents
from ops.bench import standins

LEAST = 300.0
"""Events a second that must be acknowledged."""

PREPARED = 4000
"""Signed events for each second, at most: more than can be taken."""

CONNECTIONS = 32
LOAD_GOES_ON = 2
"""Seconds for which wrk still sends when the server is gone."""

KNOWN = ("sqlite", "postgresql")
SCRIPT = Path(__file__).with_suffix(".lua")
UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def measure(databases: Sequence[str], seconds: int) -> dict[str, dict[str, Any]]:
    """The figures of each database, of `sqlite` and `postgresql`. Raises StartError."""
    if not shutil.which("wrk"):
        raise StartError("wrk not found on PATH (package wrk): it makes the load")
    told = {}
    for name in databases:
        if name not in KNOWN:
            raise StartError(f"--databases {name!r}: use {', '.join(KNOWN)}")
        with tempfile.TemporaryDirectory(prefix="voice-ai-bench-") as folder:
            told[name] = {"database": name, **_measure(Path(folder), name, seconds)}
    return told


def is_missed(figures: Mapping[str, Any]) -> bool:
    """Whether it was too slow, or an event was refused or lost."""
    return bool(figures["lost"] or figures["refused"] or figures["a_second"] < LEAST)


def _measure(folder: Path, name: str, seconds: int) -> dict[str, Any]:
    with _database(folder, name) as url:
        requests, sent = folder / "requests.tsv", folder / "acknowledged"
        _prepare(requests, PREPARED * seconds)
        figures = asyncio.run(_load(folder, url, requests, sent, seconds))
        lines = sent.read_text().splitlines()
        acknowledged = {line for line in lines if not line.startswith("status ")}
        known, spooled = _known(url), _spooled(folder)
        return {
            "a_second": round(len(acknowledged) / figures.pop("took")),
            "acknowledged": len(acknowledged),
            **figures,
            "refused": len(lines) - len(acknowledged),
            "lost": len(acknowledged - known - spooled),
        }


@contextlib.contextmanager
def _database(folder: Path, name: str) -> Iterator[str]:
    """An empty one of this kind."""
    if name == "sqlite":
        yield f"sqlite:///{folder / 'calls.db'}"
        return
    with standins.load("tests.postgres").server() as url:
        yield url


def _prepare(file: Path, count: int) -> None:
    """So many events of calls, each with an id of its own, signed."""
    hooks: Any = standins.load("tests.webhooks")
    with file.open("w") as out:
        number = 0
        while number < count:
            for event in hooks.story(number // 8 + 1, number // 8 + 1):
                body = hooks.body({**event, "id": f"EV_{number:08}"})
                out.write(f"{hooks.token(body)}\t{body.decode()}\n")
                number += 1


async def _load(
    folder: Path, url: str, requests: Path, sent: Path, seconds: int
) -> dict[str, float]:
    """Send, and kill the server after so many seconds: latencies in ms, and how long it took."""
    serving: Any = standins.load("tests.serving")
    only = ("--only", "webhooks")
    async with serving.Serving(folder, *only, VOICE_AGENT__STORE__URL=url) as server:
        spent = _cpu(server)
        wrk = await asyncio.create_subprocess_exec(
            *("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds + LOAD_GOES_ON}s", "--latency"),
            *("-s", str(SCRIPT), server.url, "--", str(requests), str(sent)),
            stdout=asyncio.subprocess.PIPE,
        )
        begun = time.monotonic()
        await asyncio.sleep(seconds)
        spent = _cpu(server) - spent
        await server.kill()
        took = time.monotonic() - begun
        told, _ = await wrk.communicate()
    latencies = re.findall(r"^\s+(50|99)%\s+([0-9.]+)(us|ms|s)$", told.decode(), re.MULTILINE)
    named = {f"p{share}_ms": round(float(text) * UNITS[unit], 1) for share, text, unit in latencies}
    return {**named, "took": took, "cpu_seconds": round(spent, 2)}


def _cpu(server: Any) -> float:
    """Seconds of a processor that it has had so far."""
    return sum(psutil.Process(server.pid).cpu_times()[:2])


def _known(url: str) -> set[str]:
    log = CallLog.open(url)
    try:
        return set(WebhookEvents(log.engine).ids())
    finally:
        log.close()


def _spooled(folder: Path) -> set[str]:
    files = (folder / "data" / "webhooks").glob("*.jsonl")
    return {json.loads(line)["id"] for file in files for line in file.read_text().splitlines()}
