"""The worker's board of providers: what calls report, what is probed, what is told."""

from __future__ import annotations

import asyncio

import pytest
from livekit.agents import APIConnectionError, APIStatusError

from agent import outages
from agent.availability import ALL_KINDS, State
from agent.events import CallNote
from agent.outages import LONGEST_PAUSE, Outages, longer


class Board:
    """A board whose probes are answered by the test; its pauses take no time but are noted."""

    def __init__(self, monkeypatch):
        self.told, self.probed, self.pauses, self.answers = [], [], [], []
        self.outages = Outages(self._probe, lambda *change: self.told.append(change))
        self._sleep = asyncio.sleep
        self._more = asyncio.Event()
        monkeypatch.setattr(outages.asyncio, "sleep", self._pause)
        monkeypatch.setattr(outages.random, "random", lambda: 0.0)

    async def _pause(self, seconds):
        self.pauses.append(seconds)
        while not self.answers:
            self._more.clear()
            await self._more.wait()

    async def _probe(self, kind, provider):
        self.probed.append((kind, provider))
        if error := self.answers.pop(0):
            raise error

    async def answer(self, *answers):
        """Let the prober go on until it has asked for another answer, or has ended."""
        self.answers += answers
        self._more.set()
        for _ in range(20):
            await self._sleep(0)

    def fails(self, kind, provider, state=State.DOWN):
        detail = {"of": kind, "provider": provider, "error": "APIError", "state": state}
        self.outages.hear(CallNote(call_id="c", seq=1, name="provider_failed", detail=detail))

    def recovers(self, kind, provider, by):
        detail = {"of": kind, "provider": provider, "by": by}
        self.outages.hear(CallNote(call_id="c", seq=2, name="provider_recovered", detail=detail))


@pytest.fixture
async def board(monkeypatch):
    board = Board(monkeypatch)
    yield board
    await board.outages.aclose()


async def test_what_one_call_met_all_calls_are_told_once(board):
    board.fails("stt", "deepgram")
    board.fails("stt", "deepgram")
    assert board.told == [("stt", "deepgram", State.DOWN)]
    assert board.outages.now() == [("stt", "deepgram", State.DOWN)]


async def test_other_notes_tell_nothing_of_providers(board):
    board.outages.hear(CallNote(call_id="c", seq=1, name="dtmf", detail={"key": "1"}))
    assert board.outages.now() == []


async def test_probes_grow_rare_until_one_is_answered(board, caplog):
    caplog.set_level("INFO")
    board.fails("llm", "openai")
    await board.answer(APIConnectionError("no"), TimeoutError(), OSError(), None)
    assert board.pauses == [10, 20, 40, 80]
    assert board.probed == [("llm", "openai")] * 4
    assert board.told == [("llm", "openai", State.DOWN), ("llm", "openai", State.UP)]
    assert board.outages.now() == []
    assert "a provider is back" in caplog.messages


def test_the_pause_has_an_end():
    pause = 10.0
    for _ in range(10):
        pause = longer(pause)
    assert pause == LONGEST_PAUSE == 300


async def test_whatever_a_probe_raises_is_no_reason_to_probe_no_more(board, caplog):
    caplog.set_level("INFO")
    board.fails("stt", "deepgram")
    await board.answer(ZeroDivisionError(), None)
    assert board.pauses == [10, 20]
    assert board.outages.now() == []
    assert "ZeroDivisionError" in [getattr(record, "error", "") for record in caplog.records]


async def test_a_probe_that_ended_is_begun_again_with_the_next_failure(board):
    board.fails("stt", "deepgram")
    await board.outages.aclose()
    board.fails("stt", "deepgram")
    await board.answer(None)
    assert board.outages.now() == []


async def test_a_relapse_at_once_is_probed(board):
    board.fails("stt", "deepgram")
    await board.answer()
    board.recovers("stt", "deepgram", by="call")
    board.fails("stt", "deepgram")
    await board.answer(None)
    assert board.outages.now() == []


async def test_a_relapse_goes_on_where_the_pauses_were(board):
    # A provider that answers probes and nothing else must not be asked every ten seconds.
    board.fails("stt", "deepgram")
    await board.answer(APIConnectionError("no"), None)
    board.fails("stt", "deepgram")
    await board.answer()
    assert board.pauses == [10, 20, 40]


async def test_a_call_that_was_answered_ends_the_probes(board):
    board.fails("tts", "cartesia")
    await board.answer()
    board.recovers("tts", "cartesia", by="call")
    await board.answer(None)
    assert board.probed == []
    assert board.told[-1] == ("tts", "cartesia", State.UP)


async def test_what_a_call_heard_of_the_worker_is_no_news(board):
    board.fails("tts", "cartesia")
    board.recovers("tts", "cartesia", by="probe")
    assert board.outages.now() == [("tts", "cartesia", State.DOWN)]


def alerts(caplog):
    return [
        (record.levelname, record.kind, record.provider)
        for record in caplog.records
        if record.message == "a provider refuses the key"
    ]


async def test_a_refused_key_is_one_alert_and_no_probe(board, caplog):
    for _ in range(3):
        board.fails(ALL_KINDS, "openai", State.REFUSED)
    await board.answer(None)
    assert alerts(caplog) == [("ERROR", "all", "openai")]
    assert board.probed == []
    assert board.outages.now() == [(ALL_KINDS, "openai", State.REFUSED)]
    board.recovers(ALL_KINDS, "openai", by="call")
    assert board.outages.now() == [(ALL_KINDS, "openai", State.REFUSED)]


async def test_a_probe_that_is_refused_is_the_last(board, caplog):
    board.fails("stt", "deepgram")
    await board.answer(APIStatusError("no", status_code=401), None)
    assert len(board.probed) == 1
    assert alerts(caplog) == [("ERROR", "stt", "deepgram")]
    assert board.told[-1] == ("stt", "deepgram", State.REFUSED)
