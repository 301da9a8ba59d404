"""Deepgram's streaming speech to text, as livekit-plugins-deepgram 1.8.9 speaks it.

`GET /v1/listen` upgrades to a websocket: audio in binary messages; KeepAlive, Finalize and
CloseStream as text; SpeechStarted and Results come back. An utterance is an occasion.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

from aiohttp import WSMsgType, web

from plugins.offline.recognizer import SAMPLE_RATE
from tests.providers.ears import Ears, Result, Started, written
from tests.providers.faults import Fault, Kind
from tests.providers.server import Asked, Cut, StandIn

LISTEN, TOKEN = "listen", "token"
ERROR_CLOSE = 1011


class Deepgram(StandIn):
    """The server. `pace.first` is the lag of every result behind the audio."""

    name = "deepgram"
    path = "/v1/listen"

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.get(self.path, self._listen), web.get("/v1/auth/token", self._token)]

    def key_of(self, request: web.Request) -> str:
        return request.headers.get("Authorization", "").removeprefix("Token ")

    def refusal(self, status: int) -> Mapping[str, Any]:
        if status == 401:
            return {"err_code": "INVALID_AUTH", "err_msg": "Invalid credentials."}
        return {"err_code": "STAND_IN", "err_msg": f"refused with {status}"}

    async def _token(self, request: web.Request) -> web.Response:
        self.turns[TOKEN] += 1
        await self.admit(request, TOKEN, self.turns[TOKEN])
        return web.json_response({"api_key_id": "stand-in", "scopes": ["usage:write"]})

    async def _listen(self, request: web.Request) -> web.WebSocketResponse:
        self.asked.append(Asked(LISTEN, dict(request.query)))
        await self.admit(request, LISTEN, self.turns[LISTEN] + 1)
        if request.query.get("encoding") != "linear16":
            self.reject(400, "encoding: linear16")
        if request.query.get("sample_rate") != str(SAMPLE_RATE):
            self.reject(400, f"sample_rate: {SAMPLE_RATE}")
        socket = await self.accept(request)
        listener = _Listener(self, request, socket)
        try:
            await listener.run()
        finally:
            await listener.aclose()
            self.forget(socket)
        return socket


class _Listener:
    """One connection: what is heard goes out behind the audio by the stand-in's pace."""

    def __init__(
        self, server: Deepgram, request: web.Request, socket: web.WebSocketResponse
    ) -> None:
        self._server = server
        self._request = request
        self._socket = socket
        self._language = request.query.get("language", "en")
        self._interim = request.query.get("interim_results") == "true"
        self._vad_events = request.query.get("vad_events") == "true"
        self._punctuate = request.query.get("punctuate") == "true"
        self._ears = Ears(self._language)
        self._id = str(uuid4())
        self._fault: Fault | None = None
        self._failing = False
        self._mute = False
        self._outbox: asyncio.Queue[tuple[float, str]] = asyncio.Queue()
        self._sender = asyncio.create_task(self._send_all(), name="deepgram-results")

    async def run(self) -> None:
        """Listen until the client has said all. Raises Cut where a fault ends it."""
        async for message in self._socket:
            if message.type is WSMsgType.BINARY:
                for heard in self._ears.push(message.data):
                    self._tell(heard)
                await self._fail()
            elif message.type is WSMsgType.TEXT:
                await self._obey(json.loads(message.data)["type"])

    async def aclose(self) -> None:
        self._sender.cancel()
        await asyncio.wait({self._sender})
        self._ears.close()

    async def _obey(self, command: str) -> None:
        if command in ("Finalize", "CloseStream"):
            for heard in self._ears.finish():
                self._tell(heard)
        if command == "CloseStream":
            self._put({"type": "Metadata", "request_id": self._id, "channels": 1})
            await self._outbox.join()
            await self._socket.close()

    def _tell(self, heard: Started | Result) -> None:
        if isinstance(heard, Started):
            self._server.turns[LISTEN] += 1
            turn = self._server.turns[LISTEN]
            self._fault = fault = self._server.faults.strike(LISTEN, turn, refusal=False)
            self._failing = fault is not None and fault.after == 0
            if self._vad_events:
                self._put({"type": "SpeechStarted", "channel": [0], "timestamp": 0.0})
        elif heard.final or self._interim:
            self._put(self._results(heard))

    async def _fail(self) -> None:
        fault = self._fault
        if fault is None or self._ears.spoken < fault.after:
            return
        self._failing = True
        if fault.kind is Kind.STALL:
            self._mute = True
        elif fault.kind is Kind.ERROR:
            self._fault = None
            self._put({"type": "Error", "variant": "NET-0001", "description": "stand-in"})
            await self._outbox.join()
            await self._socket.close(code=ERROR_CLOSE)
        elif fault.kind in (Kind.DROP, Kind.HALF_OPEN):
            self._mute = True
            await self._server.break_off(self._request, fault)
            raise Cut

    def _results(self, heard: Result) -> dict[str, Any]:
        words = () if self._is(Kind.EMPTY) else heard.words
        pretty = written(words, self._language) if heard.final else [w.text for w in words]
        shown = pretty if self._punctuate else [word.text for word in words]
        alternative = {
            "transcript": " ".join(shown),
            "confidence": round(heard.confidence, 4) if words else 0.0,
            "words": [
                {
                    "word": word.text,
                    "start": round(word.start, 3),
                    "end": round(word.end, 3),
                    "confidence": round(heard.confidence, 4),
                    "punctuated_word": text,
                }
                for word, text in zip(words, pretty, strict=True)
            ],
        }
        return {
            "type": "Results",
            "channel_index": [0, 1],
            "start": round(heard.start, 3),
            "duration": round(heard.end - heard.start, 3),
            "is_final": heard.final,
            "speech_final": heard.final,
            "from_finalize": False,
            "channel": {"alternatives": [alternative]},
            "metadata": {"request_id": self._id, "model_uuid": self._id},
        }

    def _put(self, message: Mapping[str, Any]) -> None:
        text = "{ not json" if self._is(Kind.MALFORMED) else json.dumps(message)
        late = self._fault.every if self._fault and self._is(Kind.TRICKLE) else 0.0
        due = asyncio.get_running_loop().time() + self._server.pace.first + late
        self._outbox.put_nowait((due, text))

    def _is(self, kind: Kind) -> bool:
        return self._failing and self._fault is not None and self._fault.kind is kind

    async def _send_all(self) -> None:
        while True:
            due, text = await self._outbox.get()
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            if not self._mute and not self._socket.closed:
                await self._socket.send_str(text)
            self._outbox.task_done()
