"""`python -m ops doctor sip`: why a call does not arrive, and whether a trunk's address answers."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from pathlib import Path
from typing import Annotated

import typer

from config import settings as configured
from config.sip import SIP_FILE, load_sip, owner_in
from ops.doctor.finding import Finding, console_of, plain, show, told, worst
from ops.sip import doctor
from ops.sip.doctor import Examined
from ops.sip.matching import Call, Judged
from ops.sip.options import WITHIN
from ops.sip.server import SipError, connected
from ops.sip.thing import Thing
from ops.sip.wire import declared

From = Annotated[str, typer.Option("--from", help="The caller's number, as the provider sends it.")]
To = Annotated[str, typer.Option("--to", help="The called number, as the provider sends it.")]
Ip = Annotated[str, typer.Option("--ip", help="The address that the call comes from.")]
Host = Annotated[str, typer.Option("--host", help="Host of the INVITE's From header, if known.")]
File = Annotated[
    Path | None, typer.Option("--file", help="Trunks and rules of this file, not of the server.")
]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Options = Annotated[bool, typer.Option(help="Ask each outbound trunk's address (SIP OPTIONS).")]
Address = Annotated[
    list[str] | None,
    typer.Option("--address", metavar="HOST[:PORT]", help="Ask this address, too (UDP)."),
]
Within = Annotated[float, typer.Option(min=0.1, max=60, help="Seconds to wait for an answer.")]


def command(
    *,
    caller: From = "",
    called: To = "",
    ip: Ip = "",
    host: Host = "",
    file: File = None,
    options: Options = True,
    address: Address = None,
    within: Within = WITHIN,
    as_json: Json = False,
) -> None:
    """Walk the server's own way through trunks and rules, and name what does not match."""
    call = _call(caller, called, ip, host)
    agent_name = configured.load().worker.agent_name
    owner, things = asyncio.run(_things(file))
    examined = doctor.examine(things, owner, call, agent_name)
    findings = [
        *examined.findings,
        *asyncio.run(
            doctor.probed(things if options else [], address or (), within),
        ),
    ]
    if as_json:
        result = {**doctor.told(examined), "findings": told(findings), "exit": worst(findings)}
        typer.echo(json.dumps(result, ensure_ascii=False, indent=2))
    else:
        _show(examined, findings)
    raise typer.Exit(worst(findings))


def _call(caller: str, called: str, ip: str, host: str) -> Call | None:
    given = {"--from": caller, "--to": called, "--ip": ip}
    if not any([*given.values(), host]):
        return None
    if missing := [name for name, value in given.items() if not value]:
        raise SipError(f"a call has --from, --to and --ip: {' and '.join(missing)} is missing")
    try:
        ipaddress.ip_address(ip)
    except ValueError:
        raise SipError(f"--ip {ip} is no IP address") from None
    return Call(caller, called, ip, host)


async def _things(file: Path | None) -> tuple[str, list[Thing]]:
    environment = configured.environment()
    if file:
        sip = load_sip(environment, file)
        return sip.owner, declared(sip)
    owner = owner_in(environment, SIP_FILE)
    async with connected(configured.load()) as server:
        return owner, await server.things(owner)


def _show(examined: Examined, findings: list[Finding]) -> None:
    if walk := examined.walk:
        console = console_of()
        for judged in (*walk.trunks, *walk.rules):
            chosen = judged.thing.id in {one.id for one in (walk.trunk, walk.rule) if one}
            console.print(plain(f"{'*' if chosen else '-'} {judged.thing}: {_verdict(judged)}"))
        console.print()
    show(findings)


def _verdict(judged: Judged) -> str:
    also = f"; nor {', '.join(judged.also)}" if judged.also else ""
    return f"{judged.field}: {judged.why}{also}" if judged.field else "matches"
