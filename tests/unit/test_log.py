"""What people said and who they are never reaches a log."""

from __future__ import annotations

import logging

import pytest

from agent import log


class Kept(logging.Handler):
    """A handler that keeps its records."""

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


@pytest.fixture
def kept():
    handler = Kept()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.mark.parametrize("key", sorted(log.PERSONAL))
def test_personal_data_never_reaches_a_handler(kept, key):
    log.get("test").warning("a call came in", **{key: "+15550100 said hello", "calls": 3})
    (record,) = kept.records
    assert "+15550100" not in str(vars(record))
    assert getattr(record, key) == "[personal data]"
    assert record.calls == 3


def test_a_record_is_a_sentence_with_values_beside_it(kept):
    log.get("agent.test").info("a job was passed on", reason="full")
    (record,) = kept.records
    assert (record.name, record.levelno) == ("agent.test", logging.INFO)
    assert record.getMessage() == "a job was passed on"
    assert record.reason == "full"


def test_a_record_names_the_line_that_logged(kept):
    log.get("test").error("here")
    (record,) = kept.records
    assert record.pathname == __file__
    assert record.funcName == "test_a_record_names_the_line_that_logged"


def test_what_is_below_the_level_is_not_made(kept):
    logging.getLogger("quiet").setLevel(logging.WARNING)
    log.get("quiet").info("never mind", calls=1)
    assert kept.records == []


def test_an_exception_comes_with_its_traceback(kept):
    try:
        raise ValueError("oops")  # noqa: TRY301
    except ValueError:
        log.get("test").exception("it broke")
    assert kept.records[0].exc_info[1].args == ("oops",)


def test_the_frameworks_personal_data_is_kept_out_too(kept):
    log.protect()
    log.protect()
    personal = {"lk.pii.user_transcript": "my number is", "turn": 1}
    logging.getLogger("livekit.agents").info("user said something", extra=personal)
    (record,) = kept.records
    assert "my number is" not in str(vars(record))
    assert record.turn == 1
    assert len(kept.filters) == 1
