"""How the lines of the log look, whoever wrote them."""

from __future__ import annotations

import json
import logging
import pickle

import pytest

from agent import lines, log


class Written(logging.Handler):
    """A handler that writes lines as every process does."""

    def __init__(self):
        super().__init__()
        self.lines = []
        self.setFormatter(lines.formatter())

    def emit(self, record):
        self.lines.append(json.loads(self.format(record)))


@pytest.fixture
def written():
    handler, root = Written(), logging.getLogger()
    root.addHandler(handler)
    yield handler.lines
    root.removeHandler(handler)


def test_every_line_begins_alike_whoever_wrote_it(written):
    """Ours, the framework's, a library's, and one that came from a job process."""
    log.get("ops.rooms").warning("ours", calls=2)
    logging.getLogger("livekit.agents").error("the %s", "framework's", extra={"job_id": "AJ_1"})
    logging.getLogger("uvicorn.error").critical("a library's\nin two lines", extra={"odd": {1}})
    told = {"name": "agent.job", "msg": "a job's", "levelno": 20, "levelname": "INFO"}
    made = logging.makeLogRecord(
        {**told, "created": 0.0, "process": 7, "call": "a1", "message": "a job's"}
    )
    logging.getLogger("agent.job").callHandlers(pickle.loads(pickle.dumps(made)))
    assert [list(line)[:5] for line in written] == [
        ["timestamp", "level", "logger", "event", "pid"] for _ in range(4)
    ]
    assert [line["event"] for line in written] == [
        "ours",
        "the framework's",
        "a library's\nin two lines",
        "a job's",
    ]
    assert [line["level"] for line in written] == ["warning", "error", "critical", "info"]
    assert (written[0]["calls"], written[1]["job_id"], written[2]["odd"]) == (2, "AJ_1", "{1}")
    assert written[3] == {
        "timestamp": "1970-01-01T00:00:00+00:00",
        "level": "info",
        "logger": "agent.job",
        "event": "a job's",
        "pid": 7,
        "call": "a1",
    }


def test_a_traceback_is_in_the_line_of_its_error(written):
    try:
        int("x")
    except ValueError:
        logging.getLogger("a.library").exception("it broke")
    (line,) = written
    assert "test_a_traceback_is_in_the_line" in line["exception"]


def test_lines_of_others_get_the_call_of_their_job(written):
    calls = lines.CallIds()
    calls.attach()
    try:
        calls.know("AJ_1", "a1")
        for n in range(lines.MOST_JOBS):
            calls.know(f"AJ_other_{n}", "b2")
        calls.know("AJ_1", "a1")
        of = logging.getLogger("livekit.agents")
        of.warning("theirs", extra={"job_id": "AJ_1"})
        of.warning("theirs", extra={"job_id": "AJ_gone"})
        log.get("agent.x").warning("ours", job="AJ_1")
        log.get("agent.x").warning("ours", job="AJ_1", call="c3")
        log.get("agent.x").warning("of none")
    finally:
        calls.detach()
    log.get("agent.x").warning("after", job="AJ_1")
    assert [line.get("call") for line in written] == ["a1", None, "a1", "c3", None, None]
    assert len(calls._calls) == lines.MOST_JOBS
