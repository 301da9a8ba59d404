"""One connection: what it makes of a plugin's failures, and of transcripts without times."""

from __future__ import annotations

import time

import pytest
from livekit.agents import NOT_GIVEN, LanguageCode, stt
from livekit.agents.stt import SpeechEventType

from agent.listener import ANSWER, Listener
from agent.unheard import Unheard


class Broken(stt.STT):
    """A recogniser whose client cannot even begin."""

    def __init__(self, *, interims=True):
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=interims))

    async def _recognize_impl(self, buffer, *, language, conn_options):
        raise NotImplementedError

    def stream(self, **options):
        raise RuntimeError("no session")


def listener(told=None, *, interims=True):
    tell = told.append if told is not None else print
    return Listener("deepgram", Broken(interims=interims), NOT_GIVEN, tell)


async def test_a_client_that_cannot_begin_is_a_connection_that_broke():
    told = []
    one = listener(told)
    one.begin(0.0, 0.0, [])
    ((who, error),) = told
    assert (who, str(error)) == (one, "no session")
    one.push(None)
    one.flush()
    one.end_input()
    await one.aclose()


def heard(position, *ends):
    unheard = Unheard(0.2, 0.0)
    unheard.position = position
    unheard.ends.extend(ends)
    return unheard


START, END = SpeechEventType.START_OF_SPEECH, SpeechEventType.END_OF_SPEECH
INTERIM, FINAL = SpeechEventType.INTERIM_TRANSCRIPT, SpeechEventType.FINAL_TRANSCRIPT


def event(kind, text="", **values):
    ended = values.pop("end_time", 0.0)
    data = [stt.SpeechData(LanguageCode("en"), text, end_time=ended)] if text else []
    return stt.SpeechEvent(kind, alternatives=data, **values)


def test_a_transcript_ends_where_its_last_word_does():
    final = event(SpeechEventType.FINAL_TRANSCRIPT, "hello", end_time=107.5)
    assert listener().end_of(final, 100.0, heard(9.0)) == (7.5, True)


def test_without_times_of_words_it_ends_when_speech_did():
    final = event(SpeechEventType.FINAL_TRANSCRIPT, "hello", speech_end_time=time.time() - 1.5)
    until, exact = listener().end_of(final, 100.0, heard(9.0))
    assert (until, exact) == (pytest.approx(7.5, abs=0.05), False)
    final = event(SpeechEventType.FINAL_TRANSCRIPT, "hello")
    assert listener().end_of(final, 0.0, heard(9.0)) == (9.0, False)


def test_whole_utterances_that_are_heard_at_once_end_one_after_the_other():
    unheard = heard(9.0, 2.0, 4.5)
    one = listener(interims=False)
    final = event(SpeechEventType.FINAL_TRANSCRIPT, "hello", speech_end_time=time.time())
    ends = []
    for _ in range(3):
        one.is_wordless(event(END))
        ends.append(one.end_of(final, 0.0, unheard)[0])
    assert ends == [2.0, 4.5, pytest.approx(9.0, abs=0.05)]


@pytest.mark.parametrize(
    ("events", "interims", "wordless"),
    [
        ([event(START), event(END)], True, True),
        ([event(START), event(INTERIM, "hello"), event(END)], True, False),
        ([event(START), event(INTERIM, "hello"), event(END), event(START), event(END)], True, True),
        ([event(END)], True, False),
        ([event(START), event(END)], False, False),  # its words come after the end
    ],
)
def test_speech_may_end_without_words(events, interims, wordless):
    one = listener(interims=interims)
    assert [one.is_wordless(each) for each in events][-1] is wordless


@pytest.mark.parametrize(
    ("events", "withdrawn"),
    [
        ([event(START), event(INTERIM, "hello"), event(END)], True),
        ([event(START), event(INTERIM, "hello"), event(FINAL, "hello"), event(END)], False),
        ([event(START), event(END)], False),
        ([event(START), event(INTERIM, "hello"), event(END), event(START)], False),
    ],
)
def test_words_without_a_final_transcript_are_withdrawn(events, withdrawn):
    one = listener()
    for each in events:
        one.is_wordless(each)
    assert one.has_withdrawn is withdrawn


def test_an_interim_of_what_was_played_at_once_is_no_news():
    one = listener()
    assert not one.is_news(event(INTERIM, "hello"), 0.0)
    assert one.is_news(event(INTERIM, "hello", end_time=0.4), 0.0)
    assert one.is_news(event(FINAL, "hello"), 0.0)


def test_a_whole_utterance_is_asked_about_until_it_is_answered():
    one = listener(interims=False)
    assert not one.is_asking(time.monotonic())
    one.is_wordless(event(END))
    assert one.is_asking(time.monotonic())
    assert not one.is_asking(time.monotonic() + ANSWER + 1)
    one.is_wordless(event(FINAL, "hello"))
    assert not one.is_asking(time.monotonic())
