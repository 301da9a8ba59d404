"""OpenAI's HTTP API, as livekit-plugins-openai 1.8.9 speaks it; Groq speaks the same.

Operations: "chat" (streaming completions; the caller's messages count as occasions), "transcribe",
"speak" (each request is an occasion) and "models" (what a client asks to warm up).
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any
from uuid import uuid4

from aiohttp import web

from tests.providers import mind
from tests.providers.ears import hear, written
from tests.providers.faults import Fault, Kind, Pace
from tests.providers.server import Asked, StandIn
from tests.providers.voice import PIECE, encoded, pieces, speak

CHAT, TRANSCRIBE, SPEAK, MODELS = "chat", "transcribe", "speak", "models"
RATE = 24000
SSE = {"Content-Type": "text/event-stream"}
NOT_JSON = "{ not json"


class OpenAI(StandIn):
    """The server. `pace.each` is the time of 0.1 s of speech, and of a word without `pace.word`."""

    path = "/v1"

    def __init__(
        self, script: Iterable[Fault] = (), pace: Pace | None = None, *, name: str = "openai"
    ) -> None:
        super().__init__(script, pace)
        self.name = name

    def routes(self) -> Iterable[web.RouteDef]:
        return [
            web.post("/v1/chat/completions", self._chat),
            web.post("/v1/audio/transcriptions", self._transcribe),
            web.post("/v1/audio/speech", self._speak),
            web.get("/v1/models", self._models),
        ]

    def key_of(self, request: web.Request) -> str:
        return request.headers.get("Authorization", "").removeprefix("Bearer ")

    def refusal(self, status: int) -> Mapping[str, Any]:
        codes = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
        error = {"message": f"refused with {status}", "type": "error", "code": codes.get(status)}
        return {"error": error}

    async def _models(self, request: web.Request) -> web.Response:
        self.turns[MODELS] += 1
        await self.admit(request, MODELS, self.turns[MODELS])
        model = {"id": "gpt-4.1-mini", "object": "model", "created": 1, "owned_by": "stand-in"}
        return web.json_response({"object": "list", "data": [model]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        self.asked.append(Asked(CHAT, asked))
        text = mind.last_asked(asked["messages"])
        turn = sum(message["role"] == "user" for message in asked["messages"])
        self.turns[CHAT] = max(self.turns[CHAT], turn)
        await self.admit(request, CHAT, turn, text)
        wrong = mind.complaint(asked) or ("" if asked.get("stream") else "stream")
        if wrong:
            self.reject(400, wrong)
        fault = self.faults.strike(CHAT, turn, text, refusal=False)
        response = web.StreamResponse(headers=SSE)
        await response.prepare(request)
        await asyncio.sleep(self.pace.first)
        said = mind.Answer("") if fault and fault.kind is Kind.EMPTY else _answer(asked)
        place = 0
        async for event in self._events(asked, said):
            if fault and place >= fault.after:
                await self._spoil(request, response, fault)
            await self._send(response, json.dumps(event))
            place += 1
        await self._send(response, "[DONE]")
        return response

    async def _events(
        self, asked: Mapping[str, Any], said: mind.Answer
    ) -> AsyncIterator[dict[str, Any]]:
        """The chunks of a completion, a word each."""
        words = said.text.split()
        for place, word in enumerate(words):
            yield self._chunk(asked, {"role": "assistant", "content": f"{' ' * (place > 0)}{word}"})
            await asyncio.sleep(self.pace.each if self.pace.word is None else self.pace.word)
        for index, (name, arguments) in enumerate(said.calls):
            call = {"index": index, "id": f"call_{uuid4().hex[:12]}", "type": "function"}
            opening = {**call, "function": {"name": name, "arguments": ""}}
            yield self._chunk(asked, {"role": "assistant", "tool_calls": [opening]})
            rest = {"index": index, "function": {"arguments": arguments}}
            yield self._chunk(asked, {"tool_calls": [rest]})
        yield self._chunk(asked, {}, "tool_calls" if said.calls else "stop")
        if (asked.get("stream_options") or {}).get("include_usage"):
            heard = sum(len(mind.said(message).split()) for message in asked["messages"])
            spent = len(words) + len(said.calls)
            usage = {"prompt_tokens": heard, "completion_tokens": spent}
            yield {
                **self._chunk(asked, {}),
                "choices": [],
                "usage": {**usage, "total_tokens": heard + spent},
            }

    def _chunk(
        self, asked: Mapping[str, Any], delta: Mapping[str, Any], finish: str | None = None
    ) -> dict[str, Any]:
        return {
            "id": "chatcmpl-stand-in",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": asked["model"],
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }

    async def _spoil(
        self, request: web.Request, response: web.StreamResponse, fault: Fault
    ) -> None:
        """Raises Cut where the fault ends the answer."""
        if fault.kind is Kind.TRICKLE:
            await asyncio.sleep(fault.every)
        elif fault.kind is Kind.MALFORMED:
            await self._send(response, NOT_JSON)
        elif fault.kind is Kind.ERROR:
            await self._send(response, json.dumps(self.refusal(fault.status)))
        elif fault.kind is not Kind.EMPTY:
            await self.break_off(request, fault)

    async def _send(self, response: web.StreamResponse, data: str) -> None:
        await response.write(f"data: {data}\n\n".encode())

    async def _transcribe(self, request: web.Request) -> web.Response:
        form = await request.post()
        wav = form["file"].file.read()  # type: ignore[union-attr]
        fields = {name: value for name, value in form.items() if name != "file"}
        self.asked.append(Asked(TRANSCRIBE, fields))
        self.turns[TRANSCRIBE] += 1
        turn = self.turns[TRANSCRIBE]
        await self.admit(request, TRANSCRIBE, turn)
        fault = self.faults.strike(TRANSCRIBE, turn, refusal=False)
        if fault and fault.kind in (Kind.STALL, Kind.HALF_OPEN, Kind.DROP):
            await self.break_off(request, fault)
        await asyncio.sleep(self.pace.first + (fault.every if fault else 0.0))
        language = str(fields.get("language", "en"))
        heard = await asyncio.to_thread(hear, wav, language)
        text = " ".join(written(heard.words, language))
        if fault and fault.kind is Kind.MALFORMED:
            return web.Response(text=NOT_JSON, content_type="application/json")
        if fault and fault.kind is Kind.ERROR:
            self.reject(fault.status)
        return web.json_response({"text": "" if fault and fault.kind is Kind.EMPTY else text})

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        self.asked.append(Asked(SPEAK, asked))
        self.turns[SPEAK] += 1
        turn, text = self.turns[SPEAK], asked["input"]
        await self.admit(request, SPEAK, turn, text)
        fault = self.faults.strike(SPEAK, turn, text, refusal=False)
        form = asked.get("response_format", "mp3")
        events = asked.get("stream_format") == "sse"
        kind = {"mp3": "audio/mpeg", "wav": "audio/wav", "pcm": "audio/pcm"}.get(form)
        if kind is None:
            self.reject(400, f"response_format: {form}")
        response = web.StreamResponse(headers=SSE if events else {"Content-Type": kind})
        await response.prepare(request)
        await asyncio.sleep(self.pace.first)
        language = "ru" if any("а" <= letter <= "я" for letter in text.lower()) else "en"
        pcm = await speak(text, language, RATE, asked.get("speed", 1.0))
        data = await asyncio.to_thread(encoded, pcm, RATE, form)
        count = max(1, len(list(pieces(pcm, RATE))))
        size = -(-len(data) // count // 2) * 2
        for place in range(0 if fault and fault.kind is Kind.EMPTY else count):
            if fault and place * PIECE >= fault.after:
                await self._spoil(request, response, fault)
            piece = data[place * size : (place + 1) * size]
            if events:
                delta = base64.b64encode(piece).decode()
                await self._send(
                    response, json.dumps({"type": "speech.audio.delta", "delta": delta})
                )
            else:
                await response.write(piece)
            await asyncio.sleep(self.pace.each)
        if events:
            usage = {"input_tokens": len(text.split()), "output_tokens": count}
            await self._send(response, json.dumps({"type": "speech.audio.done", "usage": usage}))
            await self._send(response, "[DONE]")
        return response


def _answer(asked: Mapping[str, Any]) -> mind.Answer:
    tools = [] if asked.get("tool_choice") == "none" else asked.get("tools", [])
    return mind.answer(asked["messages"], tools)
