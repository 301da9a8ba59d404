"""Phrases are synthesised once, kept on disk, and played with every provider down."""

from __future__ import annotations

import asyncio
import wave

import pytest
from livekit.agents import APIConnectionError

from agent import phrases as module
from agent import providers
from agent.phrases import PhraseCache, Phrases, Sound
from config.persona import load_personas
from config.settings import load
from plugins import offline

TEXT, VOICE = "Hello there.", "offline/espeak-ng/en-us/1/en"


@pytest.fixture
def cache(tmp_path):
    return PhraseCache(tmp_path / "phrases")


class Session:
    """Notes what it is asked to say."""

    def __init__(self):
        self.said = []

    def say(self, text, *, audio=None, allow_interruptions=True):
        self.said.append((text, audio, allow_interruptions))
        return f"speech {len(self.said)}"


class Silent:
    """A provider that is down."""

    def __init__(self):
        self.asked = 0

    def synthesize(self, text):
        self.asked += 1
        raise APIConnectionError


@pytest.fixture
async def voice():
    async with offline.TTS(voice="en-us") as voice:
        yield voice


async def test_a_phrase_is_synthesised_once(cache, voice):
    made = await cache.make(TEXT, VOICE, voice)
    assert made.duration > 0.3
    assert await cache.make(TEXT, VOICE, Silent()) == made
    assert cache.find(TEXT, VOICE) == made


async def test_another_voice_or_text_is_another_sound(cache, voice):
    await cache.make(TEXT, VOICE, voice)
    assert cache.find(TEXT, "another voice") is None
    assert cache.find("Another text.", VOICE) is None


async def test_a_file_is_there_whole_or_not_at_all(cache, voice, tmp_path):
    made = await cache.make(TEXT, VOICE, voice)
    (file,) = (tmp_path / "phrases").iterdir()
    assert file.suffix == ".wav"
    whole = file.read_bytes()
    for damaged in (b"", whole[:20], b"not a sound at all, but long enough for a header"):
        file.write_bytes(damaged)
        assert cache.find(TEXT, VOICE) is None
        again = await cache.make(TEXT, VOICE, voice)
        assert again.duration == pytest.approx(made.duration, rel=0.1)
        assert cache.find(TEXT, VOICE) == again


async def test_what_is_being_written_is_not_found_yet(cache, voice, tmp_path):
    await cache.make(TEXT, VOICE, voice)
    (file,) = (tmp_path / "phrases").iterdir()
    file.rename(file.with_suffix(".4711.part"))
    assert cache.find(TEXT, VOICE) is None


async def test_a_kept_sound_is_an_ordinary_wav(cache, voice, tmp_path):
    made = await cache.make(TEXT, VOICE, voice)
    (file,) = (tmp_path / "phrases").iterdir()
    with wave.open(str(file)) as sound:
        assert (sound.getnchannels(), sound.getsampwidth()) == (1, 2)
        assert sound.getframerate() == made.rate


async def test_a_sound_comes_in_frames_of_20_ms():
    sound = Sound(b"\1\0" * 500, 8000)
    frames = [frame async for frame in sound.frames()]
    assert [frame.samples_per_channel for frame in frames] == [160] * 4
    assert bytes(frames[-1].data) == b"\1\0" * 20 + b"\0\0" * 140
    assert sound.duration == pytest.approx(0.0625)


async def test_a_phrase_is_given_a_little_ahead_of_the_time_at_which_it_is_heard(monkeypatch):
    monkeypatch.setattr(module, "LEAD", 0.1)
    sound = Sound(b"\1\0" * 3200, 8000)
    whole = [bytes(frame.data) async for frame in sound.frames()]
    clock = asyncio.get_running_loop().time
    begun, given, ahead = clock(), [], []
    async for frame in sound.spoken():
        given.append(bytes(frame.data))
        ahead.append(len(given) * 0.02 - (clock() - begun))
    assert given == whole
    assert max(ahead) <= 0.1 + 0.02 * module.PIECE + 0.01
    assert clock() - begun >= 0.4 - 0.1 - 0.02 * module.PIECE


