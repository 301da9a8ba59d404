"""Who is on the line: a SIP participant of a LiveKit room becomes a `Caller`."""

from __future__ import annotations

from livekit import rtc

from agent.call import Caller

SIP_NUMBER = "sip.phoneNumber"
SIP_CALLED = "sip.trunkPhoneNumber"
SIP_STATUS, RINGING = "sip.callStatus", "ringing"
KINDS = {
    rtc.ParticipantKind.PARTICIPANT_KIND_SIP: "sip",
    rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD: "standard",
    rtc.ParticipantKind.PARTICIPANT_KIND_CONNECTOR: "connector",
}
"""Kinds of participant that can be a caller; agents, egress and ingress are none."""


def from_participant(participant: rtc.RemoteParticipant) -> Caller:
    """The caller behind `participant`; numbers come from the attributes that LiveKit SIP sets.

    Anybody else may have written such attributes for itself, and has no number.
    """
    attributes = dict(participant.attributes)
    vouched = attributes if participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_SIP else {}
    return Caller(
        identity=participant.identity,
        number=vouched.get(SIP_NUMBER, ""),
        called=vouched.get(SIP_CALLED, ""),
        kind=KINDS.get(participant.kind, "standard"),
        attributes=attributes,
    )


def is_ringing(participant: rtc.Participant) -> bool:
    """Whether this is a telephone that is not yet connected, and so neither speaks nor hears."""
    return participant.attributes.get(SIP_STATUS) == RINGING
