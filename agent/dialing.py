"""Ringing somebody through an outbound trunk: LiveKit SIP's CreateSIPParticipant and its outcomes.

Numbers stay in the request: not in the names of rooms and participants, nor in logs and errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration
from livekit import api

from agent import log
from agent.call import EndReason
from agent.errors import LegError, LiveKitError, SipFailed
from agent.livekit import LiveKit

logger = log.get(__name__)

COLLEAGUE = "colleague"
"""The identity in a caller's room of the person to whom the caller is handed over."""

ID = "ST_"
"""The ids of trunks begin with it."""

OUTCOMES: Mapping[int, EndReason] = {
    408: EndReason.NOT_ANSWERED,
    480: EndReason.NOT_ANSWERED,
    486: EndReason.CALLEE_BUSY,
    487: EndReason.NOT_ANSWERED,
    600: EndReason.CALLEE_BUSY,
    401: EndReason.TRUNK_FAILURE,
    403: EndReason.TRUNK_FAILURE,
    407: EndReason.TRUNK_FAILURE,
}
"""What a final SIP answer means (RFC 3261, section 21); 403 is how providers say that the account
or the number shown may not call. Any other 4xx and 6xx is a refusal, 5xx the trunk's failure."""

RANG_OUT = frozenset({"canceled", "deadline_exceeded"})
"""What LiveKit says without a SIP answer when the ringing was given up."""

SERVER_FAILURE = range(500, 600)


class DialFailed(LegError):
    """Nobody took the call that was placed."""

    def __init__(self, reason: EndReason, detail: str, status: int = 0) -> None:
        """`status` is the final SIP answer; 0: there was none."""
        super().__init__(detail)
        self.reason = reason
        self.status = status


@dataclass(frozen=True, slots=True)
class Order:
    """Whom to ring. `to` is +15550100 or a SIP URI; `trunk` an id, a name, or empty.

    `ringing` and `longest` are seconds. LiveKit ends a leg that lasts `longest`, also when the
    agent is gone by then; 0: only the agent ends it.
    """

    to: str = field(repr=False)
    trunk: str = ""
    identity: str = "callee"
    ringing: float = 45.0
    longest: float = 0.0


async def dial(livekit: LiveKit, room: str, order: Order) -> None:
    """Ring until there is an answer; then the participant `order.identity` is in the room.

    A request that may have rung is never repeated (`config/retry_policies.yaml`).
    Raises DialFailed with the EndReason that it would be for a call.
    """
    trunk = await find_trunk(livekit, order.trunk)
    request = api.CreateSIPParticipantRequest(
        sip_trunk_id=trunk,
        sip_call_to=order.to.removeprefix("tel:"),
        room_name=room,
        participant_identity=order.identity,
        participant_name=order.identity,
        hide_phone_number=True,
        wait_until_answered=True,
        ringing_timeout=Duration(seconds=round(order.ringing)),
    )
    if order.longest:
        request.max_call_duration.CopyFrom(Duration(seconds=round(order.longest)))
    try:
        await livekit.sip.create_sip_participant(request)
    except LiveKitError as error:
        raise failure(error) from None


async def find_trunk(livekit: LiveKit, trunk: str) -> str:
    """The id of the outbound trunk of this id or name; of the only one when `trunk` is empty.

    Raises DialFailed.
    """
    if trunk.startswith(ID):
        return trunk
    try:
        listed = await livekit.sip.list_outbound_trunk(api.ListSIPOutboundTrunkRequest())
    except LiveKitError as error:
        why = f"the outbound trunks cannot be read: {error}"
        raise DialFailed(EndReason.TRUNK_FAILURE, why) from None
    found = [one for one in listed.items if not trunk or one.name == trunk]
    if len(found) == 1:
        return str(found[0].sip_trunk_id)
    there = ", ".join(sorted(one.name or one.sip_trunk_id for one in listed.items)) or "none"
    wanted = f"no outbound trunk {trunk}" if trunk else "outbound.trunk names none"
    if found:
        wanted = f"several outbound trunks are named {trunk}" if trunk else wanted
    raise DialFailed(EndReason.TRUNK_FAILURE, f"{wanted} (there are: {there})")


def failure(error: LiveKitError) -> DialFailed:
    """What became of a call that nobody took. The server's own words may hold the number."""
    code = error.sip_status if isinstance(error, SipFailed) else 0
    if code:
        return DialFailed(meaning(code), f"SIP {code}", code)
    if error.code in RANG_OUT:
        return DialFailed(EndReason.NOT_ANSWERED, "no answer in time")
    return DialFailed(EndReason.TRUNK_FAILURE, f"LiveKit says {error}")


def meaning(code: int) -> EndReason:
    """Why a call ends that got this final SIP answer."""
    if code in SERVER_FAILURE:
        return EndReason.TRUNK_FAILURE
    return OUTCOMES.get(code, EndReason.CALLEE_REFUSED)
