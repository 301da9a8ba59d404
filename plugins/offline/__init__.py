"""A LiveKit Agents plugin that needs no key, server or download: STT, TTS and LLM.

Speech to text is PocketSphinx (English, a vocabulary given beforehand), text to speech is eSpeak
NG (GPL-3), answers are looked up by words. Demo grade, and the last resort when all else is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from livekit.agents import Plugin

from plugins.offline import recognizer
from plugins.offline.espeak import SAMPLE_RATE, EspeakError, synthesize
from plugins.offline.language_model import vocabulary
from plugins.offline.llm import LLM
from plugins.offline.pronunciation import unknown_words
from plugins.offline.stt import STT
from plugins.offline.topics import Topic
from plugins.offline.tts import TTS

__all__ = [
    "LLM",
    "SAMPLE_RATE",
    "STT",
    "TTS",
    "EspeakError",
    "Topic",
    "preload",
    "synthesize",
    "vocabulary_gaps",
]

__version__ = "0.1.0"


def preload() -> None:
    """Load now what the first call would load: for the process that others are forked from.

    It loads the acoustic model of PocketSphinx and the library and data of eSpeak NG, 12 MB that
    forked processes share, in about 0.1 s. Safe before a fork: no thread is started.
    """
    recognizer.preload(synthesize("hello"))


def vocabulary_gaps(phrases: Iterable[str]) -> list[str]:
    """The words of `phrases` that the dictionary lacks: their sound is guessed from the spelling.

    A name that is misheard is better written as it sounds ("wye fye").
    """
    return unknown_words(vocabulary(phrases))


class OfflinePlugin(Plugin):
    """What the framework knows about this package."""

    def __init__(self) -> None:
        super().__init__(__name__, __version__, __name__, logging.getLogger(__name__))


Plugin.register_plugin(OfflinePlugin())
