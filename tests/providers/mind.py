"""What the stand-in of a language model answers: the facts in its request, and offered tools.

How callers ask for a fact, and what a tool is for, it knows from the shipped personas, as a model
knows a language. What it says of a fact is in the request, or it does not know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plugins.offline.topics import SLOT, Topic, Topics, digits_of
from tests.providers.ears import personas

FACT = re.compile(r"^- (\w+): (.+)$", re.MULTILINE)
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What is written, and the tools called after it: name and JSON of the arguments."""

    text: str
    calls: tuple[tuple[str, str], ...] = ()


def answer(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> Answer:
    """The answer to the last message of a request."""
    if outputs := _outputs(messages):
        return Answer(" ".join(outputs))
    prompt = " ".join(said(m) for m in messages if m["role"] in ("system", "developer"))
    asked = last_asked(messages)
    topics = [_topic(name, text) for name, text in FACT.findall(prompt)]
    found = Topics(topics).asked(asked)
    text = " ".join(topic.answer.replace(SLOT, digits_of(asked)) for topic in found)
    offered = {tool["function"]["name"]: tool["function"] for tool in tools}
    wanted = dict.fromkeys(topic.tool for topic in found if topic.tool in offered)
    calls = tuple((name, _arguments(offered[name], asked)) for name in wanted if name)
    return Answer(text, calls) if text or calls else Answer(_unknown(prompt))


def last_asked(messages: Sequence[Mapping[str, Any]]) -> str:
    """The last message of the user."""
    return next((said(m) for m in reversed(messages) if m["role"] == "user"), "")


def said(message: Mapping[str, Any]) -> str:
    """The text of a message."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content)


def complaint(asked: Mapping[str, Any]) -> str:
    """What the API would refuse a request for; empty when nothing is wrong."""
    return "; ".join([*_wrong_messages(asked["messages"]), *_wrong_tools(asked.get("tools", []))])


def _wrong_messages(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not messages:
        yield "messages: empty"
    open_calls: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                yield "messages: a tool's output without its call"
            open_calls.discard(message["tool_call_id"])
        elif open_calls:
            yield "messages: a tool call without its output"
            open_calls.clear()
        open_calls |= {call["id"] for call in message.get("tool_calls") or ()}
    if open_calls:
        yield "messages: a tool call without its output"


def _wrong_tools(tools: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for tool in tools:
        function = tool["function"]
        schema = function.get("parameters", {})
        if tool["type"] != "function" or not NAME.fullmatch(function["name"]):
            yield "tools: the name of a function"
        if function.get("strict") and (
            schema.get("additionalProperties") is not False
            or set(schema.get("required", ())) != set(schema.get("properties", {}))
        ):
            yield f"tools: {function['name']} is strict, its schema is not"


def _topic(name: str, text: str) -> Topic:
    for persona in personas().values():
        for fact in persona.facts:
            if fact.name == name and bool(re.search("[а-я]", text)) is (persona.language == "ru"):
                return Topic(name, fact.asks, text, fact.tool)
    return Topic(name, (name.replace("_", " "), text), text)


def _outputs(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    outputs: list[str] = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        outputs.insert(0, said(message))
    return outputs


def _arguments(function: Mapping[str, Any], asked: str) -> str:
    required = function.get("parameters", {}).get("required", ())
    return json.dumps(dict.fromkeys(required, asked), ensure_ascii=False)


def _unknown(prompt: str) -> str:
    language = "ru" if re.search("[а-я]", prompt) else "en"
    return next(p.phrases.unknown for p in personas().values() if p.language == language)
