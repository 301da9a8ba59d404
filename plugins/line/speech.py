"""The caller's sound before the call: texts, pauses and recorded files become 8 kHz samples."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
from livekit import rtc

from plugins.line.g711 import RATE, Samples
from plugins.line.hearing import amplitude
from plugins.line.scenario import CallerProfile, Pause, Play, Scenario, ScenarioError, Speech

Voice: TypeAlias = Callable[[str, str, int], tuple[Samples, int]]
"""(text, voice, words a minute) -> mono samples and their rate."""

SOUND_FOLDERS = (
    Path("/usr/share/asterisk/sounds"),
    Path("/var/lib/asterisk/sounds"),
    Path("/usr/local/share/asterisk/sounds"),
)
"""Where telephony packages put their prompts."""

_PEAK = amplitude(-6.0)
_FLOOR = amplitude(-60.0)
"""Below this the edges of a synthesised text are cut off, so that a pause is as long as it says."""


def offline_voice(text: str, voice: str, speed: int) -> tuple[Samples, int]:
    """The synthesiser of the offline plugin."""
    from plugins.offline import SAMPLE_RATE, synthesize  # noqa: PLC0415 - an optional extra

    return np.asarray(synthesize(text, voice, speed), dtype=np.int16), SAMPLE_RATE


def speak(speech: Speech, profile: CallerProfile, voice: Voice) -> Samples:
    """One utterance at 8 kHz, its loudest sample at -6 dBFS."""
    parts: list[Samples] = []
    for part in [speech] if isinstance(speech, str) else speech:
        if isinstance(part, Pause):
            parts.append(np.zeros(round(part.pause * RATE), np.int16))
        else:
            parts.append(_trim(to_line(*voice(part, profile.voice, profile.speed))))
    return _level(np.concatenate(parts))


def recorded(step: Play, scenario: Scenario) -> Samples:
    """The sound of a `play` step at 8 kHz. Raises ScenarioError if there is none."""
    path = _find(step.play, scenario)
    try:
        with wave.open(str(path), "rb") as file:
            if (file.getnchannels(), file.getsampwidth()) != (1, 2):
                raise ScenarioError(f"{path}: a recorded caller must be mono WAV of 16 bits")
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)
            return to_line(samples, file.getframerate())
    except (OSError, EOFError, wave.Error) as error:
        raise ScenarioError(f"{path}: cannot be played: {error}") from error


def to_line(samples: Samples, rate: int) -> Samples:
    """The same sound at 8 kHz."""
    if rate == RATE:
        return samples
    resampler = rtc.AudioResampler(rate, RATE, quality=rtc.AudioResamplerQuality.HIGH)
    frames = resampler.push(bytearray(samples.tobytes())) + resampler.flush()
    return np.frombuffer(b"".join(bytes(frame.data) for frame in frames), np.int16)


def text_of(speech: Speech) -> str:
    """What is said, with an ellipsis where the caller pauses."""
    if isinstance(speech, str):
        return speech
    return " ".join("..." if isinstance(part, Pause) else part for part in speech)


def _find(name: str, scenario: Scenario) -> Path:
    beside = scenario.folder / name
    if beside.is_file():
        return beside
    sounds = scenario.caller.sounds
    if sounds is None:
        raise ScenarioError(f"scenario {scenario.name}: no file {beside} to play")
    for folder in SOUND_FOLDERS:
        path = folder / sounds.folder / f"{name}.wav"
        if path.is_file():
            return path
    raise ScenarioError(
        f"scenario {scenario.name}: no sound {sounds.folder}/{name}.wav in "
        f"{', '.join(map(str, SOUND_FOLDERS))}; install the Debian package {sounds.package}"
    )


def _trim(samples: Samples) -> Samples:
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > _FLOOR)
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples[:0]


def _level(samples: Samples) -> Samples:
    peak = int(np.abs(samples.astype(np.int32)).max(initial=1))
    scaled: Samples = np.rint(samples * (_PEAK / peak)).astype(np.int16)
    return scaled
