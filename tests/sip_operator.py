"""An operator at `python -m ops sip`, and the file that is applied."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from livekit import api
from typer.testing import CliRunner

from agent.errors import VoiceAgentError
from config.errors import SettingsError
from ops.__main__ import app
from tests.sip_stand_in import RealSip, SipStandIn

FILE = """
inbound_trunks:
  - name: main
    numbers: ["+15555550100", "+15555550101"]
    allowed_addresses: [203.0.113.0/24]
    auth: {username: caller, password: "${SIP_PASSWORD}", realm: example.test}
    headers: {X-Agent: voice-ai}
    include_headers: x
    ringing_timeout: 20
    max_call_duration: 1800.5
    media: {encryption: allow, codecs: [{name: PCMA, rate: 8000}], media_timeout: 12}
    metadata: {site: lab}
outbound_trunks:
  - name: out
    address: sip.example.test:5061
    transport: tls
    numbers: ["+15555550100"]
dispatch_rules:
  - name: voice-ai-dispatch
    trunks: [main]
    hide_phone_number: true
    attributes: {line: main}
    room_config:
      agents: [{agent_name: voice-ai, metadata: {persona: en}}]
      egress:
        room:
          audio_only: true
          audio_mixing: DUAL_CHANNEL_AGENT
          file_outputs: [{file_type: OGG, filepath: calls/x.ogg, s3: {bucket: b, secret: "${S3}"}}]
"""


def invoke(*arguments, env, says=""):
    """`python -m ops ARGUMENTS` in this process, which saves a second of imports each."""
    done = CliRunner().invoke(app, arguments, env=env, input=says)
    error = done.exception
    if isinstance(error, VoiceAgentError | SettingsError):
        return 2, done.stdout, f"{done.stderr}error: {error}\n"
    assert error is None or isinstance(error, SystemExit), error
    return done.exit_code, done.stdout, done.stderr


class Operator:
    """Somebody who types commands."""

    def __init__(self, folder: Path, server: SipStandIn | RealSip) -> None:
        self.folder = folder
        self.file = folder / "sip.yaml"
        self.declares(FILE)
        self.variables = {
            "VOICE_AGENT__DATA__FOLDER": str(folder / "data"),
            "VOICE_AGENT__STORE__URL": f"sqlite:///{folder / 'calls.db'}",
            "SIP_PASSWORD": "hush-one",
            "S3": "hush-two",
            **server.variables,
        }

    def declares(self, text: str) -> None:
        self.file.write_text(text)

    async def types(
        self,
        command: str,
        *arguments: str,
        code: int = 0,
        says: str = "",
        wants: str = "",
        **variables: str,
    ) -> str:
        """Standard output, or standard error with exit code 2 (unless it `wants` the other)."""
        file = ("--file", str(self.file)) if command not in {"back", "import"} else ()
        exit_code, out, err = await asyncio.to_thread(
            *(invoke, "sip", command, *file, *arguments),
            env={**self.variables, **variables},
            says=says,
        )
        assert exit_code == code, out + err
        assert "hush" not in out + err
        return err if code == 2 and wants != "out" else out

    async def actions(self, command: str, *arguments: str) -> list[tuple[str, str, list[str]]]:
        """What is not `no change`: action, name, fields."""
        told = json.loads(await self.types(command, "--json", *arguments))
        return [
            (one["action"], one["name"], [field["field"] for field in one["differences"]])
            for one in told["changes"]
            if one["action"] != "no change"
        ]

    @property
    def saved(self) -> list[Path]:
        return sorted((self.folder / "data" / "sip").glob("back-*.yaml"))


async def inbound(client):
    listed = await client.list_inbound_trunk(api.ListSIPInboundTrunkRequest())
    return {trunk.name: trunk for trunk in listed.items}


async def rules(client):
    listed = await client.list_dispatch_rule(api.ListSIPDispatchRuleRequest())
    return {rule.name: rule for rule in listed.items}
