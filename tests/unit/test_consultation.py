"""A warm transfer: who hears whom meanwhile, and what a colleague's answer means."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from livekit import rtc

from agent import consultation
from agent.availability import Availability
from agent.call import EndReason
from agent.consultation import Apart, Briefing, consult, decision
from agent.dialing import DialFailed, Order
from agent.ears import Ears
from agent.errors import NotFound, TransferFailed
from plugins import offline

BRIEFING = Briefing(Order("tel:+15550111", identity="colleague"), ("hello",), "well?", "en")


@pytest.mark.parametrize(
    ("heard", "language", "taken"),
    [
        ("Yes.", "en", True),
        ("yeah, put them through", "en", True),
        ("No, not now", "en", False),
        ("I can\u2019t", "en", False),
        ("yes but I am busy", "en", False),
        ("hello?", "en", None),
        ("", "en", None),
        ("yes this is the mailbox of Bob please leave a message", "en", None),
        ("Да, соединяйте", "ru", True),
        ("Нет, я занят", "ru", False),
        ("алло", "ru", None),
    ],
)
def test_only_a_short_yes_takes_the_call(heard, language, taken):
    assert decision(heard, language) is taken


class Room(rtc.EventEmitter):
    """A room with the agent and the caller, as far as it is looked at."""

    def __init__(self):
        super().__init__()
        self.remote_participants = {"caller": person("caller", "TR_caller"), "EG_1": person("EG_1")}
        self.permissions = []
        self.local_participant = SimpleNamespace(
            track_publications={"TR_voice": None},
            set_track_subscription_permissions=lambda **told: self.permissions.append(told),
        )

    def isconnected(self):
        return True

    def joins(self, who):
        self.remote_participants[who.identity] = who
        self.emit("participant_connected", who)

    @property
    def may_hear(self):
        """What of the agent each participant may hear now."""
        told = self.permissions[-1]
        if told["allow_all_participants"]:
            return "everything"
        return {
            one.participant_identity: list(one.allowed_track_sids)
            for one in told["participant_permissions"]
        }


def person(identity, *tracks):
    return SimpleNamespace(identity=identity, track_publications=dict.fromkeys(tracks))


class Context:
    """A job's context with the room's API."""

    def __init__(self):
        self.room = Room()
        self.job = SimpleNamespace(room=SimpleNamespace(name="room-1"))
        livekit = SimpleNamespace(room=self)
        self.proc = SimpleNamespace(userdata={"livekit": livekit})
        self.subscriptions, self.removed = [], []
        self.parted = asyncio.Event()
        self.error = None

    async def update_subscriptions(self, request):
        self.subscriptions.append((request.identity, list(request.track_sids), request.subscribe))
        if len(self.subscriptions) == 2:
            self.parted.set()

    async def remove_participant(self, request):
        self.removed.append((request.room, request.identity))
        if self.error:
            raise self.error


@pytest.fixture
def context():
    return Context()


async def test_they_are_apart_until_the_colleague_agrees(context):
    apart = Apart(context, "caller", "colleague")
    async with apart.kept():
        assert context.room.may_hear == {
            "caller": ["TR_voice"],
            "EG_1": ["TR_voice"],
            "colleague": [],
        }
        context.room.joins(person("colleague", "TR_colleague"))
        context.room.local_participant.track_publications["TR_second"] = None
        context.room.emit("local_track_published", None, None)
        assert context.room.may_hear["colleague"] == ["TR_second"]
        assert context.room.may_hear["caller"] == ["TR_voice"]
        await asyncio.wait_for(context.parted.wait(), 5)
        assert context.subscriptions[:2] == [
            ("caller", ["TR_colleague"], False),
            ("colleague", ["TR_caller"], False),
        ]
        await apart.join()
        assert context.subscriptions[-2:] == [
            ("caller", ["TR_colleague"], True),
            ("colleague", ["TR_caller"], True),
        ]
    assert context.room.may_hear == "everything"
    assert context.removed == []


async def test_a_colleague_who_does_not_take_the_call_is_put_out(context):
    with pytest.raises(RuntimeError):
        async with Apart(context, "caller", "colleague").kept():
            raise RuntimeError
    assert context.removed == [("room-1", "colleague")]
    assert context.room.may_hear == "everything"
    assert not context.room._events["participant_connected"]


async def test_a_colleague_who_has_left_need_not_be_put_out(context, caplog):
    context.error = NotFound()
    async with Apart(context, "caller", "colleague").kept():
        pass
    assert caplog.messages == []


def answering(monkeypatch, answers):
    """A colleague who picks up, and does what `answers(context, answer)` says."""

    async def dial(livekit, room, order):
        assert order is BRIEFING.order

    async def ask(ctx, answer, callers, briefing):
        answers(ctx, answer)

    monkeypatch.setattr(consultation, "dial", dial)
    monkeypatch.setattr(consultation, "_ask", ask)


async def test_the_colleague_agrees(context, monkeypatch):
    answering(monkeypatch, lambda _, answer: answer.set_result(True))
    context.room.joins(person("colleague", "TR_colleague"))
    await consult(context, "caller", None, BRIEFING)
    assert ("caller", ["TR_colleague"], True) in context.subscriptions
    assert context.removed == []


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (lambda _, answer: answer.set_result(False), "declined"),
        (lambda *_: None, "did not say"),
        (
            lambda ctx, _: ctx.room.emit("participant_disconnected", person("colleague")),
            "hung up",
        ),
    ],
)
async def test_the_colleague_does_not_take_it(context, monkeypatch, answers, why):
    answering(monkeypatch, answers)
    with pytest.raises(TransferFailed, match=why):
        await consult(context, "caller", None, BRIEFING)
    assert context.removed == [("room-1", "colleague")]


async def test_they_are_parted_again_when_the_colleague_picks_up(context, monkeypatch):
    async def dial(livekit, room, order):
        # It rang for so long that the parting at the joining is over.
        context.room.remote_participants["colleague"] = person("colleague", "TR_colleague")

    async def ask(ctx, answer, callers, briefing):
        await context.parted.wait()
        answer.set_result(False)

    monkeypatch.setattr(consultation, "dial", dial)
    monkeypatch.setattr(consultation, "_ask", ask)
    with pytest.raises(TransferFailed, match="declined"):
        await asyncio.wait_for(consult(context, "caller", None, BRIEFING), 5)
    assert ("colleague", ["TR_caller"], False) in context.subscriptions


async def test_nobody_picks_up(context, monkeypatch):
    async def dial(livekit, room, order):
        raise DialFailed(EndReason.CALLEE_BUSY, "SIP 486", 486)

    monkeypatch.setattr(consultation, "dial", dial)
    with pytest.raises(TransferFailed, match="nobody took the call: SIP 486"):
        await consult(context, "caller", None, BRIEFING)


class Talk(rtc.EventEmitter):
    """The colleague's session, in which nothing is heard or said."""

    def __init__(self, *, stt, **_):
        super().__init__()
        self.stt = stt

    async def start(self, *_, **__):
        pass

    async def aclose(self):
        pass

    def say(self, _words, **_):
        self.emit("user_state_changed", SimpleNamespace(new_state="speaking"))
        return SimpleNamespace(wait_for_playout=asyncio.Event().wait, interrupt=lambda **_: None)