async def test_a_phrase_that_is_not_taken_yet_has_not_begun(monkeypatch):
    monkeypatch.setattr(module, "LEAD", 0.1)
    clock = asyncio.get_running_loop().time
    spoken = Sound(b"\1\0" * 2400, 8000).spoken()
    await anext(spoken)
    await asyncio.sleep(0.3)  # the caller's telephone is not connected yet
    begun = clock()
    async for _ in spoken:
        pass
    assert clock() - begun >= 0.3 - 0.1 - 0.02 * module.PIECE


TEXTS = {"greeting": TEXT, "farewell": "Goodbye."}


class Hanging:
    """A provider that takes requests and never answers."""

    async def __aenter__(self):
        await asyncio.Event().wait()

    async def __aexit__(self, *error):
        pass

    def synthesize(self, text):
        return self


async def test_filling_tells_which_phrases_are_missing(cache, voice, caplog):
    down = Silent()
    phrases = Phrases(TEXTS, [VOICE], cache)
    assert await phrases.fill({VOICE: down}) == ["greeting", "farewell"]
    assert phrases.lacking() == ["greeting", "farewell"]
    assert "a phrase could not be synthesised" in caplog.messages
    assert await phrases.fill({VOICE: voice}) == []
    asked = down.asked
    assert await phrases.fill({VOICE: down}) == []
    assert down.asked == asked


@pytest.mark.parametrize("first", [Silent(), Hanging()])
async def test_the_next_voice_says_what_the_first_cannot(cache, voice, first, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    phrases = Phrases(TEXTS, ["first", VOICE], cache)
    lacking = await phrases.fill({"first": first, VOICE: voice})
    assert lacking == ["greeting", "farewell"]  # in the first voice
    assert phrases.lacking() == []
    assert phrases.find("greeting") == cache.find(TEXT, VOICE)
    assert await phrases.fill({"first": voice, VOICE: Silent()}) == []
    assert phrases.find("greeting") == cache.find(TEXT, "first") is not None


async def test_the_first_voice_is_preferred(cache, voice):
    phrases = Phrases(TEXTS, ["first", VOICE], cache)
    other = await cache.make(TEXT, VOICE, voice)
    assert phrases.find("greeting") == other
    async with offline.TTS(voice="en-us+f3") as better:
        mine = await cache.make(TEXT, "first", better)
    assert phrases.find("greeting") == mine != other


async def test_a_cached_phrase_is_played_with_the_provider_down(cache, voice):
    phrases = Phrases({"greeting": TEXT}, [VOICE], cache)
    await phrases.fill({VOICE: voice})
    session = Session()
    assert phrases.say(session, "greeting", interruptible=False) == "speech 1"
    ((text, audio, allow),) = session.said
    assert (text, allow) == (TEXT, False)
    assert len([frame async for frame in audio]) > 10
    assert phrases["greeting"] == TEXT


async def test_a_phrase_that_is_not_cached_is_left_to_the_session(cache):
    session = Session()
    Phrases({"greeting": TEXT}, [VOICE], cache).say(session, "greeting")
    assert session.said == [(TEXT, None, True)]


async def test_a_sound_keeps_its_length_at_another_rate():
    sound = Sound(bytes(2 * 24000), 24000)
    assert sound.at(24000) is sound
    assert sound.at(8000).rate == 8000
    assert sound.at(8000).duration == pytest.approx(1.0, abs=0.05)


def test_the_cache_key_names_all_that_can_be_heard(tmp_path):
    settings = load(environ={"VOICE_AGENT__DATA__FOLDER": str(tmp_path)})
    personas = load_personas(settings.personas.folder)
    offline_label = "offline/espeak-ng/en-us/1/en"
    assert providers.voice_labels(settings, personas["en"]) == {"offline": offline_label}
    keyed = load(environ={"CARTESIA_API_KEY": "k"})
    labels = providers.voice_labels(keyed, personas["en"].model_copy(update={"language": "en"}))
    assert labels == {
        "cartesia": f"cartesia/sonic-3/{personas['en'].voice.cartesia}/1/en",
        "offline": offline_label,
    }
