"""Answers that need no key, server or download: a persona's own facts, looked up by words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from livekit.agents import APIConnectOptions, llm, utils
from livekit.agents.llm.utils import build_legacy_openai_schema
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, NotGivenOr

from plugins.offline.topics import SLOT, Topic, Topics, digits_of

FunctionTool = llm.FunctionTool[..., Any] | llm.RawFunctionTool[..., Any]


class LLM(llm.LLM[None]):
    """Answers from `topics`, and says `unknown` where none was asked for.

    `clarify`, if given, is said instead of `unknown` when a topic was nearly asked for.
    """

    def __init__(
        self, *, topics: Sequence[Topic], unknown: str, clarify: str | None = None
    ) -> None:
        super().__init__()
        self._topics = Topics(topics)
        self._unknown = unknown
        self._clarify = clarify

    @property
    def model(self) -> str:
        """Its name in metrics and records."""
        return "topics"

    @property
    def provider(self) -> str:
        """Who answers."""
        return "offline"

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        parallel_tool_calls: NotGivenOr[bool] = NOT_GIVEN,  # noqa: ARG002 - it may always
        tool_choice: NotGivenOr[llm.ToolChoice] = NOT_GIVEN,
        extra_kwargs: NotGivenOr[dict[str, Any]] = NOT_GIVEN,  # noqa: ARG002 - nothing to pass on
    ) -> LLMStream:
        """Answer the last message of the user, or pass on what a tool said."""
        offered = [] if tool_choice == "none" else tools or []
        return LLMStream(self, chat_ctx=chat_ctx, tools=offered, conn_options=conn_options)

    def reply(self, message: str, tools: Iterable[str]) -> tuple[str, list[str]]:
        """What is said to `message`, and which of the `tools` on offer are called after it."""
        asked = self._topics.asked(message)
        calls = [topic.tool for topic in asked if topic.tool in set(tools)]
        sentences = [topic.answer.replace(SLOT, digits_of(message)) for topic in asked]
        text = " ".join(filter(None, sentences))
        if text or calls:
            return text, [name for name in dict.fromkeys(calls) if name]
        if self._clarify and not asked and self._topics.hinted(message):
            return self._clarify, []
        return self._unknown, []


class LLMStream(llm.LLMStream):
    """One answer, word by word."""

    _llm: LLM

    async def _run(self) -> None:
        request_id = utils.shortuuid("offline_llm_")
        text, calls = self._answer()
        words = text.split(" ") if text else []
        for place, word in enumerate(words):
            content = word if place == 0 else f" {word}"
            self._send(
                llm.ChatChunk(
                    id=request_id, delta=llm.ChoiceDelta(role="assistant", content=content)
                )
            )
        if calls:
            self._send(
                llm.ChatChunk(
                    id=request_id, delta=llm.ChoiceDelta(role="assistant", tool_calls=calls)
                )
            )
        heard = sum(len((m.text_content or "").split()) for m in self._chat_ctx.messages())
        said = len(words) + len(calls)
        self._send(
            llm.ChatChunk(
                id=request_id,
                usage=llm.CompletionUsage(
                    completion_tokens=said, prompt_tokens=heard, total_tokens=heard + said
                ),
            )
        )

    def _send(self, chunk: llm.ChatChunk) -> None:
        self._event_ch.send_nowait(chunk)

    def _answer(self) -> tuple[str, list[llm.FunctionToolCall]]:
        if outputs := _outputs(self._chat_ctx):
            return " ".join(o.output for o in outputs if o.output and not o.is_error), []
        message = _last_user_message(self._chat_ctx)
        if message is None:
            return "", []
        tools = llm.ToolContext(self._tools).function_tools
        text, names = self._llm.reply(message, tools)
        return text, [_call(name, tools[name], message) for name in names]


def _outputs(chat_ctx: llm.ChatContext) -> list[llm.FunctionCallOutput]:
    """What tools answered since anybody spoke."""
    outputs: list[llm.FunctionCallOutput] = []
    for item in reversed(chat_ctx.items):
        if isinstance(item, llm.FunctionCallOutput):
            outputs.insert(0, item)
        elif isinstance(item, llm.ChatMessage):
            break
    return outputs


def _last_user_message(chat_ctx: llm.ChatContext) -> str | None:
    for message in reversed(chat_ctx.messages()):
        if message.role == "user":
            return message.text_content or ""
    return None


def _call(name: str, tool: FunctionTool, message: str) -> llm.FunctionToolCall:
    return llm.FunctionToolCall(
        name=name,
        arguments=json.dumps(_arguments(tool, message), ensure_ascii=False),
        call_id=utils.shortuuid("call_"),
    )


def _arguments(tool: FunctionTool, message: str) -> dict[str, Any]:
    """Values for the parameters that the tool requires: the digits heard, or the whole message."""
    if isinstance(tool, llm.RawFunctionTool):
        schema: dict[str, Any] = tool.info.raw_schema["parameters"]
    else:
        schema = build_legacy_openai_schema(tool, internally_tagged=True)["parameters"]
    digits = digits_of(message).replace(" ", "")
    arguments: dict[str, Any] = {}
    for parameter in schema.get("required", ()):
        kind = schema["properties"][parameter].get("type")
        if kind == "integer":
            arguments[parameter] = int(digits or 0)
        elif any(hint in parameter for hint in ("number", "digit", "phone", "code")):
            arguments[parameter] = digits
        else:
            arguments[parameter] = message
    return arguments
