"""Cartesia's text to speech, as livekit-plugins-cartesia 1.8.9 speaks it.

`GET /tts/websocket` carries replies ("voice"), one context each, its sentences as they come;
`POST /tts/bytes` gives the audio of one text ("bytes"). A context or request is an occasion.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import WSMsgType, web

from tests.providers.faults import REFUSALS, Fault, Kind
from tests.providers.server import Asked, Cut, StandIn
from tests.providers.voice import PIECE, pieces, speak, timed

VOICE, BYTES, VOICES = "voice", "bytes", "voices"
TIMED_LANGUAGES = frozenset({"en", "de", "es", "fr"})
UNFINISHED = 206


class Cartesia(StandIn):
    """The server. `pace.first` is waited before the first audio of a context."""

    name = "cartesia"

    def routes(self) -> Iterable[web.RouteDef]:
        return [
            web.get("/tts/websocket", self._socket),
            web.post("/tts/bytes", self._bytes),
            web.get("/voices", self._voices),
        ]

    def key_of(self, request: web.Request) -> str:
        return request.headers.get("X-API-Key", "")

    def refusal(self, status: int) -> Mapping[str, Any]:
        what = "Invalid API key" if status == 401 else "refused by the stand-in"
        return {"error": what, "status_code": status}

    async def _voices(self, request: web.Request) -> web.Response:
        self.turns[VOICES] += 1
        await self.admit(request, VOICES, self.turns[VOICES])
        if not request.headers.get("Cartesia-Version"):
            self.reject(400, "Cartesia-Version")
        return web.json_response({"data": [{"id": "stand-in"}], "has_more": False})

    async def _bytes(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        text = asked["transcript"]
        self.asked.append(Asked(BYTES, asked))
        self.turns[BYTES] += 1
        await self.admit(request, BYTES, self.turns[BYTES], text)
        if wrong := complaint(asked):
            self.reject(400, wrong)
        if not request.headers.get("Cartesia-Version"):
            self.reject(400, "Cartesia-Version")
        fault = self.faults.strike(BYTES, self.turns[BYTES], text, refusal=False)
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        await response.prepare(request)
        await asyncio.sleep(self.pace.first)
        sent = 0.0
        for piece in pieces(await audio(asked, text), asked["output_format"]["sample_rate"]):
            if fault and sent >= fault.after:
                await self._spoil(request, fault)
                if fault.kind in (Kind.EMPTY, Kind.MALFORMED, Kind.ERROR):
                    break
            await response.write(piece)
            await asyncio.sleep(self.pace.each)
            sent += PIECE
        return response

    async def _spoil(self, request: web.Request, fault: Fault) -> None:
        if fault.kind is Kind.TRICKLE:
            await asyncio.sleep(fault.every)
        elif fault.kind in (Kind.STALL, Kind.HALF_OPEN, Kind.DROP):
            await self.break_off(request, fault)

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        self.asked.append(Asked("connect", dict(request.query)))
        await self.admit(request, VOICE, self.turns[VOICE] + 1)
        if not request.query.get("cartesia_version"):
            self.reject(400, "cartesia_version")
        socket = await self.accept(request)
        contexts: dict[str, _Context] = {}
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    continue
                if any(context.deaf for context in contexts.values()):
                    await self.gone(request)
                asked = json.loads(message.data)
                name = asked["context_id"]
                if name not in contexts:
                    contexts[name] = _Context(self, request, socket, name)
                if asked.get("cancel"):
                    await contexts[name].aclose()
                    continue
                self.asked.append(Asked(VOICE, asked))
                await contexts[name].take(asked)
        finally:
            for context in contexts.values():
                await context.aclose()
            self.forget(socket)
        return socket


class _Context:
    """One reply on a websocket: sentences are spoken one after another while more may come."""

    def __init__(
        self, server: Cartesia, request: web.Request, socket: web.WebSocketResponse, name: str
    ) -> None:
        self._server = server
        self._request = request
        self._socket = socket
        self._name = name
        self.deaf = False
        """The socket is half-open: it must not be read any more."""
        self._turn = 0
        self._fault: Fault | None = None
        self._sent = 0.0
        self._todo: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
        self._speaking = asyncio.create_task(self._speak(), name="cartesia-context")

    async def take(self, asked: Mapping[str, Any]) -> None:
        """Take the next sentence."""
        if not self._turn:
            self._server.turns[VOICE] += 1
            self._turn = self._server.turns[VOICE]
        if self._fault is None:
            await self._strike(asked["transcript"])
        if self._fault and self._fault.kind in REFUSALS:
            return
        if wrong := complaint(asked):
            await self._error(400, wrong)
        else:
            self._todo.put_nowait(asked)

    async def aclose(self) -> None:
        """Say no more."""
        self._speaking.cancel()
        await asyncio.wait({self._speaking})

    async def _strike(self, text: str) -> None:
        faults = self._server.faults
        self._fault = faults.strike(VOICE, self._turn, text, refusal=True)
        if self._fault:
            await self._refuse(self._fault)
        else:
            self._fault = faults.strike(VOICE, self._turn, text, refusal=False)

    async def _refuse(self, fault: Fault) -> None:
        """The socket was opened before the fault struck."""
        if fault.kind is Kind.HANG:
            return
        if fault.kind is not Kind.SHUT:
            await self._error(401 if fault.kind is Kind.EXPIRED else fault.status, "refused")
        await self._socket.close()

    async def _speak(self) -> None:
        await asyncio.sleep(self._server.pace.first)
        more = True
        try:
            while more:
                asked = await self._todo.get()
                more = asked.get("continue", False)
                await self._sentence(asked)
                if asked.get("flush"):
                    await self._send({"type": "flush_done", "flush_done": True})
            await self._send({"type": "done", "status_code": 200}, done=True)
        except (Cut, ConnectionError):
            return

    async def _sentence(self, asked: Mapping[str, Any]) -> None:
        text, rate = asked["transcript"].strip(), asked["output_format"]["sample_rate"]
        pcm = await audio(asked, text) if text else b""
        began = self._sent
        for piece in pieces(pcm, rate):
            if self._fault and self._sent >= self._fault.after:
                await self._fail(self._fault)
                if self._fault.kind is Kind.EMPTY:
                    return
            chunk = {"type": "chunk", "data": base64.b64encode(piece).decode(), "step_time": 1.0}
            await self._send(chunk)
            await asyncio.sleep(self._server.pace.each)
            self._sent += len(piece) / 2 / rate
        if asked.get("add_timestamps") and asked["language"] in TIMED_LANGUAGES and pcm:
            words = timed(text, began, self._sent - began)
            columns = {
                "words": [word.text for word in words],
                "start": [word.start for word in words],
                "end": [word.end for word in words],
            }
            await self._send({"type": "timestamps", "word_timestamps": columns})

    async def _fail(self, fault: Fault) -> None:
        """Raises Cut where nothing more is to be said."""
        if fault.kind is Kind.TRICKLE:
            await asyncio.sleep(fault.every)
        elif fault.kind is Kind.MALFORMED:
            await self._socket.send_str("{ not json")
        elif fault.kind is Kind.ERROR:
            await self._error(fault.status, "scripted")
            raise Cut
        elif fault.kind is not Kind.EMPTY:
            self.deaf = fault.kind is Kind.HALF_OPEN
            await self._server.break_off(self._request, fault)

    async def _error(self, status: int, what: str) -> None:
        message = {"type": "error", "error": what, "status_code": status}
        await self._send(message, done=True)

    async def _send(self, message: Mapping[str, Any], *, done: bool = False) -> None:
        whole = {"status_code": UNFINISHED, "done": done, "context_id": self._name, **message}
        await self._socket.send_str(json.dumps(whole))


def complaint(asked: Mapping[str, Any]) -> str:
    """What is wrong with a request for speech; empty when nothing is."""
    sound = asked.get("output_format", {})
    wanted = {
        "model_id": asked.get("model_id"),
        "voice": asked.get("voice", {}).get("id"),
        "language": asked.get("language"),
        "output_format.sample_rate": sound.get("sample_rate"),
    }
    missing = [name for name, value in wanted.items() if not value]
    if sound.get("container") != "raw" or sound.get("encoding") != "pcm_s16le":
        missing.append("output_format")
    return ", ".join(missing)


async def audio(asked: Mapping[str, Any], text: str) -> bytes:
    """The sound of `text` as a request wants it."""
    speed = asked.get("generation_config", {}).get("speed", 1.0)
    return await speak(text, asked["language"], asked["output_format"]["sample_rate"], speed)
