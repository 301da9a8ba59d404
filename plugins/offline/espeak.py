"""eSpeak NG in this process: text to samples, and text to phonemes.

The library keeps its state in globals, so there is one instance a process and one lock around it.
The calls release the GIL while the library works. API: espeak-ng/speak_lib.h.
"""

from __future__ import annotations

import ctypes
import threading
from functools import cache

import espeakng_loader
import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 22050
"""Samples a second of everything that `synthesize` returns."""

Samples = NDArray[np.int16]

PEAK = 0.6
"""Loudest sample of a sentence, of full scale (-4.4 dBFS)."""
AUDIBLE = 0.0056
"""What counts as the first sound, of full scale (-45 dBFS)."""
LEAD = int(0.004 * SAMPLE_RATE)
"""Samples kept before the first sound, so that its onset is not a click."""
TAIL = int(0.12 * SAMPLE_RATE)
"""Samples kept after the last sound: the pause before a next sentence."""

VOICE_FILES = {"en-gb": "en"}
"""Languages whose voice file bears another name."""

_SYNCHRONOUS = 2
_DO_NOT_EXIT = 0x8000
_UTF8 = 1
_RATE = 1
_POSITION_CHARACTER = 1
_SEPARATE_PHONEMES = ord("_") << 8

_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class EspeakError(RuntimeError):
    """eSpeak NG cannot be used, or refused a voice or a text."""


def synthesize(text: str, voice: str = "en-us", speed: int = 165) -> Samples:
    """Speak `text`: mono samples at SAMPLE_RATE, silence before the first sound cut away.

    `voice` is a language and optionally a variant ("en-us", "en-gb", "en-us+f3", "ru"), `speed`
    is words a minute (80 to 450). A text with nothing to say gives no samples.
    Blocks for about 1 % of the length of the speech. Raises EspeakError.
    """
    return _trim(_normalise(_engine().speak(text, voice, speed)))


def phonemes(text: str, voice: str = "en-us") -> list[str]:
    """The phonemes of a word or phrase as eSpeak mnemonics, without marks of stress and length."""
    marks = _engine().transcribe(text, voice).replace(" ", "_").split("_")
    return [phoneme for mark in marks if (phoneme := mark.strip("',%=|:;-"))]


_starting = threading.Lock()


def _engine() -> _Engine:
    # `cache` alone would let two threads that come first initialise the library at once.
    with _starting:
        return _only_engine()


@cache
def _only_engine() -> _Engine:
    return _Engine()


class _Engine:
    """The library, initialised once. Its callback collects the audio of the running call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._voice = ""
        self._pieces: list[bytes] = []
        self._on_audio = _Callback(self._collect)  # kept: the library holds only a bare pointer
        try:
            self._lib = ctypes.CDLL(espeakng_loader.get_library_path())
            data = espeakng_loader.get_data_path()
        except (OSError, RuntimeError) as error:
            raise EspeakError(f"eSpeak NG could not be loaded: {error}") from error
        self._lib.espeak_TextToPhonemes.restype = ctypes.c_char_p
        rate = self._lib.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), _DO_NOT_EXIT)
        if rate != SAMPLE_RATE:
            raise EspeakError(f"eSpeak NG did not start with its data in {data} (answer {rate})")
        self._lib.espeak_SetSynthCallback(self._on_audio)

    def speak(self, text: str, voice: str, speed: int) -> Samples:
        encoded = text.encode() + b"\0"
        with self._lock:
            self._choose(voice)
            self._lib.espeak_SetParameter(_RATE, speed, 0)
            self._pieces = []
            answer = self._lib.espeak_Synth(
                encoded, len(encoded), 0, _POSITION_CHARACTER, 0, _UTF8, None, None
            )
            audio = b"".join(self._pieces)
        if answer != 0:
            raise EspeakError(f"eSpeak NG refused to speak {len(text)} characters ({answer})")
        return np.frombuffer(audio, dtype=np.int16)

    def transcribe(self, text: str, voice: str) -> str:
        buffer = ctypes.create_string_buffer(text.encode())
        rest = ctypes.c_void_p(ctypes.addressof(buffer))
        clauses = []
        with self._lock:
            self._choose(voice)
            while rest.value:
                clause = self._lib.espeak_TextToPhonemes(
                    ctypes.byref(rest), _UTF8, _SEPARATE_PHONEMES
                )
                clauses.append((clause or b"").decode())
        return "_".join(clauses)

    def _choose(self, voice: str) -> None:
        if voice == self._voice:
            return
        base, plus, variant = voice.partition("+")
        name = VOICE_FILES.get(base.lower(), base) + plus + variant
        if self._lib.espeak_SetVoiceByName(name.encode()) != 0:
            raise EspeakError(f'eSpeak NG has no voice "{voice}"')
        self._voice = voice

    def _collect(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int) -> int:
        if samples and count > 0:
            self._pieces.append(ctypes.string_at(samples, count * 2))
        return 0


def _normalise(samples: Samples) -> Samples:
    peak = max(int(samples.max(initial=0)), -int(samples.min(initial=0)))
    if peak == 0:
        return samples[:0]
    return (samples * np.float32(PEAK * 32767 / peak)).astype(np.int16)


def _trim(samples: Samples) -> Samples:
    audible = np.flatnonzero(np.abs(samples) > AUDIBLE * 32767)
    if audible.size == 0:
        return samples[:0]
    return samples[max(0, int(audible[0]) - LEAD) : int(audible[-1]) + TAIL]
