"""The client key of a first start: one, also where two processes start at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from agent.store import CallLog
from agent.store.access import Access
from config import settings as configuration
from ops.front import first_key
from ops.front.clients import digest


def test_two_at_once_make_one_key_and_it_is_the_one_in_the_file(tmp_path, monkeypatch):
    url, file = f"sqlite:///{tmp_path / 'calls.db'}", tmp_path / "keys/client-key"
    settings = configuration.load(
        environ={
            "VOICE_AGENT__STORE__URL": url,
            "VOICE_AGENT__SERVE__CLIENT_KEY_FILE": str(file),
        }
    )
    CallLog.open(url).close()
    monkeypatch.setattr(first_key.sys.stderr, "isatty", lambda: False)
    both, looks, keys = Barrier(2), [], Access.client_keys

    def client_keys(access):
        found = keys(access)
        looks.append(found)
        if len(looks) <= 2:
            both.wait(10)  # both have seen that there is none
        return found

    monkeypatch.setattr(Access, "client_keys", client_keys)
    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(first_key.make, settings) for _ in range(2)]:
            done.result(10)
    log = CallLog.open(url)
    (row,) = keys(Access(log.engine))
    log.close()
    assert row.hash == digest(file.read_text("ascii").strip())
    assert file.stat().st_mode & 0o777 == 0o600
