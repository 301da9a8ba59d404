"""Stand-ins for Deepgram, OpenAI, Groq and Cartesia: servers on loopback that the real plugins use.

They speak the providers' wire protocols. What they recognise is in the audio that reached them,
and each can be slow or can fail as a script says (see `faults`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Self

from tests.providers.cartesia import Cartesia
from tests.providers.deepgram import Deepgram
from tests.providers.faults import Fault, Kind, Pace
from tests.providers.openai import OpenAI
from tests.providers.server import KEY, StandIn

__all__ = [
    "KEY",
    "Cartesia",
    "Deepgram",
    "Fault",
    "Kind",
    "OpenAI",
    "Pace",
    "Providers",
    "StandIn",
]


class Providers:
    """All of them: an async context manager. `faults` and `paces` by the provider's name."""

    def __init__(
        self,
        faults: Mapping[str, Iterable[Fault]] | None = None,
        paces: Mapping[str, Pace] | None = None,
    ) -> None:
        faults, paces = faults or {}, paces or {}

        def parts(name: str) -> tuple[Iterable[Fault], Pace | None]:
            return faults.get(name, ()), paces.get(name)

        self.deepgram = Deepgram(*parts("deepgram"))
        self.openai = OpenAI(*parts("openai"))
        self.groq = OpenAI(*parts("groq"), name="groq")
        self.cartesia = Cartesia(*parts("cartesia"))
        self.all: tuple[StandIn, ...] = (self.deepgram, self.openai, self.groq, self.cartesia)
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for server in self.all:
            await self._open.enter_async_context(server)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._open.aclose()

    @property
    def variables(self) -> dict[str, str]:
        """What points the product at them, one provider of each kind."""
        chains = {"STT": "deepgram", "LLM": "openai", "TTS": "cartesia"}
        told = {f"VOICE_AGENT__SPEECH__{kind}": name for kind, name in chains.items()}
        for server in self.all:
            told |= server.variables
        return told
