"""A stand-in for a phone number: tells callers apart, and does not tell who they are.

HMAC-SHA256 (RFC 2104) over the digits of the number, with the installation's salt. There are few
phone numbers, so a pseudonym hides a number only as long as the salt is a secret.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path
from typing import Self
from uuid import uuid4

from agent import log
from config.settings import Settings

logger = log.get(__name__)

SALT_FILE = "caller_salt"
SALT_BYTES = 32
PSEUDONYM = "c-"
"""What each pseudonym begins with."""

LENGTH = 20
"""Hexadecimal digits: 80 bits, so that two callers are never taken for one."""

NUMBER = re.compile(r"\+?[0-9]{7,}")
"""What looks like a phone number inside an identity (LiveKit SIP: `sip_+15550100`)."""


class Pseudonyms:
    """Pseudonyms with one salt. Without a salt every number becomes nothing at all."""

    def __init__(self, salt: bytes) -> None:
        self._salt = salt

    @classmethod
    def of(cls, settings: Settings, *, readonly: bool = False) -> Self:
        """With the configured salt, else with the one of this installation's data folder.

        It is made on first use, unless `readonly`.
        """
        configured = settings.security.caller_salt.get_secret_value()
        file = settings.data.folder / SALT_FILE
        return cls(configured.encode() or _own_salt(file, readonly=readonly))

    def of_number(self, number: str) -> str:
        """The pseudonym of `number`; the same for all ways to write it. Empty stays empty."""
        digits = re.sub(r"[^0-9]", "", number)
        if not (digits and self._salt):
            return ""
        digest = hmac.new(self._salt, digits.encode(), hashlib.sha256).hexdigest()
        return f"{PSEUDONYM}{digest[:LENGTH]}"

    def within(self, text: str) -> str:
        """The text with each phone number in it replaced."""
        return NUMBER.sub(lambda found: self.of_number(found[0]) or "hidden", text)


def _own_salt(file: Path, *, readonly: bool) -> bytes:
    """The salt in `file`, readable by its owner only.

    Empty when it can be neither read nor made: then no number is stored, in any form.
    """
    try:
        try:
            return file.read_bytes()
        except FileNotFoundError:
            return b"" if readonly else _make(file)
    except OSError as error:
        logger.error("no salt for callers' numbers", action="none is kept", error=error.strerror)
        return b""


def _make(file: Path) -> bytes:
    """Several processes may come here at once: the first one's salt appears whole and stays."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{uuid4().hex}")
    try:
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out:
            out.write(secrets.token_hex(SALT_BYTES).encode())
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)
    finally:
        draft.unlink(missing_ok=True)
    return file.read_bytes()
