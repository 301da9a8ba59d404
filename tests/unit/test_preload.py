"""What a job process makes before its call."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from agent import preload


def niceness():
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="threads with a niceness of their own (Linux)")
def test_what_is_made_for_the_next_call_yields_to_those_that_are_answered():
    before = niceness()
    assert preload._behind_calls(niceness) == min(before + preload.BEHIND, preload.NICEST)
    assert niceness() == before


def test_what_cannot_be_made_is_an_error_of_the_process():
    with pytest.raises(ZeroDivisionError):
        preload._behind_calls(lambda: 1 / 0)
