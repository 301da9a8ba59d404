"""The audit trail of the operators' commands: who changed what, when and from where."""

from __future__ import annotations

import pwd
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import getuid

from agent.store import CallLog
from config.settings import Settings

Audit = Callable[[str, str], None]
"""Takes what was done (`sip.create`) and to which object. Raises StoreError."""


@contextmanager
def auditor(settings: Settings, command: str) -> Iterator[Audit]:
    """Opens the call log before anything is changed: what cannot be audited is not done.

    `command` is what was typed after `python -m ops`. Raises StoreError.
    """
    with audited(settings, command) as (_, audit):
        yield audit


@contextmanager
def audited(settings: Settings, command: str) -> Iterator[tuple[CallLog, Audit]]:
    """The same, with the call log itself. Raises StoreError."""
    log = CallLog.open(settings.store.url)
    who, source = operator(), f"{socket.gethostname()}: ops {command}"
    try:
        yield log, lambda what, thing: log.audit(who, what, thing, source)
    finally:
        log.close()


def operator() -> str:
    """Who runs this command, by the machine's word."""
    try:
        return pwd.getpwuid(getuid()).pw_name
    except KeyError:  # a container may run as a user without a name
        return str(getuid())
