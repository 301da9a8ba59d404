"""What the figures leave behind: labels of few values, and nothing of a call that has ended."""

from __future__ import annotations

import asyncio
import gc
import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from agent import lines, metrics
from agent.call import EndReason
from agent.channel import Channel
from agent.events import CallEnded, CallerJoined, CallNote, CallOpened, TurnCommitted, TurnFinished
from agent.spool import Spool
from agent.worker import VoiceServer
from config.settings import ROOT, load

BOUNDED = {
    "by": "who or what, of a few",
    "check": "health checks and conditions of a worker, each in the code",
    "currency": "that of the price book",
    "kind": "whose call; speech to text, model or voice; what an attack looks like; a token's",
    "level": "P1 to P4",
    "method": "of LiveKit's API as installed, or of HTTP as declared",
    "name": "certificates, each in the code",
    "operation": "what is done with a token",
    "outcome": "each in the code",
    "persona": "those of the configuration",
    "provider": "those of the settings",
    "reason": "EndReason",
    "route": "as declared, never a path",
    "service": "of LiveKit's API",
    "spool": "each in the code",
    "status": "of HTTP, or why there is none",
    "tool": "those of the product, and other",
    "verdict": "Verdict",
    "worker": "those that run: the series of one that is gone is removed",
}
"""Every label there is, and why its values are few. One of a call, a room or a person has no place
here: for each value a series stays for as long as the process runs."""

UNITS = re.compile(r"_(seconds|bytes|total|timestamp_seconds)$")
FEW = 300


def ours():
    return [one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)]


def test_every_label_has_few_values():
    labels = {label for one in ours() for label in one._labelnames}
    assert labels - BOUNDED.keys() == set()
    for one in ours():
        assert len(one._metrics if one._labelnames else ()) < FEW, one._name


def test_every_metric_is_defined_in_one_place_and_says_what_it_means():
    elsewhere = [
        path.relative_to(ROOT)
        for folder in ("agent", "ops", "plugins", "config")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(
            r"^from prometheus_client import .*\b(Counter|Gauge|Histogram|Summary)\b",
            path.read_text(),
            re.MULTILINE,
        )
    ]
    assert elsewhere == [Path("agent/metrics.py")]
    for one in ours():
        assert re.match(r"(livekit|voice)_[a-z_]+$", one._name), one._name
        assert one._documentation.endswith("."), one._name
        if one._type == "histogram":
            unit = {"seconds", "confidence"}
            assert one._name.rpartition("_")[2] in unit, one._name


async def a_call(path, folder, number):
    """What a job tells, with names that nobody should keep."""
    call_id, seq = f"{number:032x}", iter(range(1, 100))
    channel = await Channel.open(path, call_id, Spool(folder / "spool"), "host/1")

    def tell(kind, **values):
        channel.send(kind(call_id=call_id, seq=next(seq), **values))

    def note(name, **detail):
        tell(CallNote, name=name, detail=detail)

    tell(
        CallOpened,
        room=f"r{number}",
        room_sid=f"RM_{number}",
        job_id=f"AJ_{number}",
        agent_name="voice-ai",
        pid=1,
    )
    tell(CallerJoined, identity=f"sip_{number}", persona="en", language="en")
    note("kind", kind=f"kind {number}")
    note("greeted", after=0.4)
    note("link", score=4.0 + number / 10_000, loss=0.0, jitter=0.0, round_trip=0.0)
    note("silence_owed", seconds=0.7)
    note("livekit_request", service="room", method=f"m{number}", status="200", seconds=0.1)
    note(f"anything {number}", of=number)
    tell(TurnCommitted, turn=1, user_text="hello", confidence=0.9)
    tell(TurnFinished, turn=1, agent_text="Hello.", latency=0.5, tools=(f"invented_{number}",))
    tell(CallEnded, reason=EndReason.CALLER_HANGUP)
    await channel.aclose()


@pytest.fixture
async def worker(tmp_path, monkeypatch):
    """A worker's house, without the framework's processes, and with a call log in the air."""
    settings = load(
        environ={
            "VOICE_AGENT__DATA__FOLDER": str(tmp_path / "data"),
            "VOICE_AGENT__STORE__URL": f"sqlite:///{tmp_path}/calls.db",
            "VOICE_AGENT__WORKER__ENDPOINTS_PORT": "0",
        }
    )

    async def done(*_):
        pass

    server = VoiceServer(settings, {})
    monkeypatch.setattr(server, "_fill_phrases", done)
    await server._open_house()
    monkeypatch.setattr(server._ledger, "add", done)
    yield server
    await server._close_house()


async def test_a_thousand_calls_leave_no_more_behind_than_ten_did(worker, tmp_path):
    async def play(first, last):
        for start in range(first, last, 10):
            await asyncio.gather(
                *(
                    a_call(worker._folder / "events.sock", tmp_path, number)
                    for number in range(start, min(start + 10, last))
                )
            )
        gc.collect()
        files = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
        series = sum(len(family.samples) for family in REGISTRY.collect())
        return files, series, len(gc.get_objects())

    await play(0, lines.MOST_JOBS)  # as many as are remembered at once
    files, series, objects = await play(1000, 1010)
    after = await play(2000, 3000)
    assert after[:2] == (files, series)
    assert after[2] - objects < FEW
