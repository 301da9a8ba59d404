"""Whole calls whose recogniser fails: what one call learns, the worker and its next calls know."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.programs import rehearse, run, settings
from tests.providers import Fault, Kind, Providers

pytestmark = pytest.mark.acceptance

CHAIN = {"VOICE_AGENT__SPEECH__STT": "deepgram,openai"}


async def call(folder, servers, *options):
    """The records of the calls, and the worker's log."""
    summary, report = await asyncio.to_thread(
        rehearse, folder, "--scenario", "opening-hours", *options, **(servers.variables | CHAIN)
    )
    assert summary["expectations_met"], report
    return [await record(folder, call_id) for call_id in summary["record_id"]]


async def record(folder, call_id):
    show = ("-m", "ops", "calls", "show", call_id, "--json")
    done = await asyncio.to_thread(run, *show, variables=settings(folder), within=60)
    return json.loads(done.stdout)


def heard_by(told):
    return [turn["stt"] for turn in told["turns"][1:]]


def notes(told):
    return [e["name"] for e in told["events"] if e["name"].startswith("provider_")]


async def test_a_provider_that_comes_back_hears_the_rest_of_the_call(tmp_path):
    script = {"deepgram": [Fault(kind=Kind.STATUS, on="listen")]}
    async with Providers(faults=script) as servers:
        (told,) = await call(tmp_path, servers)
    assert (heard_by(told)[0], heard_by(told)[-1]) == ("openai", "deepgram")
    assert notes(told) == ["provider_failed", "provider_recovered"]


async def test_a_refused_key_is_tried_once_by_all_calls_of_a_worker(tmp_path):
    script = {"deepgram": [Fault(kind=Kind.EXPIRED, on="listen", times=0)]}
    async with Providers(faults=script) as servers:
        first, second = await call(tmp_path, servers, "--repeat", "2")
        asked = len(servers.deepgram.asked)
    assert asked == 1
    assert {*heard_by(first), *heard_by(second)} == {"openai"}
    assert (notes(first), notes(second)) == (["provider_failed"], [])
    (log,) = tmp_path.glob("out/*/worker.log")
    assert log.read_text().count("a provider refuses the key") == 1
