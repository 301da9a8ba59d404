"""Session events become the turns of the record, each with its latencies.

A turn is what the caller said and what was then heard in reply. Turn 0 is the greeting. What the
agent says unasked (a prompt in a silence) belongs to the turn that it follows.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psutil
from livekit.agents import AgentSession, ConversationItemAddedEvent, FunctionToolsExecutedEvent
from livekit.agents.llm import ChatMessage

from agent import tasks
from agent.record import Record

MEMORY_TURN = 3
"""The turn after which the process's private memory is read (see the architecture page)."""


@dataclass(slots=True)
class Reply:
    """The reply to one turn, as far as it went."""

    texts: list[str] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)
    interrupted: bool = False
    latency: float | None = None
    llm_ttft: float | None = None
    tts_ttfb: float | None = None


class Turns:
    """Counts the turns of one call and writes them into its record."""

    def __init__(
        self,
        record: Record,
        providers: Mapping[str, str],
        first_word: Callable[[], float | None] = lambda: None,
    ) -> None:
        """`providers` says who serves at the moment; `first_word` how long the model's took."""
        self._record = record
        self._providers = providers
        self._first_word = first_word
        self._turn = 0
        self._reply = Reply()
        self._opened = False
        self._measuring: asyncio.Task[None] | None = None

    def follow(self, session: AgentSession[Any]) -> None:
        """Write every turn that `session` commits from now on."""
        session.on("conversation_item_added", self._on_item)
        session.on("function_tools_executed", self._on_tools)

    async def aclose(self) -> None:
        """End the one background task: reading the memory."""
        await tasks.end(self._measuring)

    def _on_item(self, event: ConversationItemAddedEvent) -> None:
        message = event.item
        if not isinstance(message, ChatMessage):
            return
        if message.role == "user":
            self._commit(message)
        elif message.role == "assistant":
            self._finish(message)

    def _on_tools(self, event: FunctionToolsExecutedEvent) -> None:
        self._reply.tools += [call.name for call in event.function_calls]
        self._write_reply()

    def _commit(self, message: ChatMessage) -> None:
        self._turn += 1
        self._reply = Reply()
        self._opened = True
        metrics: Any = message.metrics or {}
        self._record.turn_committed(
            self._turn,
            user_text=message.text_content or "",
            confidence=message.transcript_confidence,
            transcription_delay=metrics.get("transcription_delay"),
            end_of_turn_delay=metrics.get("end_of_turn_delay"),
            stt=self._providers["stt"],
        )

    def _finish(self, message: ChatMessage) -> None:
        reply, metrics = self._reply, message.metrics or {}
        reply.texts.append(message.text_content or "")
        reply.interrupted = message.interrupted
        for name, value in (
            ("latency", metrics.get("e2e_latency")),
            ("llm_ttft", self._llm_ttft(metrics)),
            ("tts_ttfb", metrics.get("tts_node_ttfb")),
        ):
            if getattr(reply, name) is None:
                setattr(reply, name, value)
        self._write_reply()
        if self._turn == MEMORY_TURN and self._measuring is None:
            self._measuring = tasks.spawn(self._measure(), "read-memory")

    def _llm_ttft(self, metrics: Any) -> float | None:
        """The framework sees whole sentences, the chain the first word."""
        node: float | None = metrics.get("llm_node_ttft")
        return node if node is None else self._first_word() or node

    def _write_reply(self) -> None:
        if not self._opened:
            self._record.turn_committed(0)
            self._opened = True
        self._record.turn_finished(
            self._turn,
            agent_text=" ".join(text for text in self._reply.texts if text),
            interrupted=self._reply.interrupted,
            latency=self._reply.latency,
            llm_ttft=self._reply.llm_ttft,
            tts_ttfb=self._reply.tts_ttfb,
            llm=self._providers["llm"],
            tts=self._providers["tts"],
            tools=tuple(self._reply.tools),
        )

    async def _measure(self) -> None:
        # Reading smaps takes some 10 ms: not on the loop that moves audio.
        self._record.memory_bytes = await asyncio.to_thread(private_memory, os.getpid())


def private_memory(pid: int) -> int:
    """Memory that is the process's alone, in bytes (USS: the sum of its private pages)."""
    return int(psutil.Process(pid).memory_full_info().uss)
