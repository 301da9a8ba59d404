"""Telephones at one moment, with servers, worker and callers on the same machine.

`python -m ops bench rooms --calls 10` shows the figures, and what each program took of the CPU.
"""

from __future__ import annotations

import statistics

import pytest

from tests.sip_burst import burst

pytestmark = [pytest.mark.acceptance, pytest.mark.sip]

AT_ONCE, MANY = 4, 10
GREETED = 3.0
"""Seconds from the caller's join (median): twice the product's figure."""


async def test_some_telephones_at_once_are_greeted_soon(tmp_path):
    told = await burst(tmp_path, AT_ONCE)
    print(told)  # noqa: T201
    assert len(told.greeted) == AT_ONCE
    assert statistics.median(told.joined_to_greeted) <= GREETED


async def test_ten_telephones_at_once_are_all_answered_greeted_and_recorded(tmp_path):
    told = await burst(tmp_path, MANY)
    print(told)  # noqa: T201
    assert (len(told.answered), len(told.greeted)) == (MANY, MANY)
    assert statistics.median(told.joined_to_greeted) <= GREETED
    assert told.reasons == {"caller_hangup": MANY}
