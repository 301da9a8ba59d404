"""Recordings as tests listen to them: both sides at 8 kHz, and the texts that are in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import yaml

from plugins.line.g711 import RATE, Samples
from plugins.line.hearing import spans
from plugins.line.known import KnownSounds, Told
from plugins.line.recording import Recording
from plugins.line.scenario import CallerProfile
from plugins.line.speech import offline_voice, speak
from plugins.offline import TTS
from tests.programs import ROOT

QUESTION, LAST = "what is your address", "how much is a tune up"
LAST_WORD: Mapping[str, Any] = {
    "name": "last-word",
    "about": "A caller asks a question and hangs up with the last word of the next.",
    "steps": [
        {"listen": {}},
        {"say": QUESTION, "expect": {"fact": "address"}},
        {"listen": {}},
        {"say": LAST},
        {"hangup": {}},
    ],
    "expect": {"end_reason": "caller_hangup"},
}
"""A scenario that ends with LAST."""


def persona(folder: Path, policy: str, **phrases: str) -> Mapping[str, str]:
    """Write the persona en, recorded by this policy, into `folder`: all its phrases."""
    folder.mkdir()
    body = yaml.safe_load((ROOT / "config" / "personas" / "en.yaml").read_text(encoding="utf-8"))
    body["recording"] = policy
    body["phrases"] |= phrases
    (folder / "en.yaml").write_text(yaml.safe_dump(body), encoding="utf-8")
    return body["phrases"]


def first_words(line: Recording) -> Samples:
    """What the agent said before the caller spoke."""
    (caller, _), *_ = spans(line.caller)
    said = [span for span in spans(line.agent) if span[1] < caller]
    return line.agent[round(said[0][0] * RATE) : round(said[-1][1] * RATE)]


def last_words(line: Recording) -> Samples:
    """What the caller said after the agent's first answer."""
    (caller, _), *_ = spans(line.caller)
    answered = next(start for start, _ in spans(line.agent) if start > caller)
    begun = next(start for start, _ in spans(line.caller) if start > answered)
    _, end = spans(line.caller)[-1]
    return line.caller[round(begun * RATE) : round(end * RATE)]


def opened(path: Path) -> Recording:
    """The two channels of any file of sound. Raises what PyAV raises."""
    resampler = av.AudioResampler(format="s16", layout="stereo", rate=RATE)
    with av.open(path) as container:
        heard = [
            frame for packet in container.decode(audio=0) for frame in resampler.resample(packet)
        ]
        heard += resampler.resample(None)
    both = np.concatenate([frame.to_ndarray().reshape(-1, 2) for frame in heard])
    return Recording.of(both[:, 0].copy(), both[:, 1].copy())


def spoken(text: str) -> Samples:
    """How the agent's offline voice says a sentence."""
    return speak(text, CallerProfile(speed=TTS().speed), offline_voice)


def told(text: str, sound: Samples, recording: Samples) -> Told:
    """How much of `text`, which sounds like `sound`, is in a recording. Raises AssertionError."""
    found = KnownSounds([(text, sound)]).all_in(recording)
    assert found, f"nothing of {text!r} is in the recording"
    return max(found, key=lambda one: one.share)
