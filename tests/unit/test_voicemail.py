"""A person or a machine? The words, and the framework's listener around them."""

from __future__ import annotations

import asyncio

import pytest
from livekit.agents.voice.amd import AMDCategory
from livekit.agents.voice.amd.classifier import _AMDClassifier

from agent import framework, voicemail

HUMAN, VM = AMDCategory.HUMAN, AMDCategory.MACHINE_VM
IVR, FULL = AMDCategory.MACHINE_IVR, AMDCategory.MACHINE_UNAVAILABLE


@pytest.mark.parametrize(
    ("heard", "who"),
    [
        ("", HUMAN),
        ("Hello?", HUMAN),
        ("Smith and sons, good morning, how can I help you", HUMAN),
        ("Алло, слушаю вас", HUMAN),
        ("Да, кто это?", HUMAN),
        ("Hi, you've reached Bob, please leave a message.", VM),
        ("Hi, it\u2019s Ann. I can\u2019t come to the phone, I\u2019ll get back to you", VM),
        ("Please record your message after the tone", VM),
        ("Оставьте сообщение после звукового сигнала", VM),
        ("Вас приветствует автоответчик", VM),
        ("Я сейчас не могу подойти, перезвоню", VM),
        ("For sales, press one. For repairs, press two.", IVR),
        ("Для связи с оператором нажмите ноль", IVR),
        ("The mailbox is full. Goodbye.", FULL),
        ("Аппарат абонента выключен или находится вне зоны действия сети", FULL),
        ("Абонент временно недоступен", FULL),
    ],
)
def test_machines_say_what_only_machines_say(heard, who):
    assert voicemail.judge(heard) is who


@pytest.mark.parametrize(
    ("heard", "who"), [("hello", HUMAN), ("please leave a message after the tone", VM)]
)
async def test_the_framework_takes_the_words_for_a_models_verdict(heard, who):
    """A contract: AMD offers a tool that takes `label`, and emits what it was called with."""
    verdict = asyncio.get_running_loop().create_future()
    classifier = _AMDClassifier(
        framework.Judge(voicemail.judge), machine_silence_threshold=0.05, max_endpointing_delay=0.1
    )
    classifier.on("amd_prediction", lambda event: verdict.set_result(event.category))
    classifier.start_listening()
    classifier.on_user_speech_started()
    classifier.push_text(heard)
    classifier.on_user_speech_ended(0.0)
    assert await asyncio.wait_for(verdict, 5) is who
    await classifier.close()
