"""A caller who cannot be served hears why, from the cache, and nothing is made for it."""

from __future__ import annotations

import pytest
from livekit.agents.voice.io import AudioOutput, AudioOutputCapabilities

from agent import courtesy, providers
from agent.call import EndReason, Verdict
from agent.ending import Ending
from agent.phrases import PhraseCache, Sound
from config.persona import load_personas
from config.sections import Settings
from config.settings import ROOT

PERSONAS = load_personas(ROOT / "config" / "personas")


class Ear(AudioOutput):
    """Hears at once what is said."""

    def __init__(self):
        super().__init__(
            label="ear", capabilities=AudioOutputCapabilities(pause=False), sample_rate=8000
        )
        self.heard = bytearray()

    async def capture_frame(self, frame):
        await super().capture_frame(frame)
        self.heard += frame.data.cast("B")

    def flush(self):
        super().flush()
        self.on_playback_finished(playback_position=len(self.heard) / 16000, interrupted=False)

    def clear_buffer(self):
        pass


class Leg:
    def __init__(self):
        self.ear, self.session = Ear(), None

    async def start(self, session, agent):
        self.session = session
        session.output.audio = self.ear
        await session.start(agent, session_host=False, record=False)


@pytest.fixture
def settings(tmp_path):
    return Settings.model_validate(
        {
            "data": {"folder": tmp_path},
            "providers": {"deepgram": {"api_key": "k"}, "openai": {"api_key": "k"}},
        }
    )


@pytest.fixture
async def leg():
    leg = Leg()
    yield leg
    if leg.session:
        await leg.session.aclose()


@pytest.mark.parametrize("name", ["en", "ru"])
@pytest.mark.parametrize(
    ("verdict", "phrase", "reason"),
    [
        (Verdict.BUSY, "busy", EndReason.REJECTED_BUSY),
        (Verdict.CLOSED, "closed", EndReason.REJECTED_CLOSED),
    ],
)
async def test_the_phrase_of_the_verdict_is_heard_in_the_personas_voice(
    settings, leg, name, verdict, phrase, reason
):
    persona, ending = PERSONAS[name], Ending()
    said = b"\x01\x02" * 800
    text = getattr(persona.phrases, phrase)
    voice = providers.voice_labels(settings, persona)["offline"]
    PhraseCache.of(settings)._keep(text, voice, Sound(said, 8000))
    await courtesy.answer(leg, persona, settings, verdict, ending)
    assert bytes(leg.ear.heard) == said
    assert ending.reason is reason
    session = leg.session
    assert (session.stt, session.llm, session.tts, session.vad) == (None, None, None, None)


@pytest.mark.parametrize("verdict", [Verdict.BLOCKED, Verdict.TOO_OFTEN])
async def test_nobody_picks_up_for_a_caller_who_is_not_wanted(settings, leg, verdict):
    ending = Ending()
    await courtesy.answer(leg, PERSONAS["en"], settings, verdict, ending)
    assert leg.session is None
    assert ending.reason is verdict.end_reason


async def test_without_the_phrase_the_call_ends_all_the_same(settings, leg, caplog):
    ending = Ending()
    await courtesy.answer(leg, PERSONAS["en"], settings, Verdict.BUSY, ending)
    assert leg.session is None
    assert ending.reason is EndReason.REJECTED_BUSY
    assert "a phrase is not in the cache" in caplog.messages


def test_every_verdict_but_one_ends_a_call():
    reasons = {verdict.end_reason for verdict in Verdict if verdict is not Verdict.ADMITTED}
    assert len(reasons) == len(Verdict) - 1
