"""One canary call without a room: what is asked of whom, what is read, what is left behind."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from livekit import rtc

from agent import dialing
from agent.call import EndReason
from agent.dialing import DialFailed
from agent.events import CallEnded, CallOpened, TurnCommitted, TurnFinished
from agent.store import CallLog
from config import settings as configuration
from config.canary import Canary
from config.livekit_auth import load_ring
from ops.canary import call as calls
from ops.canary.call import NotPlaced
from tests import canaries

CALL, QUESTION = "a1" * 16, "what are your opening hours"


class Phone:
    """A caller who was greeted and answered, as far as the ear goes."""

    greeted_after, latencies = 1.25, [0.7]
    refuses = None

    def __init__(self, _url, _token, _clock, caller, *, waits=False):
        self.caller = caller
        self.caller.log.append(SimpleNamespace(text=QUESTION))
        self.waits, self.begun = waits, 0
        self.ended = asyncio.get_running_loop().create_future()

    async def __aenter__(self):
        if self.refuses:
            raise self.refuses
        if not self.waits:
            self.begin()

    async def __aexit__(self, *_):
        self.left = True

    def begin(self):
        self.begun += 1
        self.ended.set_result(None)


class House:
    """What the call meets: LiveKit, whose rooms can be deleted, and the call log."""

    def __init__(self, settings, monkeypatch):
        self.settings, self.rooms, self.dialled, self.refuses = settings, [], [], None
        monkeypatch.setattr(calls, "RoomPhone", self._phone)
        monkeypatch.setattr(calls, "RECORDED_WITHIN", 0.5)
        monkeypatch.setattr(calls, "LOOK", 0.05)
        monkeypatch.setattr(calls.LiveKit, "delete_room", self._delete)
        monkeypatch.setattr(dialing, "dial", self._dial)
        self.answers = "We are open from nine."
        self.heard = QUESTION
        self.log = CallLog.open(settings.store.url)

    def _phone(self, *arguments, **options):
        self.phone = Phone(*arguments, **options)
        return self.phone

    async def _delete(self, room):
        self.rooms.append(room)

    async def _dial(self, _livekit, room, order):
        self.dialled.append((room, order.to, order.trunk, self.phone.begun))
        if self.refuses:
            raise self.refuses

    def take(self, room):
        """A worker answers the call in `room`."""
        events = [
            CallOpened(
                call_id=CALL, seq=1, room=room, room_sid="RM", job_id="AJ", agent_name="", pid=1
            ),
            TurnFinished(call_id=CALL, seq=2, turn=0, agent_text="Hello."),
        ]
        if self.heard is not None:
            events += [
                TurnCommitted(call_id=CALL, seq=3, turn=1, user_text=self.heard),
                TurnFinished(call_id=CALL, seq=4, turn=1, agent_text=self.answers),
            ]
        events.append(CallEnded(call_id=CALL, seq=5, reason=EndReason.CALLER_HANGUP))
        self.log.apply("host/a", events)

    async def place(self, worker="host/a", *, is_taken=True, **section):
        settings = self.settings.model_copy(update={"canary": Canary(**section)})
        token = calls._token

        def noted(settings, ring, room, *rest, **options):
            if is_taken:
                self.take(room)
            return token(settings, ring, room, *rest, **options)

        calls._token = noted
        try:
            return await calls.place(settings, load_ring(settings), worker)
        finally:
            calls._token = token


@pytest.fixture
def house(tmp_path, monkeypatch):
    monkeypatch.setenv("LIVEKIT_URL", "ws://127.0.0.1:9")
    monkeypatch.setenv("LIVEKIT_API_KEY", "key")
    monkeypatch.setenv("LIVEKIT_API_SECRET", canaries.secret())
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/calls.db")
    house = House(configuration.load(), monkeypatch)
    yield house
    house.log.close()


async def test_a_call_tells_who_answered_how_soon_and_what_was_understood(house):
    house.heard = "what are opening hours"
    result = await house.place()
    assert (result.well, result.asked, result.worker, result.call) == (
        *(True, "host/a", "host/a"),
        CALL,
    )
    assert (result.greeted_after, result.answered_after) == (1.25, 0.7)
    assert result.word_accuracy == pytest.approx(0.8)
    assert house.rooms == [result.room]
    assert result.room.startswith("voice-ai-canary-")
    assert house.phone.left


async def test_a_call_that_is_late_has_failed(house):
    result = await house.place(greeting_within=1)
    assert (result.well, result.why) == (False, "greeted after 1.25 s, more than 1 s")


async def test_what_sounds_like_an_answer_is_none_when_the_record_has_none(house):
    house.answers = ""
    result = await house.place()
    assert (result.well, result.why) == (False, "what was heard was no answer: the record has none")


async def test_words_that_were_not_understood_count_as_wrong(house):
    house.heard = None
    assert (await house.place()).word_accuracy == 0


async def test_nobody_answers(house, monkeypatch):
    monkeypatch.setattr(Phone, "greeted_after", None)
    monkeypatch.setattr(Phone, "latencies", [])
    result = await house.place(is_taken=False)
    assert (result.well, result.worker, result.word_accuracy) == (False, "", None)
    assert result.why == "no greeting was heard"
    assert house.rooms == [result.room]


@pytest.mark.parametrize("error", [rtc.ConnectError("refused"), TimeoutError()])
async def test_a_server_that_lets_nobody_in(house, monkeypatch, error):
    monkeypatch.setattr(Phone, "refuses", error)
    with pytest.raises(NotPlaced, match="let nobody in"):
        await house.place(is_taken=False)
    assert len(house.rooms) == 1


async def test_a_number_is_rung_and_the_clock_begins_with_the_answer(house):
    result = await house.place("", is_taken=False, number="+15550100")
    ((room, to, trunk, begun),) = house.dialled
    assert (room, to, trunk, begun) == (result.room, "+15550100", "", 0)
    assert house.phone.begun == 1
    assert (result.well, result.word_accuracy, result.call) == (True, None, "")
    assert house.rooms == [room]


async def test_a_number_that_is_not_answered_is_said_without_the_number(house):
    house.refuses = DialFailed(EndReason.CALLEE_BUSY, "SIP 486", 486)
    with pytest.raises(NotPlaced) as told:
        await house.place("", is_taken=False, number="+15550100")
    assert str(told.value) == "canary.number: callee_busy: SIP 486"
    assert (house.phone.begun, house.phone.left, len(house.rooms)) == (0, True, 1)
