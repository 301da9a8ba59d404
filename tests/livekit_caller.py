"""One caller as a process of its own: ten in one process would starve each other of its loop.

`python -m tests.livekit_caller SCENARIO ROOM AGENT_NAME` says "ready", joins at the first line of
its input, and prints what became of the call.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent import framework
from plugins.line import Clock
from tests.callers import CALL_LIMIT, asks
from tests.livekit_phone import RoomPhone
from tests.livekit_server import LiveKitServer
from tests.programs import INHERITED, ROOT


async def call_at_once(
    variables: Mapping[str, str], agent_name: str, scenario: str, rooms: Sequence[str]
) -> list[dict[str, Any]]:
    """One caller in each of `rooms`, who all join at one moment: what became of each."""
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.livekit_caller", scenario, room, agent_name),
            cwd=ROOT,
            env={**INHERITED, **variables, "RUST_LOG": "off"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        for room in rooms
    ]
    try:
        for process in processes:
            assert await process.stdout.readline() == b"ready\n"
        for process in processes:
            process.stdin.write(b"\n")
        said = await asyncio.gather(*(process.stdout.readline() for process in processes))
        return [json.loads(line) for line in said]
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def main(scenario: str, room: str, agent_name: str) -> None:
    framework.start_native_runtime()
    caller = asks(scenario)
    print("ready", flush=True)  # noqa: T201
    await asyncio.to_thread(sys.stdin.readline)
    async with LiveKitServer(Path()) as server, Clock() as clock:
        server.agent_name = agent_name
        async with RoomPhone(server, clock, caller, room) as phone:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(phone.ended), CALL_LIMIT)
    told = {
        "ended": phone.ended.result() if phone.ended.done() else "never",
        "failure": caller.failure,
        "greeted_after": phone.greeted_after,
        "latencies": phone.latencies,
        "clock_lateness": clock.lateness,
    }
    print(json.dumps(told), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