async def test_the_colleagues_ears_are_not_the_callers(context, monkeypatch):
    talks = []
    monkeypatch.setattr(
        consultation, "AgentSession", lambda **given: talks.append(Talk(**given)) or talks[-1]
    )
    told = asyncio.Queue()
    monkeypatch.setattr(Ears, "caller_is", lambda ears, speaking: told.put_nowait((ears, speaking)))
    ears = Ears([("offline", offline.STT(phrases=("yes",)))], Availability(), {}, 0.2)
    callers = SimpleNamespace(vad=None, stt=ears, tts=None)
    answer = asyncio.get_running_loop().create_future()
    asking = asyncio.create_task(consultation._ask(context, answer, callers, BRIEFING))
    who = await asyncio.wait_for(told.get(), 5)
    answer.set_result(False)
    await asyncio.wait_for(asking, 5)
    assert talks[0].stt is not ears
    assert talks[0].stt.chain == ears.chain
    assert who == (talks[0].stt, True)
    await ears.aclose()


async def test_a_colleague_who_can_never_be_told_has_not_answered(context, monkeypatch):
    monkeypatch.setattr(consultation, "AgentSession", Talk)
    monkeypatch.setattr(consultation, "CONSULTED_WITHIN", 0.01)
    answer = asyncio.get_running_loop().create_future()
    callers = SimpleNamespace(vad=None, stt=None, tts=None)
    await asyncio.wait_for(consultation._ask(context, answer, callers, BRIEFING), 5)
    assert not answer.done()


class Cut:
    """What is said to a colleague who says hello over it: it is cut off where it may be."""

    def __init__(self, *, allow_interruptions):
        self.interrupted = allow_interruptions

    async def wait_for_playout(self):
        pass


async def test_words_that_a_hello_cut_off_are_said_again_to_their_end(context, monkeypatch):
    said = []

    class Spoken(Talk):
        def say(self, words, *, allow_interruptions):
            said.append((words, allow_interruptions))
            if words == BRIEFING.question and not allow_interruptions:
                answer.set_result(True)
                return SimpleNamespace(
                    wait_for_playout=asyncio.Event().wait,
                    interrupt=lambda force: said.append(("cut", force)),
                )
            return Cut(allow_interruptions=allow_interruptions)

    monkeypatch.setattr(consultation, "AgentSession", Spoken)
    answer = asyncio.get_running_loop().create_future()
    callers = SimpleNamespace(vad=None, stt=None, tts=None)
    await asyncio.wait_for(consultation._ask(context, answer, callers, BRIEFING), 5)
    assert said == [
        ("hello", True),
        ("hello", False),
        ("well?", True),
        ("well?", False),
        ("cut", True),
    ]
