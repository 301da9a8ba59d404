"""Ten telephones at one moment, servers, worker and callers on the same machine.

The product's figure: the greeting is heard within 1.5 s of the caller's join (median) on two cores.
`python -m ops bench rooms --calls 10` shows it. The gate leaves room for other machines.
"""

from __future__ import annotations

import statistics

import pytest

from tests.sip_burst import burst

pytestmark = [pytest.mark.acceptance, pytest.mark.sip]

CALLS = 10
GREETED = 3.0
"""Seconds from the INVITE (median): twice the product's figure."""


async def test_ten_telephones_at_once_are_all_answered_greeted_and_recorded(tmp_path):
    told = await burst(tmp_path, CALLS)
    print(told)  # noqa: T201
    assert (len(told.answered), len(told.greeted)) == (CALLS, CALLS)
    assert told.reasons == {"caller_hangup": CALLS}
    assert statistics.median(told.greeted) <= GREETED
