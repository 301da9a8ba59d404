"""The product's programs as processes of their own, in a data folder of the test's."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import aiohttp

from tests import canaries

ROOT = Path(__file__).parents[1]
PATIENCE = 60.0
"""Seconds for anything that a test waits for, on a busy machine."""

INHERITED = {
    name: value for name, value in os.environ.items() if name == "PATH" or "COVERAGE" in name
}


def settings(folder: Path) -> dict[str, str]:
    """Variables of a worker that keeps all it writes in `folder` and needs nobody."""
    return {
        "VOICE_AGENT__DATA__FOLDER": str(folder / "data"),
        "VOICE_AGENT__STORE__URL": f"sqlite:///{folder / 'calls.db'}",
        "VOICE_AGENT__WORKER__PORT": "0",
        "VOICE_AGENT__WORKER__ENDPOINTS_PORT": "0",
        "VOICE_AGENT__SPEECH__STT": "offline",
        "VOICE_AGENT__SPEECH__LLM": "offline",
        "VOICE_AGENT__SPEECH__TTS": "offline",
    }


def run(
    *arguments: str, variables: Mapping[str, str], within: float
) -> subprocess.CompletedProcess[str]:
    """Run `python ARGUMENTS` in the checkout to its end."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**INHERITED, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
    )


def rehearse(
    folder: Path, *options: str, within: float = 300.0, **variables: str
) -> tuple[dict[str, Any], str]:
    """Run `agent.py call --json`: the summary, and what to say of it when a test fails.

    Raises AssertionError when there is no summary or the exit code does not agree with it.
    """
    done = run(
        *("agent.py", "call", "--json", "--out", str(folder / "out"), *options),
        variables={**settings(folder), **variables},
        within=within,
    )
    assert done.stdout.startswith("{"), f"exit code {done.returncode}: {done.stderr}"
    summary = json.loads(done.stdout)
    met = summary["expectations_met"]
    assert done.returncode == (0 if met else 1), done.stderr
    return summary, "" if met else _report(summary)


async def eventually(true: Callable[[], Any], what: str) -> Any:
    """What `true` returns as soon as it is something: for what tells nobody that it happened."""
    until = time.monotonic() + PATIENCE
    while not (found := await asyncio.to_thread(true)):
        assert time.monotonic() < until, f"in vain: {what}"
        await asyncio.sleep(0.05)
    return found


async def dies(_ctx: Any) -> None:
    """The entry of a job whose process is gone before anybody hears of it."""
    os._exit(1)


class News:
    """What happened so far, and a way to wait for what has not happened yet."""

    def __init__(self) -> None:
        self._items: list[Any] = []
        self._changed = asyncio.Condition()
        self._over = False

    async def add(self, item: Any) -> None:
        async with self._changed:
            self._items.append(item)
            self._changed.notify_all()

    async def end(self) -> None:
        """There will be no more."""
        async with self._changed:
            self._over = True
            self._changed.notify_all()

    async def first(self, wanted: Callable[[Any], Any]) -> Any:
        """The first item that is wanted, past or to come.

        Raises TimeoutError, or AssertionError when all is over without it.
        """

        def found() -> list[Any]:
            return [item for item in self._items if wanted(item)]

        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: found() or self._over), PATIENCE)
            assert found(), f"it ended without that; the last of it: {self._items[-3:]}"
            return found()[0]

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._items))


class Worker:
    """`agent.py start` (or another program that serves), ended by whoever started it."""

    def __init__(self, variables: Mapping[str, str], *command: str) -> None:
        self._command = command or ("agent.py", "start")
        self._variables = variables
        self.log = News()

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._command,
            cwd=ROOT,
            env={**INHERITED, **self._variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._reading = asyncio.create_task(self._read(), name="worker-log")
        return self

    async def __aexit__(self, *error: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._reading

    async def said(self, message: str) -> dict[str, Any]:
        """The first log record with this message."""
        return await self.log.first(lambda record: message in record.get("event", ""))

    async def get(self, path: str) -> tuple[int, str]:
        """Ask the worker's own endpoints: status and body."""
        address = (await self.said("the worker is ready"))["endpoints"]
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"http://{address}{path}") as answer,
        ):
            return answer.status, await answer.text()

    async def becomes(self, status: int) -> dict[str, bool]:
        """Wait until `/ready` answers with `status`: its checks."""
        async with asyncio.timeout(PATIENCE):
            while True:
                seen, body = await self.get("/ready")
                if seen == status:
                    return json.loads(body)["checks"]
                await asyncio.sleep(0.05)

    def terminate(self) -> None:
        """Ask it to drain and end."""
        self.process.send_signal(signal.SIGTERM)

    async def ended(self, within: float = PATIENCE) -> int:
        """Wait for its end: the exit code. All of its log is read then. Raises TimeoutError."""
        code = await asyncio.wait_for(self.process.wait(), within)
        await self._reading
        return code

    async def _read(self) -> None:
        async for line in self.process.stdout:
            canaries.look("the log of a worker", line)
            try:
                record = json.loads(line)
            except ValueError:
                record = {"event": line.decode(errors="replace").rstrip()}
            await self.log.add(record)
        await self.log.end()


def _report(summary: Mapping[str, Any]) -> str:
    """What was missed, and the transcripts of the calls that missed something."""
    lines = [f"ended {summary['end_reason']}, heard latency {summary['heard_latency_ms']}"]
    lines += [
        f"call {miss['call'][:8]} step {miss['step']}: {miss['expected']}; seen: {miss['seen']}"
        for miss in summary["missed"]
    ]
    concerned = {miss["call"] for miss in summary["missed"]}
    for call_id, recording in zip(summary["record_id"], summary["recording"], strict=True):
        if call_id in concerned:
            transcript = Path(recording).with_suffix(".txt").read_text()
            lines.append(f"{call_id[:8]} ({recording}):\n{transcript}")
    return "\n".join(lines)
