"""Who answered the call that we placed: a person or a machine.

The framework's AMD listens: it knows when the greeting is over. What it asks is answered here by
words instead of a language model: at once, in each language of the product, and without a bill.
"""

from __future__ import annotations

import re
from typing import Any

from livekit.agents import AMD, AgentSession
from livekit.agents.voice.amd import AMDCategory
from livekit.agents.voice.amd.detector import DetectionOptions

from agent import framework

TIMES = DetectionOptions(
    # Up to this long a greeting without words is a person's "hello", after so much silence.
    human_speech_threshold=2.5,
    human_silence_threshold=0.5,
    # With words: so much silence ends it. A person waits for it, too.
    machine_silence_threshold=0.9,
    max_endpointing_delay=1.5,
    # Who picks up and says nothing is greeted.
    no_speech_threshold=3.0,
    timeout=30.0,
)
"""Seconds."""

SIGNS = {
    AMDCategory.MACHINE_IVR: r"\bpress (one|two|nine|zero|\d)\b|\bнажмите\b",
    AMDCategory.MACHINE_UNAVAILABLE: (
        r"mailbox is full|has(n't| not) been set up|not in service|вне зоны|аппарат абонента"
        r"|абонент\w* (временно )?(недоступ|не может|выключ)|номер не обслуживается"
    ),
    AMDCategory.MACHINE_VM: (
        r"(leave|record) (me |us )?(a|your|the) (short |brief )?message|after the (tone|beep)"
        r"|at the (tone|beep)|voice ?mail|(you have|you've) reached|(can't|cannot|unable to) "
        r"(come to|take|answer)|(is|am|are|i'm|we're) not available|get back to you"
        r"|оставьте|после (звукового |длинного )?сигнала|автоответчик|голосов\w+ (почт|сообщ)"
        r"|не могу (сейчас )?(ответить|подойти)|вам перезвон"
    ),
}
"""What only machines say. The first that is found counts."""


SPOKEN = {
    "en": (
        "please leave a message after the tone",
        "please leave a message after the beep",
        "leave your message at the tone",
        "you have reached the voicemail of",
        "is not available right now",
    ),
    "ru": ("оставьте сообщение после сигнала", "абонент временно недоступен"),
}
"""What the offline recogniser has to expect of machines."""


def judge(heard: str) -> AMDCategory:
    """Who greets with these words? In doubt a person: one who is hung up on was wronged."""
    plain = " ".join(re.findall(r"[\w']+", heard.lower().replace("\u2019", "'").replace("ё", "е")))
    for category, signs in SIGNS.items():
        if re.search(signs, plain):
            return category
    return AMDCategory.HUMAN


async def who_answered(session: AgentSession[Any], identity: str) -> AMDCategory:
    """Listen to the greeting of the participant `identity`. The agent is silent meanwhile."""
    async with AMD(
        session,
        llm=framework.Judge(judge),
        stt=None,
        ivr_detection=False,
        participant_identity=identity,
        suppress_compatibility_warning=True,
        detection_options=TIMES,
        wait_until_finished=False,  # music without end must not hold the call
    ) as detector:
        found = await detector.execute()
    return found.category
