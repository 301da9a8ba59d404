"""Who is on the line: only a telephone network vouches for a number."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from livekit import rtc

from agent.caller import from_participant

KIND = rtc.ParticipantKind
TOLD = {"sip.phoneNumber": "+15550100", "sip.trunkPhoneNumber": "+15550199", "name": "x"}


def caller(kind):
    return from_participant(SimpleNamespace(identity="one", kind=kind, attributes=TOLD))


def test_a_telephone_has_the_numbers_that_livekit_sip_sets():
    found = caller(KIND.PARTICIPANT_KIND_SIP)
    assert (found.number, found.called, found.kind) == ("+15550100", "+15550199", "sip")


@pytest.mark.parametrize("kind", [KIND.PARTICIPANT_KIND_STANDARD, KIND.PARTICIPANT_KIND_CONNECTOR])
def test_anybody_else_who_says_so_has_none(kind):
    found = caller(kind)
    assert (found.number, found.called) == ("", "")
    assert found.attributes["name"] == "x"
