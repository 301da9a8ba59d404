"""A private PostgreSQL for tests: its own data, its own free port on the loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

PASSWORD = "open-sesame-4711"
STARTS_WITHIN = "60"


def binaries() -> Path | None:
    """The folder of the newest installed server, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    return Path(on_path).parent if on_path else None


@contextmanager
def server() -> Iterator[str]:
    """Run a server and yield the URL of its database `postgres`, with user and password."""
    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (package postgresql)")
    account = _account()
    home = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        (home / "password").write_text(PASSWORD)
        if account:
            for path in (home, home / "password"):
                shutil.chown(path, account)
        data = str(home / "data")
        _run(account, programs / "initdb", "-D", data, "-U", "tester", "-A", "scram-sha-256",
             "-E", "UTF8", "--no-sync", f"--pwfile={home / 'password'}")  # fmt: skip
        port = _free_port()
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {home} -c fsync=off"
        control = programs / "pg_ctl"
        _run(account, control, "-D", data, "-w", "-t", STARTS_WITHIN, "-o", options,
             "-l", str(home / "log"), "start")  # fmt: skip
        try:
            yield f"postgresql://tester:{PASSWORD}@127.0.0.1:{port}/postgres"
        finally:
            _run(account, control, "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """One server for all tests of a run."""
    with server() as url:
        yield url


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of its own: at DATABASE_URL, unless the test takes the server away."""
    known = os.environ.get("DATABASE_URL", "")
    if not known.startswith("postgres") or "postgres_outage" in request.fixturenames:
        known = request.getfixturevalue("postgres_server")
    parts = urlsplit(known)
    postgres_server = parts._replace(path="/postgres", query="").geturl()
    name = f"t{uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield postgres_server.removesuffix("postgres") + name
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} (FORCE)").format(sql.Identifier(name)))


class Outage:
    """Takes the server of `url` away, as a crash does, and brings it back. Both block."""

    def __init__(self, url: str) -> None:
        with psycopg.connect(url) as connection:
            (data,) = connection.execute("SHOW data_directory").fetchone() or ("",)
        programs = binaries()
        assert programs is not None
        self._log = Path(data).parent / "log"
        self._control = (programs / "pg_ctl", "-D", data, "-w", "-t", STARTS_WITHIN)
        self.is_on = False

    def begin(self) -> None:
        """Stop the server."""
        _run(_account(), *self._control, "-m", "immediate", "stop")
        self.is_on = True

    def end(self) -> None:
        """Start it again, with the options that it was started with."""
        _run(_account(), *self._control, "-l", str(self._log), "restart")
        self.is_on = False


@pytest.fixture
def postgres_outage(postgres_url: str) -> Iterator[Outage]:
    """An outage of the server of `postgres_url`, over at the end of the test at the latest."""
    outage = Outage(postgres_url)
    yield outage
    if outage.is_on:
        outage.end()


def _version(program: Path) -> list[int]:
    return [int(part) for part in program.parts[-3].split(".") if part.isdigit()]


def _account() -> str | None:
    """Whom to run as: the server refuses root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _run(account: str | None, program: Path, *arguments: str) -> None:
    """Run one program as the account; its output is shown only when it fails."""
    done = subprocess.run(
        [program, *arguments],
        user=account,
        extra_groups=[] if account else None,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if program.name != "pg_ctl" else subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{program.name} failed: {done.stdout}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
