"""A worker reports with a key, and not in the clear."""

from __future__ import annotations

import pytest

from agent.errors import StartError
from agent.start import check_reports
from config.settings import SettingsError, load

TO, KEY = "VOICE_AGENT__WORKER__REPORT_TO", "VOICE_AGENT__WORKER__REPORT_KEY"


def test_without_a_key_it_is_refused():
    with pytest.raises(SettingsError, match="VOICE_AGENT__WORKER__REPORT_KEY"):
        load(environ={TO: "https://ops.example.com"})


def test_the_key_may_come_from_a_file(tmp_path):
    (tmp_path / "key").write_text("vak_1_2\n")
    worker = load(environ={TO: "https://ops.example.com", f"{KEY}_FILE": str(tmp_path / "key")})
    assert worker.worker.report_key.get_secret_value() == "vak_1_2"


def test_http_to_another_machine_must_be_allowed():
    far = {TO: "http://ops.example.com", KEY: "vak_1_2"}
    with pytest.raises(StartError, match=r"worker\.report_to: http:// to ops\.example\.com"):
        check_reports(load(environ=far))
    check_reports(load(environ={**far, "VOICE_AGENT__SECURITY__ALLOW_INSECURE_REPORTS": "true"}))
    check_reports(load(environ={TO: "http://127.0.0.1:8000", KEY: "vak_1_2"}))
    check_reports(load(environ={TO: "https://ops.example.com", KEY: "vak_1_2"}))
    check_reports(load(environ={}))
