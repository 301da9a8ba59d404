"""A language model made of several: the next one goes on where one fails.

Sentences are passed on when they are whole. The voice behind it speaks whole sentences anyway, so
nobody waits longer, and a sentence that breaks off is thought anew by the next model.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from livekit.agents import (
    APIConnectionError,
    APIConnectOptions,
    APIError,
    APITimeoutError,
    llm,
    utils,
)
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, NotGivenOr

from plugins.chain.members import Attempts, Member, Standing
from plugins.chain.sentences import Sentences, same

SPEECH_RATE = 15.0
"""Letters a second of speech."""

GO_ON = (
    "Your last message was cut off after these words, and they were spoken already. Go on with"
    " what is missing. Do not repeat, greet or apologise."
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a model may take. Seconds."""

    first: float
    """To the first word or tool call, and between any two pieces."""
    behind: float
    """That the text so far may be behind a voice that speaks it."""


class LLM(llm.LLM[None]):
    """Asks the first member that is up, and the others where it fails.

    A member fails that says nothing useful in time, falls behind speech, or gives an empty answer.
    `closing` ends a reply that no member could finish. The name of the member that answers is
    written to `serving["llm"]`.
    """

    def __init__(
        self,
        members: Sequence[Member[llm.LLM[Any]]],
        *,
        standing: Standing,
        patience: Patience,
        closing: str,
        serving: MutableMapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.members = tuple(members)
        self.standing = standing
        self.patience = patience
        self.closing = closing
        self.serving = {} if serving is None else serving
        self.first_word: float | None = None
        """Seconds to the first piece of the last answer, those of failed members included."""
        self.written_at = float("-inf")
        """When something of an answer came last, on the monotonic clock."""
        self._last = self.members[0].plugin
        for member in self.members:
            member.plugin.on("metrics_collected", self._pass_on)

    @property
    def model(self) -> str:
        """The model that answered last."""
        return self._last.model

    @property
    def provider(self) -> str:
        """The provider that answered last."""
        return self._last.provider

    def serves(self, member: Member[llm.LLM[Any]], first_word: float) -> None:
        """`member` has begun to answer."""
        self._last, self.first_word = member.plugin, first_word
        self.serving["llm"] = member.name

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        parallel_tool_calls: NotGivenOr[bool] = NOT_GIVEN,
        tool_choice: NotGivenOr[llm.ToolChoice] = NOT_GIVEN,
        extra_kwargs: NotGivenOr[dict[str, Any]] = NOT_GIVEN,
    ) -> LLMStream:
        """Answer; raises APIConnectionError where nobody has said anything."""
        asked = {
            "tools": tools or [],
            "parallel_tool_calls": parallel_tool_calls,
            "tool_choice": tool_choice,
            "extra_kwargs": extra_kwargs,
        }
        return LLMStream(self, asked, chat_ctx=chat_ctx, conn_options=conn_options)

    def prewarm(self, *, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Connect to every member: the second one is needed when there is no time to lose."""
        for member in self.members:
            member.plugin.prewarm(loop=loop)

    async def aclose(self) -> None:
        """Let the members go."""
        for member in self.members:
            member.plugin.off("metrics_collected", self._pass_on)
            await member.plugin.aclose()

    def _pass_on(self, *metrics: Any) -> None:
        self.emit("metrics_collected", *metrics)


@dataclass(slots=True)
class _Draft:
    """One reply as far as it has come."""

    sentences: Sentences = field(default_factory=Sentences)
    said: list[str] = field(default_factory=list)
    """Whole sentences that were passed on."""
    repeated: int | None = None
    """How many of them the model in charge is beyond; None: it says what is new."""
    began: float = field(default_factory=time.monotonic)
    has_called: bool = False
    """A tool was called: the reply is out of our hands."""

    def begin_again(self) -> None:
        """Another model goes on: what was not whole is forgotten."""
        self.sentences = Sentences()
        self.repeated = 0 if self.said else None

    def fresh(self, sentences: Sequence[str]) -> str:
        """What of `sentences` was not said before, now taken as said."""
        new: list[str] = []
        for sentence in sentences:
            if self.repeated is not None:
                later = range(self.repeated, len(self.said))
                self.repeated = next((n + 1 for n in later if same(sentence, self.said[n])), None)
                if self.repeated is not None:
                    continue
            new.append(sentence)
        self.said += new
        return "".join(new)

    @property
    def text(self) -> str:
        return "".join(self.said)


class LLMStream(llm.LLMStream):
    """One reply, by as many members as it takes."""

    _llm: LLM

    def __init__(
        self,
        chain: LLM,
        asked: Mapping[str, Any],
        *,
        chat_ctx: llm.ChatContext,
        conn_options: APIConnectOptions,
    ) -> None:
        self._asked = asked
        super().__init__(chain, chat_ctx=chat_ctx, tools=asked["tools"], conn_options=conn_options)

    async def _metrics_monitor_task(self, event_aiter: Any) -> None:
        """The members tell what they used themselves."""
        async for _ in event_aiter:
            pass

    async def _run(self) -> None:
        attempts = Attempts("llm", self._llm.members, self._llm.standing)
        draft = _Draft()
        for member in attempts:
            try:
                await self._ask(member, draft, attempts)
            except APIError as error:
                attempts.failed(member, error)
            else:
                return
            if draft.has_called:
                return
            draft.begin_again()
        if not draft.said:
            raise APIConnectionError("no language model answered", retryable=False)
        self._send(f" {self._llm.closing}")

    async def _ask(self, member: Member[llm.LLM[Any]], draft: _Draft, attempts: Any) -> None:
        """Pass on what `member` says. Raises APIError where it fails."""
        patience, loop = self._llm.patience, asyncio.get_running_loop()
        options = APIConnectOptions(max_retry=0, timeout=patience.first)
        letters, first_at = 0, 0.0
        context = _continued(self._chat_ctx, draft.text)
        stream = member.plugin.chat(chat_ctx=context, conn_options=options, **self._asked)
        try:
            async with asyncio.timeout(patience.first) as deadline, stream:
                async for chunk in stream:
                    useful = chunk.has_response()
                    if useful and not first_at:
                        first_at = loop.time()
                        self._llm.serves(member, time.monotonic() - draft.began)
                        attempts.answered(member)
                    if useful and chunk.delta:
                        self._llm.written_at = time.monotonic()
                        letters += len(chunk.delta.content or "")
                        spoken = first_at + patience.behind + letters / SPEECH_RATE
                        deadline.reschedule(min(loop.time() + patience.first, spoken))
                    self._take(chunk, draft)
        except TimeoutError as error:
            raise APITimeoutError(f"{member.name} is too slow") from error
        if not first_at and not _is_after_tool(self._chat_ctx):
            raise APIConnectionError(f"{member.name} gave an empty answer")
        self._send(draft.fresh(draft.sentences.flush()))

    def _take(self, chunk: llm.ChatChunk, draft: _Draft) -> None:
        """Pass on what of a piece is whole."""
        content = chunk.delta.content if chunk.delta else None
        calls = bool(chunk.delta and chunk.delta.tool_calls)
        whole = draft.sentences.push(content) if content else []
        if calls:
            draft.has_called = True
            whole += draft.sentences.flush()
        text = draft.fresh(whole)
        if chunk.delta and (text or calls or chunk.delta.extra or chunk.usage):
            delta = chunk.delta.model_copy(update={"content": text or None})
            self._event_ch.send_nowait(chunk.model_copy(update={"delta": delta}))
        elif chunk.delta is None:
            self._event_ch.send_nowait(chunk)

    def _send(self, text: str) -> None:
        if text:
            delta = llm.ChoiceDelta(role="assistant", content=text)
            self._event_ch.send_nowait(llm.ChatChunk(id=utils.shortuuid("chain_"), delta=delta))


def _continued(context: llm.ChatContext, said: str) -> llm.ChatContext:
    """What the next model is told, when `said` was spoken already."""
    if not said:
        return context
    longer = context.copy()
    longer.add_message(role="assistant", content=said.strip())
    longer.add_message(role="system", content=GO_ON)
    return longer


def _is_after_tool(context: llm.ChatContext) -> bool:
    """A model that has spoken before its tool may have nothing to add."""
    return bool(context.items) and context.items[-1].type == "function_call_output"
