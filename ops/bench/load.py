"""One `ops serve` under load from a second process: wrk, a public load tool (Debian: wrk).

`measured` starts the server on a database of its own and sends it requests for as many seconds as
asked, over connections that are kept; each connection waits for its answer before it asks again.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.errors import StartError
from agent.store import CallLog
from agent.store.access import Access
from config.fields import ROOT
from config.settings import environment_with
from ops.front.clients import new_key

TOOL = "wrk"
STARTS_WITHIN = 60.0
API_KEY, API_SECRET = "key-of-the-bench", "secret-of-the-bench-which-is-long-enough"

SCRIPT = """\
local requests, ready, at = dofile("{requests}"), {{}}, 0
init = function()
  for i, one in ipairs(requests) do
    ready[i] = wrk.format("POST", "{path}", one.headers, one.body)
  end
end
request = function()
  at = at % #ready + 1
  return ready[at]
end
done = function(summary, latency)
  local errors = summary.errors
  local lost = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format(
    'FIGURES {{"requests": %d, "microseconds": %d, "refused": %d, "lost": %d,'
    .. ' "p50": %d, "p95": %d, "p99": %d}}\\n',
    summary.requests, summary.duration, errors.status, lost,
    latency:percentile(50), latency:percentile(95), latency:percentile(99)))
end
"""
"""`done` is called by wrk at the end. Requests are sent in turn, from the first again."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is posted."""

    body: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Served:
    """A server of the bench's own."""

    url: str
    client_key: str
    """With the scopes that were asked for, and without a limit of requests."""
    folder: Path
    process: subprocess.Popen[bytes]


def measured(
    path: str,
    scopes: Sequence[str],
    requests: Callable[[Served], Sequence[Request]],
    *,
    seconds: int,
    connections: int,
) -> dict[str, Any]:
    """Post `requests` to `path` of a new server in turn. Raises StartError."""
    with serving(scopes) as served:
        return load(served, path, requests(served), seconds=seconds, connections=connections)


@contextmanager
def serving(scopes: Sequence[str], more: Mapping[str, str] | None = None) -> Iterator[Served]:
    """One `ops serve` on SQLite, in a folder that goes with it. Raises StartError."""
    with tempfile.TemporaryDirectory(prefix="voice-ai-bench-") as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'calls.db'}"
        log = CallLog.open(url)
        row, key = new_key("bench", tuple(scopes), 0)
        Access(log.engine).add_key(row)
        log.close()
        variables = {
            "VOICE_AGENT__STORE__URL": url,
            "VOICE_AGENT__DATA__FOLDER": str(folder),
            "LIVEKIT_URL": "",
            "LIVEKIT_API_KEY": API_KEY,
            "LIVEKIT_API_SECRET": API_SECRET,
            "REDIS_URL": "",
            **(more or {}),
        }
        command = [sys.executable, "-m", "ops", "serve", "--port", "0"]
        with (folder / "log").open("wb") as out:
            process = subprocess.Popen(  # noqa: S603 - ourselves
                command, cwd=ROOT, env=environment_with(variables), stderr=out
            )
        try:
            yield Served(_told_url(process, folder / "log"), key, folder, process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def load(
    served: Served, path: str, requests: Sequence[Request], *, seconds: int, connections: int
) -> dict[str, Any]:
    """Post `requests` in turn for `seconds`. Raises StartError without the tool."""
    tool = shutil.which(TOOL)
    if tool is None:
        raise StartError(f"{TOOL} not found on PATH: the load comes from it (Debian package wrk)")
    listed = served.folder / "requests.lua"
    listed.write_text(f"return {{\n{''.join(map(_lua, requests))}}}\n", "utf-8")
    script = served.folder / "load.lua"
    script.write_text(SCRIPT.format(requests=listed, path=path), "utf-8")
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script)]
    told = subprocess.run(  # noqa: S603 - found on PATH by its name
        [tool, *options, served.url], capture_output=True, text=True, check=False
    )
    found = re.search(r"^FIGURES (.*)$", told.stdout, re.MULTILINE)
    if found is None:
        raise StartError(f"{TOOL} told no figures: {told.stderr.strip()[-300:]}")
    return _figures(json.loads(found[1]), connections)


def _figures(raw: Mapping[str, int], connections: int) -> dict[str, Any]:
    bad, asked = raw["refused"] + raw["lost"], raw["requests"] + raw["lost"]
    seconds = raw["microseconds"] / 1e6
    return {
        "requests": raw["requests"],
        "seconds": round(seconds, 1),
        "connections": connections,
        "per_second": round((raw["requests"] - raw["refused"]) / seconds),
        **{f"{name}_ms": round(raw[name] / 1000, 1) for name in ("p50", "p95", "p99")},
        "errors_percent": round(100 * bad / max(asked, 1), 3),
    }


def _lua(request: Request) -> str:
    headers = "".join(f"[{_quoted(n)}]={_quoted(v)}," for n, v in request.headers.items())
    return f"  {{headers={{{headers}}}, body={_quoted(request.body)}}},\n"


def _quoted(text: str) -> str:
    """A string of Lua: any byte that is not plain as a backslash and three digits."""
    plain = (
        chr(b) if chr(b).isascii() and chr(b).isprintable() and b not in b'"\\' else f"\\{b:03d}"
        for b in text.encode()
    )
    return f'"{"".join(plain)}"'


def _told_url(process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < until and process.poll() is None:
        if found := re.search(r'"url": "([^"]+)"', log.read_text("utf-8")):
            return found[1]
        time.sleep(0.05)
    process.kill()
    raise StartError(f"ops serve did not start: {log.read_text('utf-8')[-300:]}")
