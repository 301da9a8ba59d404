"""A whole call on Deepgram, OpenAI and Cartesia: the real plugins, and stand-ins on loopback."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.programs import rehearse, run, settings
from tests.providers import Providers

pytestmark = pytest.mark.acceptance

DEBUG = {"VOICE_AGENT__LOG__LEVEL": "debug"}
NAMES = {"stt": "deepgram", "llm": "openai", "tts": "cartesia"}


async def test_a_call_on_three_providers_meets_every_expectation(tmp_path):
    async with Providers() as servers:
        summary, report = await asyncio.to_thread(
            rehearse, tmp_path, "--scenario", "opening-hours", **DEBUG, **servers.variables
        )
        turns = servers.deepgram.turns["listen"], servers.openai.turns["chat"]
        replies = servers.cartesia.turns["voice"]
    assert summary["expectations_met"], report
    assert turns == (4, 4)
    assert replies >= 4

    (call_id,) = summary["record_id"]
    show = ("-m", "ops", "calls", "show", call_id, "--json")
    done = await asyncio.to_thread(run, *show, variables=settings(tmp_path), within=60)
    record = json.loads(done.stdout)
    assert record["call"]["providers"] == NAMES
    assert {(t["stt"], t["llm"], t["tts"]) for t in record["turns"][1:]} == {tuple(NAMES.values())}
    used = [model["provider"] for model in record["call"]["usage"]["models"]]
    assert set(used) == set(NAMES.values())
    cost = record["call"]["cost"]
    assert float(cost["providers"]["deepgram"]) > 0
    assert float(cost["providers"]["openai"]) > 0
    assert (cost["providers"]["cartesia"], cost["total"]) == (None, None)  # not in the book

    (log,) = (tmp_path / "out").glob("*/worker.log")
    written = log.read_text().lower()
    assert '"level": "debug"' in written
    assert written.count("no price is known") == 1
    for turn in record["turns"]:
        assert not turn["user_text"] or turn["user_text"].lower() not in written
    assert record["turns"][1]["user_text"] == "What are your opening hours?"
