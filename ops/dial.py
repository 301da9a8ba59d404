"""`python -m ops dial`: place a call through the outbound trunk, and tell what became of it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping
from typing import Annotated
from uuid import uuid4

import typer
from livekit import api

from agent import outbound
from agent.call import EndReason
from agent.dialing import find_trunk
from agent.errors import LiveKitError, StoreError, VoiceAgentError
from agent.livekit import LiveKit
from agent.start import check_livekit
from agent.store import CallLog
from agent.store.rows import CallRow
from config import settings as configured
from config.livekit_auth import KeyRing
from config.persona import load_personas
from config.rooms import ROOM_PREFIX
from config.settings import Settings

TAKEN_WITHIN = 20.0
"""Seconds for a worker to take the job: it opens the call's record first."""

EMPTY = 30
"""Seconds that the room waits for a worker: a call must not ring minutes later."""

LOOK = 0.5
"""Seconds between two looks into the call log."""

EXIT_CODES: Mapping[str, int] = {
    EndReason.VOICEMAIL: 3,
    EndReason.CALLEE_BUSY: 4,
    EndReason.NOT_ANSWERED: 5,
    EndReason.CALLEE_REFUSED: 6,
    EndReason.TRUNK_FAILURE: 7,
}
TALKED = {
    EndReason.CALLER_HANGUP,
    EndReason.AGENT_HANGUP,
    EndReason.TRANSFERRED,
    EndReason.SILENCE,
    EndReason.MAX_DURATION,
}


class NotDialled(VoiceAgentError):
    """The call could not be placed."""


def dial(
    to: Annotated[str, typer.Argument(metavar="NUMBER", help="Such as +15550100.")],
    *,
    persona: Annotated[str, typer.Option(help="Who talks; else personas.default.")] = "",
    trunk: Annotated[str, typer.Option(help="Id or name; else outbound.trunk.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Until the call is over.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Place a call. With --wait the exit code tells what became of it, and Ctrl-C ends the call.

    0 somebody talked with the agent, 3 answering machine, 4 busy, 5 no answer, 6 refused,
    7 the trunk failed, 1 any other end, 2 it could not be placed.
    """
    settings = configured.load()
    ring = check_livekit(settings)
    if not re.fullmatch(r"\+[1-9][0-9]{6,14}", to):
        raise NotDialled("NUMBER: expected a number such as +15550100")
    personas = load_personas(settings.personas.folder)
    persona = persona or settings.personas.default
    if persona not in personas:
        raise NotDialled(f"--persona {persona}: there are {', '.join(sorted(personas))}")
    room = f"{ROOM_PREFIX}{uuid4().hex[:12]}"
    call = asyncio.run(_call(settings, ring, room, to, persona=persona, trunk=trunk, wait=wait))
    reason = call.end_reason if call else None
    if as_json:
        told = {
            "room": room,
            "call": call.id if call else None,
            "end_reason": reason,
            "detail": call.end_detail if call else None,
        }
        typer.echo(json.dumps(told))
    elif call and reason:
        detail = f" ({call.end_detail})" if call.end_detail else ""
        typer.echo(f"{reason}{detail}   python -m ops calls show {call.id[:8]}")
    else:
        typer.echo(f"placed in {room}; --wait tells what becomes of it")
    if reason and reason not in TALKED:
        raise typer.Exit(EXIT_CODES.get(reason, 1))


async def _call(
    settings: Settings,
    ring: KeyRing,
    room: str,
    to: str,
    *,
    persona: str,
    trunk: str,
    wait: bool,
) -> CallRow | None:
    """Place the call, and wait for its end if asked to: its record. Raises VoiceAgentError.

    Whatever goes wrong, or interrupts it, deletes the room: nothing may ring after an error.
    """
    async with LiveKit.of(settings.livekit, ring.credentials) as livekit:
        # Looked up here, so that a mistake is told before anything rings.
        trunk = await find_trunk(livekit, trunk or settings.outbound.trunk)
        ordered = outbound.metadata(ring, room, to, trunk, persona)
        try:
            await _place(livekit, settings, room, ordered)
            return await _ended(settings, room) if wait else None
        except BaseException:
            await livekit.delete_room(room)
            raise


async def _place(livekit: LiveKit, settings: Settings, room: str, ordered: str) -> None:
    """Make the room and send the agent into it, which rings. Raises NotDialled."""
    dispatch = api.CreateAgentDispatchRequest(
        room=room,
        agent_name=settings.worker.agent_name,
        metadata=ordered,
        restart_policy=api.JobRestartPolicy.JRP_NEVER,  # another job would ring again
    )
    try:
        await livekit.room.create_room(api.CreateRoomRequest(name=room, empty_timeout=EMPTY))
        await livekit.agent_dispatch.create_dispatch(dispatch)
    except LiveKitError as error:
        raise NotDialled(f"{settings.livekit.url} did not take the call: {error}") from None


async def _ended(settings: Settings, room: str) -> CallRow:
    """The record of the call in `room`, once it is closed. Raises NotDialled and StoreError."""
    begun = time.monotonic()
    while True:
        call = await asyncio.to_thread(_look, settings.store.url, room)
        if call is None and time.monotonic() - begun > TAKEN_WITHIN:
            name = settings.worker.agent_name
            raise NotDialled(
                f"no worker named {name} took the call within {TAKEN_WITHIN:g} s, or it writes to"
                " another store.url than this command reads"
            )
        if call is not None and call.end_reason is not None:
            return call
        await asyncio.sleep(LOOK)


def _look(url: str, room: str) -> CallRow | None:
    try:
        log = CallLog.open(url, readonly=True)
    except StoreError:
        return None  # no call was ever recorded there yet
    try:
        return next((call for call in log.list_calls(200) if call.room == room), None)
    finally:
        log.close()
