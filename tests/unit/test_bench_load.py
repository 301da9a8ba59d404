"""The harness that puts a server under load: what it asks, what it counts."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from agent.errors import StartError
from ops.bench import http, load
from tests.control_plane import ControlPlane
from tests.programs import PATIENCE


def served(plane, key, folder):
    return load.Served(plane.url, key, folder, subprocess.Popen([sys.executable, "-c", ""]))


@pytest.fixture
async def plane(tmp_path):
    async with ControlPlane(tmp_path) as plane:
        yield plane


async def measured(plane, key, folder):
    target = served(plane, key, folder)
    target.process.wait(PATIENCE)
    return await asyncio.to_thread(
        load.load, target, "/tokens", http._requests(target), seconds=1, connections=4
    )


@pytest.mark.needs("wrk")
async def test_requests_are_counted_and_refused_ones_are_errors(plane, tmp_path):
    figures = await measured(plane, await plane.key("tokens"), tmp_path)
    assert figures["errors_percent"] == 0
    assert figures["requests"] > 10
    assert figures["per_second"] > 10
    assert 0 < figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"]
    refused = await measured(plane, "vak_1_2", tmp_path)
    assert refused["errors_percent"] == 100
    assert refused["per_second"] == 0


def test_without_the_tool_it_says_where_it_comes_from(monkeypatch, tmp_path):
    monkeypatch.setattr(load.shutil, "which", lambda _name: None)
    nobody = load.Served("http://127.0.0.1:9", "key", tmp_path, None)
    with pytest.raises(StartError, match="Debian package wrk"):
        load.load(nobody, "/tokens", [], seconds=1, connections=1)


def test_what_is_posted_survives_its_way_through_lua():
    assert load._quoted('a"b\\c\né') == r'"a\034b\092c\010\195\169"'
