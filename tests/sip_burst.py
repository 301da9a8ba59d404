"""Many telephones at one moment: a real livekit-server and livekit-sip, one worker, SIPp callers.

Callers over SIP are cheap (one process of SIPp and a socket each, and no WebRTC in Python), so that
what is measured is the product and the servers, not the callers.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from livekit.protocol.models import ParticipantInfo

from agent.store import CallLog
from plugins.line import Clock
from plugins.line.g711 import FRAME, Samples
from plugins.line.hearing import audible
from plugins.line.phone import Moment
from tests.programs import Worker, eventually, settings
from tests.sip_caller import SipCaller
from tests.sip_server import SipServer

CALLED = "+70000000100"
FILE = """
inbound_trunks:
  - name: main
    numbers: ["{called}"]
    allowed_addresses: [127.0.0.1]
dispatch_rules:
  - name: voice-ai-dispatch
    trunks: [main]
    room_config: {{agents: [{{agent_name: {agent}}}]}}
"""
STAYS = 150
"""Frames of 20 ms that a caller stays after the first word: all of a burst are then up at once."""
PATIENCE = 1000
"""Frames after which a caller who heard nothing hangs up."""
AT_REST, AT_MOST = 3, 30
"""Seconds of rest in a row that are waited for, and for how long."""
SETTLED = 0.15
"""Seconds of CPU a second below which the worker's idle processes are made."""


@dataclass(slots=True)
class Listener:
    """Hears the greeting, stays for a while, and hangs up."""

    greeted_at: float | None = None
    """Seconds after the answer."""
    _frames: int = 0
    _silence: Samples = field(default_factory=lambda: np.zeros(FRAME, np.float32))

    def tick(self, heard: Samples) -> Moment:
        """See plugins.line.phone.Person."""
        self._frames += 1
        if self.greeted_at is None and audible(heard)[0]:
            self.greeted_at = self._frames * 0.02
        since = self._frames * 0.02 - (self.greeted_at or 0.0)
        over = since >= STAYS * 0.02 if self.greeted_at else self._frames >= PATIENCE
        return Moment(self._silence, hang_up=over)


@dataclass(frozen=True, slots=True)
class Burst:
    """What became of the calls. Times in seconds from the INVITE, sorted."""

    calls: int
    answered: tuple[float, ...]
    greeted: tuple[float, ...]
    joined_to_greeted: tuple[float, ...]
    """Seconds from the moment at which the server had the caller in the room."""
    reasons: Mapping[str, int]
    """How many records ended how; a record that is not closed does not count."""
    cpu: Mapping[str, float]
    """Seconds of CPU until the last greeting, by program."""


class QuietServer(SipServer):
    """As it is run in production: writing every packet down is work, too."""

    def _sip_config(self) -> dict[str, Any]:
        return {**super()._sip_config(), "logging": {"json": True, "level": "warn"}}


async def burst(folder: Path, calls: int, **variables: str) -> Burst:
    """Start everything in `folder`, let `calls` telephones dial at one moment."""
    async with QuietServer(folder) as server, Clock() as clock:
        await server.declares(FILE.format(called=CALLED, agent=server.agent_name))
        env = {
            **settings(folder),
            **server.variables,
            "VOICE_AGENT__WORKER__AGENT_NAME": server.agent_name,
            "VOICE_AGENT__WORKER__MAX_CALLS": str(calls),
            **variables,
        }
        async with Worker(env) as worker:
            await worker.becomes(200)
            await _settled()
            before = _cpu()
            listeners = [Listener() for _ in range(calls)]
            phones = [
                SipCaller(server, clock, one, caller=f"+7000000{place:04d}", called=CALLED)
                for place, one in enumerate(listeners)
            ]
            dialled = time.time()
            spent, *told = await asyncio.gather(
                _spent(before, listeners),
                *(_call(phone, one) for phone, one in zip(phones, listeners, strict=True)),
            )
            joined = _joins(server)
            url = env["VOICE_AGENT__STORE__URL"]
            reasons = await eventually(lambda: _reasons(url, calls), "every record is closed")
    waited = [
        greeted - (joined[phone.caller] - dialled)
        for phone, (_, greeted) in zip(phones, told, strict=True)
        if greeted is not None and phone.caller in joined
    ]
    return Burst(
        calls,
        tuple(sorted(answered for answered, _ in told if answered is not None)),
        tuple(sorted(greeted for _, greeted in told if greeted is not None)),
        tuple(sorted(waited)),
        reasons,
        {name: round(seconds, 2) for name, seconds in spent.items() if seconds >= 0.05},
    )


async def _call(phone: SipCaller, person: Listener) -> tuple[float | None, float | None]:
    async with phone:
        try:
            await phone.answered()
        except (TimeoutError, AssertionError):
            return None, None
        with contextlib.suppress(TimeoutError, AssertionError):
            await phone.ended()
        heard = person.greeted_at
        return phone.answered_after, None if heard is None else phone.answered_after + heard


def _joins(server: QuietServer) -> Mapping[str, float]:
    """When each caller, by number, was in the room, as the server tells (seconds of its clock)."""
    joins = (hook.participant for hook in server.webhooks if hook.event == "participant_joined")
    return {
        one.attributes["sip.phoneNumber"]: one.joined_at_ms / 1000
        for one in joins
        if one.kind == ParticipantInfo.Kind.SIP
    }


def _reasons(url: str, calls: int) -> Mapping[str, int] | None:
    """The ends of all records, once all are closed."""
    log = CallLog.open(url, readonly=True)
    try:
        rows = log.list_calls(2 * calls)
    finally:
        log.close()
    closed = [row for row in rows if row.ended_at]
    return Counter(f"{row.end_reason}" for row in closed) if len(closed) >= calls else None


async def _spent(before: Counter[str], listeners: Sequence[Listener]) -> Counter[str]:
    """What the burst cost until the last greeting; job processes end with their calls."""
    for _ in range(PATIENCE):
        if all(one.greeted_at is not None for one in listeners):
            break
        await asyncio.sleep(0.05)
    return _cpu() - before


async def _settled() -> None:
    """Wait until the worker's idle processes are made: a burst finds a worker at rest."""
    rest, before = 0, _cpu().total()
    for _ in range(AT_MOST):
        if rest == AT_REST:
            return
        await asyncio.sleep(1.0)
        now = _cpu().total()
        rest = rest + 1 if now - before < SETTLED else 0
        before = now


def _cpu() -> Counter[str]:
    """Seconds of CPU so far of this process and all below it, by program."""
    spent: Counter[str] = Counter()
    me: Any = psutil.Process()
    for process in (me, *me.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            times, command = process.cpu_times(), process.cmdline()
            name = "callers" if process is me else _program(command)
            spent[name] += times.user + times.system
    return spent


def _program(command: list[str]) -> str:
    joined = " ".join(command)
    if "forkserver" in joined:
        return "job processes"
    if "agent.py" in joined or "multiprocessing" in joined:
        return "worker"
    return Path(command[0]).name.split()[0] if command else "?"
