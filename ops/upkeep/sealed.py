"""Encrypted streams: nothing of them can be read or changed without the key.

The form: a line MAGIC, a line of JSON with what the key is derived by, then pieces of CHUNK bytes,
each sealed with ChaCha20-Poly1305 (RFC 8439). The key is scrypt (RFC 7914) of the passphrase and a
salt of this stream's own, so that no two streams share one; its second half only tells a wrong
passphrase from damage. A piece's nonce is its number (11 bytes, big-endian) and a byte that is 1
in the last piece alone (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizar, 2015):
pieces can be neither cut off, nor swapped, nor repeated. Both lines are authenticated with each.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from agent.errors import VoiceAgentError

MAGIC = b"voice-ai sealed backup 1\n"
CHUNK = 1 << 20
TAG = 16
SCRYPT_N, SCRYPT_R, SCRYPT_P = 1 << 15, 8, 1
"""32 MB and a tenth of a second for each guess of a passphrase."""

MEMORY = 64 << 20
SALT = 16
KEY = 32
LONGEST_HEAD = 1024


class BackupError(VoiceAgentError):
    """Nothing was changed."""


class Out(Protocol):
    """What bytes are written to."""

    def write(self, data: bytes, /) -> object: ...  # noqa: D102 - as files do


class In(Protocol):
    """What bytes are read from; fewer than asked for only at the end."""

    def read(self, size: int, /) -> bytes: ...  # noqa: D102 - as files do


class SealedWriter:
    """Encrypts what is written, onto `out`. It is complete only after `finish`."""

    def __init__(self, out: Out, passphrase: str) -> None:
        salt = secrets.token_bytes(SALT)
        key, check = _derived(passphrase, salt)
        told = {"kdf": "scrypt", "n": SCRYPT_N, "r": SCRYPT_R, "p": SCRYPT_P}
        line = json.dumps({**told, "salt": salt.hex(), "check": check})
        self._head = MAGIC + line.encode() + b"\n"
        self._cipher = ChaCha20Poly1305(key)
        self._out, self._held, self._number = out, bytearray(), 0
        out.write(self._head)

    def write(self, data: bytes) -> int:
        """Take all of `data`. The last piece is held back, because it is sealed as such."""
        self._held += data
        while len(self._held) > CHUNK:
            self._seal(bytes(self._held[:CHUNK]), last=False)
            del self._held[:CHUNK]
        return len(data)

    def flush(self) -> None:
        """Nothing: pieces are whole."""

    def finish(self) -> None:
        """Write the last piece."""
        self._seal(bytes(self._held), last=True)
        self._held.clear()

    def _seal(self, piece: bytes, *, last: bool) -> None:
        self._out.write(self._cipher.encrypt(_nonce(self._number, last=last), piece, self._head))
        self._number += 1


class SealedReader:
    """Decrypts what SealedWriter wrote. Nothing is given out before it was authenticated."""

    def __init__(self, source: In, passphrase: str) -> None:
        """Raises BackupError for another key and for what is no such stream."""
        self._source = source
        head, told = _head(source)
        key, check = _derived(passphrase, bytes.fromhex(told["salt"]))
        if not hmac.compare_digest(check, told["check"]):
            raise BackupError("it was encrypted with another key than backup.key")
        self._head, self._cipher = head, ChaCha20Poly1305(key)
        self._next = source.read(CHUNK + TAG)
        self._held, self._number, self._is_over = bytearray(), 0, False

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, fewer only at the end. Raises BackupError where it is damaged."""
        while not self._is_over and (size < 0 or len(self._held) < size):
            self._open()
        end = len(self._held) if size < 0 else size
        data = bytes(self._held[:end])
        del self._held[:end]
        return data

    def _open(self) -> None:
        piece, self._next = self._next, self._source.read(CHUNK + TAG)
        last = not self._next
        try:
            nonce = _nonce(self._number, last=last)
            self._held += self._cipher.decrypt(nonce, piece, self._head)
        except InvalidTag:
            raise BackupError("it is damaged, or was changed") from None
        self._number += 1
        self._is_over = last


def _head(source: In) -> tuple[bytes, dict[str, str]]:
    magic = source.read(len(MAGIC))
    line = bytearray()
    while magic == MAGIC and len(line) < LONGEST_HEAD and not line.endswith(b"\n"):
        byte = source.read(1)
        if not byte:
            break
        line += byte
    try:
        told = json.loads(line)
        asked = (told["kdf"], told["n"], told["r"], told["p"])
        salt, check = str(told["salt"]), str(told["check"])
        bytes.fromhex(salt)
    except (ValueError, LookupError, TypeError):
        raise BackupError("it is no encrypted backup of this product") from None
    if asked != ("scrypt", SCRYPT_N, SCRYPT_R, SCRYPT_P):
        raise BackupError("it was encrypted in a way that this release does not know")
    return magic + bytes(line), {"salt": salt, "check": check}


def _derived(passphrase: str, salt: bytes) -> tuple[bytes, str]:
    both = hashlib.scrypt(
        passphrase.encode(),
        salt=salt,
        n=SCRYPT_N,
        r=SCRYPT_R,
        p=SCRYPT_P,
        maxmem=MEMORY,
        dklen=2 * KEY,
    )
    return both[:KEY], both[KEY:].hex()


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])
