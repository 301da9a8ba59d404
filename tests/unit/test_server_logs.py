"""The log of a server process: whole, and without personal data."""

from __future__ import annotations

import io
import json
import logging

from agent import log
from ops.front import logs


def test_a_failure_is_logged_with_its_traceback_and_without_numbers(monkeypatch):
    written = io.StringIO()
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr("sys.stderr", written)
    logs.set_up("info")
    try:
        int("no route to +493012345678")
    except ValueError as error:
        log.get("ops.test").error("a request failed", exc_info=error)
        logging.getLogger("a.library").error("it failed", exc_info=error)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["a request failed", "it failed"]
    for line in lines:
        assert "in test_a_failure" in line["exception"]
        assert "no route to [personal data]" in line["exception"]
