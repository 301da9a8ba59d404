"""Who listens when: connections that break, that go quiet, that are better than others."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from livekit import rtc
from livekit.agents import APIConnectionError, APIStatusError

from agent.availability import Availability, State
from agent.relay import DEAF, MUTE, PAUSES, PROVEN, Relay
from agent.unheard import Unheard

BROKEN = APIConnectionError("gone")
SOUND = rtc.AudioFrame(b"\x10\x00" * 320, 16000, 1, 320)
SILENCE = rtc.AudioFrame(bytes(640), 16000, 1, 320)


@dataclass(eq=False)
class Listener:
    name: str
    opened_at: float
    interims: bool = True
    has_withdrawn: bool = False
    told_at: float = float("-inf")
    asks: bool = False

    @property
    def has_answered(self):
        return self.told_at > float("-inf")

    def is_asking(self, _now):
        return self.asks


class Call:
    """One caller's relay on a clock of the test's."""

    def __init__(self, *names):
        self.now = 100.0
        self.opened, self.deaf, self.shed = [], [], []
        self.availability = Availability()
        self.unheard = Unheard(0.2, self.now)
        self.relay = Relay(
            names, self.availability, self.unheard, self._open, lambda: self.deaf.append(self.now)
        )
        self.relay.begin(self.now)

    def _open(self, name):
        self.opened.append(Listener(name, self.now))
        return self.opened[-1]

    @property
    def names(self):
        return [listener.name for listener in self.relay.listeners]

    def passes(self, seconds, sound=SILENCE):
        for _ in range(round(seconds / 0.02)):
            self.unheard.push(sound)
            self.now += 0.02
            self.shed += self.relay.look(self.now)

    def says(self, seconds):
        self.unheard.speaks(True, self.now)
        self.passes(seconds, SOUND)
        self.passes(0.2)
        self.unheard.speaks(False, self.now)

    def breaks(self, listener=None, error=BROKEN):
        self.relay.broke(listener or self.relay.listeners[0], error, self.now)

    def hears(self, listener, until=None, *, news=True):
        listener.told_at = self.now
        self.shed += self.relay.heard(listener, self.now, news=news)
        if until is not None:
            self.unheard.understood(until)


@pytest.fixture
def call():
    call = Call("one", "two", "three")
    call.opened[0].told_at = call.now
    return call


def test_one_listens_while_all_is_well(call):
    call.says(1)
    call.hears(call.opened[0], until=1.0)
    call.passes(60)
    assert [listener.name for listener in call.opened] == ["one"]


def test_a_connection_that_worked_is_made_again_once(call):
    call.says(1)
    call.breaks()
    assert call.names == ["one"]
    assert call.availability.is_up("stt", "one")
    call.breaks()
    assert call.names == ["two"]
    assert not call.availability.is_up("stt", "one")


def test_a_connection_that_never_worked_is_not():
    call = Call("one", "two")
    call.breaks()
    assert call.names == ["two"]


def test_nor_is_one_that_refuses_the_key(call):
    call.breaks(error=APIStatusError("no", status_code=401))
    assert call.names == ["two"]
    assert call.availability.state("stt", "one") is State.REFUSED


def test_a_quiet_connection_is_raced_by_its_like_and_then_by_the_next(call):
    call.says(1)
    call.passes(1.0)
    assert call.names == ["one", "one"]
    call.passes(0.6)
    assert call.names == ["one", "one", "two"]
    assert not call.relay.caught_up.is_set()
    call.hears(call.opened[2], until=1.0)
    assert call.names == ["two"]
    assert call.shed == call.opened[:2]
    assert not call.availability.is_up("stt", "one")
    call.relay.look_at_backlog()
    assert call.relay.caught_up.is_set()


def test_a_connection_made_in_a_silence_is_given_time_when_the_caller_begins(call):
    call.breaks()
    call.passes(1.4)
    call.unheard.speaks(True, call.now)
    call.passes(1.0, SOUND)
    assert call.names == ["one"]


@pytest.mark.parametrize("winner", [0, 1])
def test_whoever_of_the_same_provider_wins_it_has_not_failed(call, winner):
    call.says(1)
    call.passes(1.0)
    call.hears(call.opened[winner], until=1.0)
    assert call.shed == [call.opened[1 - winner]]
    assert call.availability.is_up("stt", "one")


def test_a_rival_that_breaks_makes_room_for_the_next(call):
    call.says(1)
    call.passes(0.8)
    call.breaks(call.relay.listeners[1])
    assert call.names == ["one", "two"]


def test_when_the_quiet_one_breaks_its_rival_is_its_second_chance(call):
    call.says(1)
    call.passes(0.8)
    call.breaks(call.relay.listeners[0])
    assert call.names == ["one"]
    assert call.availability.is_up("stt", "one")


def test_what_nobody_understands_was_noise(call):
    call.says(1)
    call.passes(6)
    assert call.names == ["one"]
    assert call.relay.listeners == [call.opened[1]]  # the newer of the two
    assert call.availability.is_up("stt", "one")
    assert call.relay.caught_up.is_set()
    assert call.deaf == []


def test_a_murmur_that_ends_without_words_is_no_reason_for_a_race(call):
    call.says(0.6)
    assert call.relay.heard_nothing(call.opened[0]) == []
    call.passes(5)
    assert len(call.opened) == 1


def test_of_a_whole_sentence_words_must_come(call):
    call.says(1.7)
    call.relay.heard_nothing(call.opened[0])
    call.passes(0.8)
    assert call.names == ["one", "one"]


def test_a_fresh_connection_that_makes_nothing_of_a_murmur_settles_it(call):
    call.says(0.6)
    call.passes(0.8)
    assert call.relay.heard_nothing(call.relay.listeners[0]) == []  # it is in doubt itself
    assert call.relay.heard_nothing(call.relay.listeners[1]) == [call.opened[0]]
    call.passes(3)
    assert call.names == ["one"]
    assert call.availability.is_up("stt", "one")


def test_words_that_were_played_at_once_choose_who_listens_and_settle_nothing(call):
    call.says(1.7)
    call.passes(0.8)
    call.hears(call.opened[1], news=False)
    assert call.relay.listeners == [call.opened[1]]
    call.passes(0.7)
    assert call.names == ["one", "two"]  # as if it had told nothing
    assert not call.relay.caught_up.is_set()
    call.hears(call.opened[2], news=False)
    assert call.availability.is_up("stt", "one")
    call.hears(call.opened[2], until=1.7)
    assert not call.availability.is_up("stt", "one")


def test_words_that_are_withdrawn_twice_were_a_murmur(call):
    call.says(1)
    call.opened[0].has_withdrawn = True
    assert call.relay.heard_nothing(call.opened[0]) == []
    call.passes(0.8)
    call.opened[1].has_withdrawn = True
    call.hears(call.opened[1], news=False)
    call.relay.heard_nothing(call.opened[1])
    call.passes(4)
    assert call.relay.caught_up.is_set()
    assert len(call.opened) == 2


def test_in_trouble_one_that_is_known_to_be_down_is_tried_last(call):
    call.availability.learn("stt", "two", State.DOWN)
    call.says(2)
    call.passes(2.4)
    assert [listener.name for listener in call.opened] == ["one", "one", "three", "two"]


def test_one_that_refuses_the_key_is_not(call):
    call.availability.learn("stt", "two", State.REFUSED)
    call.says(2)
    call.passes(2.4)
    assert [listener.name for listener in call.opened] == ["one", "one", "three"]


def test_sentences_that_nobody_answers_at_all_are_noise_and_then_a_failure():
    call = Call("one")
    for _ in range(MUTE - 1):
        call.says(2)
        call.passes(DEAF + 1)
        assert not call.unheard.is_pending
    assert call.deaf == []
    assert call.availability.is_up("stt", "one")
    call.says(2)
    ended = call.now
    call.passes(DEAF + 1)
    assert call.deaf == [pytest.approx(ended + DEAF + 0.3, abs=0.4)]
    assert call.availability.state("stt", "one") is State.DOWN
    assert call.unheard.is_pending


def test_words_in_between_show_that_it_was_noise():
    call = Call("one")
    for _ in range(MUTE):
        call.says(2)
        call.passes(DEAF + 1)
        call.says(1)
        call.hears(call.relay.listeners[0])
        call.passes(1)
    assert call.deaf == []


def test_a_sentence_of_which_something_was_heard_is_noise():
    call = Call("one")
    call.says(2)
    call.opened[0].told_at = call.now - 1  # it has heard speech begin
    call.passes(DEAF + 1)
    assert call.deaf == []
    assert call.availability.is_up("stt", "one")


def test_what_was_asked_and_not_answered_yet_is_no_noise():
    call = Call("one")
    call.relay.listeners[0].interims = False
    call.says(2)
    call.passes(2.7)
    call.relay.listeners[1].interims = False
    call.relay.listeners[1].asks = True
    call.passes(3)
    assert not call.relay.caught_up.is_set()
    call.hears(call.relay.listeners[1], until=2.0)
    call.passes(0.1)
    assert call.relay.caught_up.is_set()


def test_the_order_holds_what_is_known_to_be_down_is_passed_over(call):
    call.availability.learn("stt", "two", State.DOWN)
    call.breaks(error=APIStatusError("no", status_code=403))
    assert call.names == ["three"]


def test_with_all_known_to_be_down_one_is_tried_all_the_same(call):
    for name in ("one", "two", "three"):
        call.availability.learn("stt", name, State.DOWN)
    again = Call("one", "two")
    again.availability.learn("stt", "one", State.DOWN)
    again.availability.learn("stt", "two", State.DOWN)
    again.breaks()
    assert again.names == ["two"]


def test_when_all_are_gone_they_are_tried_at_growing_intervals():
    call = Call("one", "two")
    call.breaks()
    call.breaks()
    began = call.now
    for pause in PAUSES[:3]:
        count = len(call.opened)
        while len(call.opened) == count:
            call.passes(0.02)
        assert call.now - began == pytest.approx(pause, abs=0.1)
        call.breaks()
        call.breaks()
        began = call.now
    assert call.deaf == []  # nobody has spoken


def test_deafness_is_told_once_and_ends_with_the_next_words():
    call = Call("one")
    call.breaks()
    call.says(1)
    ended = call.now
    while not call.relay.listeners:
        call.passes(0.1)
    call.passes(DEAF + 5)
    assert call.deaf == [pytest.approx(ended + DEAF, abs=0.1)]
    call.hears(call.relay.listeners[0], until=1.0)
    call.breaks()
    call.breaks()
    call.says(1)
    call.passes(DEAF + 0.5)
    assert len(call.deaf) == 2


def test_where_every_key_is_refused_nobody_is_asked():
    call = Call("one")
    call.breaks(error=APIStatusError("no", status_code=401))
    call.passes(20)
    call.says(1)
    call.passes(DEAF + 0.2)
    assert len(call.opened) == 1
    assert len(call.deaf) == 1


def test_a_better_provider_takes_over_in_a_silence_only(call):
    call.breaks(error=APIStatusError("no", status_code=500))
    call.breaks()
    assert call.names == ["two"]
    second = call.relay.listeners[0]
    call.passes(PROVEN + 0.1)
    call.unheard.speaks(True, call.now)
    call.passes(0.5, SOUND)
    call.availability.learn("stt", "one", State.UP)
    call.passes(0.5, SOUND)
    assert call.names == ["two"]
    call.unheard.speaks(False, call.now)
    call.hears(second, until=call.unheard.position)
    call.passes(0.9)
    assert call.names == ["two"]
    call.passes(0.2)
    assert call.names == ["one"]
    assert second in call.shed
