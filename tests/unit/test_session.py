"""Persona and speech become a session of the framework."""

from __future__ import annotations

import pytest

from agent import session, speech
from config.persona import load_personas
from config.settings import ROOT, load

EN = load_personas(ROOT / "config" / "personas")["en"]


@pytest.fixture
def built():
    settings = load(environ={})
    limits = EN.limits.model_copy(update={"tool_steps": 2})
    persona = EN.model_copy(update={"limits": limits})
    return speech.build(settings, persona, speech.hearing(settings)), persona


async def test_tools_are_not_used_without_end(built):
    assert session.build(*built).options.max_tool_steps == 2


async def test_a_whole_sentence_goes_to_the_voice_at_once_and_without_marks(built):
    (spoken,) = session.build(*built).options.tts_text_transforms

    async def sentences():
        yield "It is **sixty** dollars! "
        yield "Thank you 😀."

    assert [piece async for piece in spoken(sentences())] == [
        "It is sixty dollars! ",
        "Thank you .",
    ]
