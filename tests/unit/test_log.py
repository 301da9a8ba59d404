"""What people said and who they are never reaches a log."""

from __future__ import annotations

import logging
import pickle
from types import SimpleNamespace

import pytest
from livekit.agents import APIStatusError
from pydantic import TypeAdapter, ValidationError

from agent import lines, log


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


CANARY = "my secret sentence"
NUMBER = "+15550100"


def guarded(kept):
    log.protect()
    return logging.getLogger("livekit.agents")


def rendered(kept):
    """What worker, jobs and sidecars would write."""
    return "\n".join(lines.formatter().format(record) for record in kept.records)


@pytest.mark.parametrize(
    "text",
    [
        f"participant 'sip_{NUMBER}' left",
        f"room voice-ai-call-_{NUMBER}_abc was not found",
        "tel:+15550100 is busy",
        "a call from 79161234567",
        f"({NUMBER})",
        f"callee {NUMBER}. Bye",
        f"{NUMBER}-abc",
        f"voice-ai-call-{NUMBER}-x",
        "sip%3A%2B15550100",
        "sip%3a79161234567",
        "79161234567.",
        "+1 (555) 555-0100, +7 916 123-45-67",
    ],
)
def test_a_phone_number_in_a_message_or_a_value_is_hidden(kept, text):
    guarded(kept).warning("it said: %s", text, extra={"why": text, "error": ValueError(text)})
    guarded(kept).warning(text)
    for part in ("5550100", "555-0100", "79161234567", "123-45-67", "7 916"):
        assert part not in rendered(kept)
    assert rendered(kept).count(log.HIDDEN) >= 3


@pytest.mark.parametrize(
    "text",
    [
        "port 8081",
        "1763732645.123",
        "d1bc81f92c844939adb5d5abb5ffb62",
        "call 4711 took 120000 ms",
        "livekit 1.8.9+20261121101500",
        "build 2.0-rc1+1763732645",
        "2026-11-21T10:30:00+0000, 2026-11-21 10:30:00.123456",
        "1763732645123-job",
        "d1bc81f9-2c84-4939-adb5-123456789012",
        "+1 2 3 of 10",
    ],
)
def test_other_numbers_are_left_alone(kept, text):
    guarded(kept).warning(text, extra={"value": text, "count": 15550100123})
    (record,) = kept.records
    assert (record.getMessage(), record.value, record.count) == (text, text, 15550100123)


def refused(said):
    return APIStatusError(
        f"Error code: 400 - {{'error': {{'message': 'cannot answer: {said}'}}}}",
        status_code=400,
        request_id="req_1",
        body={"error": {"message": f"cannot answer: {said}"}},
    )


def test_what_a_provider_answers_is_hidden_and_its_status_is_not(kept):
    error, logger = refused(CANARY), guarded(kept)
    logger.error(f"AgentSession is closing due to unrecoverable error: {error}")  # noqa: G004
    logger.error("closed", extra={"error": error})
    logger.debug("session closed", extra={"error": SimpleNamespace(error=error)})
    logger.error("Cartesia returned error", extra={"error": {"title": CANARY}})
    logger.warning("unexpected", extra={"data": {"transcript": CANARY}})
    logger.info("attached", extra={"participant": "sip_anna"})
    assert CANARY not in rendered(kept)
    assert "sip_anna" not in rendered(kept)
    assert rendered(kept).count("status_code=400") == 3


def test_a_traceback_is_written_without_what_a_provider_answered(kept):
    logger = guarded(kept)
    try:
        try:
            raise refused(CANARY)
        except APIStatusError as error:
            raise RuntimeError("the reply broke") from error
    except RuntimeError:
        logger.exception("it broke")
    text = rendered(kept)
    assert CANARY not in text
    assert "the reply broke" in text
    assert "Traceback" in text


def test_what_pydantic_refuses_is_not_repeated(kept):
    try:
        TypeAdapter(int).validate_python(CANARY)
    except ValidationError as error:
        guarded(kept).warning("not a number: %s", error)
    assert CANARY not in rendered(kept)
    assert "input_type=str" in rendered(kept)


@pytest.mark.parametrize("name", log.WORDY)
def test_libraries_that_log_whole_requests_are_kept_quiet_at_debug_level(kept, name):
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        guarded(kept)
        logging.getLogger(f"{name}.deep").debug("request: %s", CANARY)
        assert kept.records == []
    finally:
        logger.setLevel(level)


def test_a_record_that_came_from_a_job_process_is_guarded_by_the_worker(kept):
    """A job formats its tracebacks, and pickles the rest."""
    guarded(kept)
    told = {"name": "livekit.agents", "msg": "it broke", "levelno": logging.ERROR}
    record = logging.makeLogRecord({**told, "exc_text": f"X: {refused(CANARY)}"})
    logging.getLogger(record.name).callHandlers(pickle.loads(pickle.dumps(record)))
    assert CANARY not in rendered(kept)
    assert "it broke" in rendered(kept)
