"""The agents beside ours, each a real worker job: `python -m ops.bench.stock NAME`.

`stock` is the framework as it comes: the same plugins with one provider of each kind, and every
setting of the session its default. `plain` has our turn taking, but neither supervisor nor
chains: what these cost is the difference to ours.
"""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

from livekit.agents import Agent, AgentSession, JobContext, RunContext, function_tool
from livekit.plugins import cartesia, deepgram, openai

from agent import assistant, framework, session
from agent import leg as legs
from agent.call import EndReason
from agent.ending import Ending
from agent.job import House, Ongoing
from agent.rehearsal import stage
from agent.start import prepare
from agent.turn import Turns
from agent.worker import VoiceServer
from config.persona import Persona, choose
from config.settings import Settings
from ops.bench.rows import FIRST

COMMAND = ("-m", "ops.bench.stock")
STOCK, PLAIN = "stock", "plain"


def main() -> None:
    """Serve simulated calls, told on the standard input, until that ends."""
    name = sys.argv[1]
    settings, personas = prepare()
    tell = stage.take_over_output()
    framework.log_as_json(settings.log.level)
    if name == PLAIN:
        framework.make_lean()
    entry = answer_plainly if name == PLAIN else answer
    server = VoiceServer(settings, personas, tell.event, preload_modules=[stage.ROOMS], entry=entry)
    asyncio.run(stage.serve(server, tell))


async def answer(ctx: JobContext) -> None:
    """One call of the stock agent."""
    house: House = ctx.proc.userdata["house"]
    call, persona = await _begin(ctx, house)
    ears, mind, voice = plugins(house.settings, persona)
    talk: AgentSession[Any] = AgentSession(stt=ears, llm=mind, tts=voice)
    await _converse(call, talk, persona)
    talk.say(persona.phrases.greeting)


async def answer_plainly(ctx: JobContext) -> None:
    """One call of ours, without the watch and the chains."""
    house: House = ctx.proc.userdata["house"]
    call, persona = await _begin(ctx, house)
    ears, mind, voice = plugins(house.settings, persona)
    # What `speech.build` would make, with the plugins themselves where chains stand else.
    speech: Any = SimpleNamespace(vad=ctx.proc.userdata["vad"], stt=ears, llm=mind, tts=voice)
    talk = session.build(speech, persona)
    await _converse(call, talk, persona)
    talk.say(persona.phrases.greeting)


def plugins(settings: Settings, persona: Persona) -> tuple[deepgram.STT, openai.LLM, cartesia.TTS]:
    """The first provider of each kind, with the arguments that ours has and no other."""
    section = settings.providers
    ears = deepgram.STT(
        api_key=section.deepgram.api_key.get_secret_value(),
        model=section.deepgram.model,
        language=persona.language,
        base_url=section.deepgram.base_url,
    )
    mind = openai.LLM(
        api_key=section.openai.api_key.get_secret_value(),
        model=section.openai.llm_model,
        base_url=section.openai.base_url,
    )
    voice = cartesia.TTS(
        api_key=section.cartesia.api_key.get_secret_value(),
        model=section.cartesia.model,
        voice=persona.voice.cartesia,
        language=persona.language,
        word_timestamps=persona.language == "en",
        base_url=section.cartesia.base_url,
    )
    return ears, mind, voice


async def _begin(ctx: JobContext, house: House) -> tuple[Ongoing, Persona]:
    call = await Ongoing.begin(ctx, house)
    call.leg = await legs.connect(ctx, call.ending)
    caller = await call.leg.wait_for_caller(house.settings.call.caller_timeout)
    persona = choose(house.personas, caller.called, house.settings.personas.default)
    call.record.caller_joined(caller, persona, providers=FIRST)
    return call, persona


async def _converse(call: Ongoing, talk: AgentSession[Any], persona: Persona) -> None:
    call.session = talk
    turns = Turns(call.record, FIRST)
    call.parts.append(turns)
    talk.on("close", call.on_session_closed)
    turns.follow(talk)
    assert call.leg is not None
    await call.leg.start(talk, _Receptionist(persona, call.ending))


class _Receptionist(Agent):
    """The persona's prompt and facts, and the one tool that the callers need."""

    def __init__(self, persona: Persona, ending: Ending) -> None:
        super().__init__(instructions=assistant.instructions(persona))
        self._ending = ending

    @function_tool
    async def end_call(self, context: RunContext[Any]) -> None:
        """End the call when the caller has said goodbye."""
        await context.wait_for_playout()
        self._ending.decide(EndReason.AGENT_HANGUP)


if __name__ == "__main__":
    main()
