"""The client key of a first start: shown on a terminal, else written where only we can read it."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from agent import log
from agent.errors import StartError, StoreError
from agent.store import CallLog
from agent.store.access import Access
from config.settings import Settings
from ops.front.clients import new_key

logger = log.get(__name__)

NAME = "first"


def make(settings: Settings) -> None:
    """Make a key with all scopes where the database has none, not even a revoked one.

    A second time nothing is done, and of two at once one waits for the other. A database that does
    not answer is told and no obstacle.
    Raises StartError when the key could not be kept: then there is none.
    """
    try:
        calls = CallLog.open(settings.store.url)
    except StoreError as error:
        logger.warning("no client key could be made", error=str(error))
        return
    try:
        access = Access(calls.engine)
        if access.client_keys():
            return
        with _alone(settings.serve.client_key_file):
            if access.client_keys():
                return
            row, key = new_key(NAME, ("admin",))
            _hand_over(key, settings.serve.client_key_file)
            access.add_key(row)
        calls.audit("ops serve", "clients.add", f"{NAME} ({row.id}): admin", "first start")
    except StoreError as error:
        logger.warning("no client key could be made", error=str(error))
    finally:
        calls.close()


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """One process at a time makes the file, and the key that stands in it. Raises StartError."""
    if sys.stderr.isatty():
        yield
        return
    with _explained(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _hand_over(key: str, file: Path) -> None:
    if sys.stderr.isatty():
        typer.echo(f"client key (scope admin), shown this once: {key}", err=True)
        return
    with _explained(file):
        file.unlink(missing_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            opened.write(f"{key}\n")
    logger.info("a client key was made", file=str(file), scopes="admin")


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StartError(
            f"serve.client_key_file: {file} cannot be written ({error.strerror})"
        ) from error
