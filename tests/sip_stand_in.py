"""A stand-in for the SIP API of a LiveKit server (Twirp over protobuf), and the real one.

Both are async context managers with `variables`; the same tests run against either.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import aiohttp
import yaml
from aiohttp import web
from livekit import api
from livekit.protocol import sip

from tests import canaries
from tests.programs import PATIENCE

KEY, SECRET = "key-of-a-test", canaries.secret()
PROGRAMS = ("livekit-server", "redis-server")


class SipStandIn:
    """Keeps trunks and rules in memory, with the server's own checks."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {"InboundTrunk": {}, "OutboundTrunk": {}, "Rule": {}}
        self.writes: list[str] = []
        """Methods that changed something, in order."""
        self.has_redis = True
        self.withholds_passwords = False
        self.ignores_updates = False

    async def __aenter__(self) -> Self:
        app = web.Application()
        self.routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    @property
    def variables(self) -> dict[str, str]:
        port = self._runner.addresses[0][1]
        return _variables(port)

    def routes(self, app: web.Application) -> None:
        """What it answers."""
        app.router.add_post("/twirp/livekit.SIP/{method}", self._on_call)

    async def _on_call(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        try:
            self._check(request)
            answer = self._dispatch(method, await request.read())
        except _Refused as refused:
            body = {"code": refused.code, "msg": refused.message}
            return web.json_response(body, status=refused.status)
        if not method.startswith("List"):
            self.writes.append(method)
        return web.Response(body=answer.SerializeToString(), content_type="application/protobuf")

    def _check(self, request: web.Request) -> None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            claims = api.TokenVerifier(KEY, SECRET).verify(token)
        except Exception as error:
            raise _Refused("unauthenticated", "invalid token", 401) from error
        assert claims.sip.admin
        if not self.has_redis:
            raise _Refused("internal", "sip not connected (redis required)", 500)

    def _dispatch(self, method: str, body: bytes) -> Any:
        verb, _, noun = method.partition("SIP")
        kind = "Rule" if noun == "DispatchRule" else noun
        if verb == "Delete":
            return self._delete(noun, body)
        request = getattr(sip, f"{verb}SIP{noun}Request").FromString(body)
        if verb == "List":
            items = [self._told(item) for item in self.kept[kind].values()]
            return getattr(sip, f"ListSIP{noun}Response")(items=items)
        if verb == "Create":
            made = request.dispatch_rule if kind == "Rule" else request.trunk
            identity = f"S{'DR' if kind == 'Rule' else 'T'}_{uuid4().hex[:12]}"
            return self._keep(kind, identity, made)
        identity = request.sip_dispatch_rule_id if kind == "Rule" else request.sip_trunk_id
        if identity not in self.kept[kind]:
            raise _Refused("not_found", "requested sip object does not exist", 404)
        if request.WhichOneof("action") == "replace":
            return self._keep(kind, identity, request.replace)
        changed = type(self.kept[kind][identity])()
        changed.CopyFrom(self.kept[kind][identity])
        if not self.ignores_updates:
            _update(changed, request.update)
        return self._keep(kind, identity, changed)

    def _keep(self, kind: str, identity: str, made: Any) -> Any:
        setattr(made, "sip_dispatch_rule_id" if kind == "Rule" else "sip_trunk_id", identity)
        if kind == "InboundTrunk":
            if not (made.auth_username or made.allowed_addresses or made.numbers):
                raise _Refused("invalid_argument", "for security, one of the fields must be set")
            self._no_conflict(made)
        self.kept[kind][identity] = made
        return self._told(made)

    def _no_conflict(self, made: Any) -> None:
        for other in self.kept["InboundTrunk"].values():
            if other.sip_trunk_id != made.sip_trunk_id and set(other.numbers) & set(made.numbers):
                raise _Refused("invalid_argument", "Conflicting inbound SIP Trunks")

    def _delete(self, noun: str, body: bytes) -> Any:
        if noun == "DispatchRule":
            identity = sip.DeleteSIPDispatchRuleRequest.FromString(body).sip_dispatch_rule_id
            return self.kept["Rule"].pop(identity)
        identity = sip.DeleteSIPTrunkRequest.FromString(body).sip_trunk_id
        for kind in ("InboundTrunk", "OutboundTrunk"):
            self.kept[kind].pop(identity, None)
        return sip.SIPTrunkInfo(sip_trunk_id=identity)

    def _told(self, item: Any) -> Any:
        told = type(item)()
        told.CopyFrom(item)
        if self.withholds_passwords and hasattr(told, "auth_password"):
            told.auth_password = ""
        return told


class RealSip:
    """livekit-server with a redis-server of its own, on free ports of loopback."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[asyncio.subprocess.Process] = []

    @staticmethod
    def lacking() -> list[str]:
        """The programs that are not on PATH."""
        return [program for program in PROGRAMS if not shutil.which(program)]

    async def __aenter__(self) -> Self:
        self._port, tcp, udp, redis = _free_ports(4)
        config = {
            "port": self._port,
            "bind_addresses": ["127.0.0.1"],
            "rtc": {"tcp_port": tcp, "udp_port": udp, "node_ip": "127.0.0.1"},
            "redis": {"address": f"127.0.0.1:{redis}"},
            "keys": {KEY: SECRET},
        }
        path = self._folder / "livekit.yaml"
        path.write_text(yaml.safe_dump(config))
        options = ("--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder))
        await self._start("redis-server", "--port", str(redis), *options)
        await _answers(redis)
        await self._start("livekit-server", "--config", str(path))
        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as client:
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with client.get(f"http://127.0.0.1:{self._port}/") as answer:
                        if answer.status == web.HTTPOk.status_code:
                            return self
                await asyncio.sleep(0.05)

    async def __aexit__(self, *error: object) -> None:
        for process in reversed(self._processes):
            process.kill()
            await process.wait()

    @property
    def variables(self) -> dict[str, str]:
        return _variables(self._port)

    async def _start(self, program: str, *arguments: str) -> None:
        with (self._folder / f"{program}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                program, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._processes.append(process)


class _Refused(Exception):
    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


def _update(kept: Any, update: Any) -> None:
    for field, value in update.ListFields():
        if field.name in {"numbers", "allowed_addresses", "allowed_numbers", "trunk_ids"}:
            getattr(kept, field.name)[:] = value.set
        elif field.name == "attributes":
            kept.attributes.update(value)
        elif field.name == "rule":
            kept.rule.CopyFrom(value)
        else:
            setattr(kept, field.name, value)
    for name in ("auth_username", "auth_password"):  # an empty one is given, too
        if name in update.DESCRIPTOR.fields_by_name and update.HasField(name):
            setattr(kept, name, getattr(update, name))


def _variables(port: int) -> dict[str, str]:
    url = f"ws://127.0.0.1:{port}"
    return {"LIVEKIT_URL": url, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


async def _answers(port: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.02)
