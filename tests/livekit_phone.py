"""The simulated callers of the line, in a LiveKit room: with the kind and attributes of SIP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from uuid import uuid4

from livekit import api

from agent.store import CallLog
from agent.store.rows import CallRecord, CallRow, TurnRow
from ops.canary import phone
from plugins.line import Clock, Ended
from plugins.line.caller import SimulatedCaller
from tests.callers import CALL_LIMIT
from tests.livekit_server import LiveKitServer
from tests.programs import eventually

CALLER = "sip_caller"


def a_room() -> str:
    """A room's name of its own."""
    return f"voice-ai-call-{uuid4().hex[:8]}"


async def closed_record(
    variables: Mapping[str, str], room: str
) -> tuple[CallRow, tuple[TurnRow, ...]]:
    """The last call of `room` and its turns, once every record of the room is closed."""

    def look() -> CallRecord | None:
        log = CallLog.open(variables["VOICE_AGENT__STORE__URL"], readonly=True)
        try:
            calls = [call for call in log.list_calls(100) if call.room == room]
            closed = calls and all(call.ended_at for call in calls)
            return log.get_call(calls[0].id) if closed else None
        finally:
            log.close()

    record = await eventually(look, f"the record of {room} is closed")
    return record.call, record.turns


class RoomPhone(phone.RoomPhone):
    """One caller who joins `room`; with `dispatch`, the room that this makes asks for the agent.

    That is what LiveKit SIP does by a dispatch rule.
    """

    def __init__(
        self,
        server: LiveKitServer,
        clock: Clock,
        caller: SimulatedCaller,
        room: str,
        *,
        dispatch: bool = True,
    ) -> None:
        token = _token(server, caller, room, dispatch=dispatch)
        super().__init__(server.variables["LIVEKIT_URL"], token, clock, caller)
        self.name = room

    async def until_ended(self) -> Ended:
        """How the caller came out of the room. Raises TimeoutError."""
        return await asyncio.wait_for(asyncio.shield(self.ended), CALL_LIMIT)


def _token(server: LiveKitServer, caller: SimulatedCaller, room: str, *, dispatch: bool) -> str:
    number = caller.scenario.caller
    attributes = {
        "sip.phoneNumber": number.number,
        "sip.trunkPhoneNumber": number.called,
        "sip.callStatus": "active",
    }
    token = server.token(api.VideoGrants(room_join=True, room=room)).with_identity(CALLER)
    token = token.with_kind("sip").with_attributes(attributes)
    if dispatch:
        agents = [api.RoomAgentDispatch(agent_name=server.agent_name)]
        token = token.with_room_config(api.RoomConfiguration(agents=agents))
    return token.to_jwt()
