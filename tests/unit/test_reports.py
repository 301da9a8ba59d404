"""`ops report` and `ops analyze` on a small year of made-up calls, checked against its raw rows."""

from __future__ import annotations

import json
import math
import re
import sqlite3
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser

import pytest
from typer.testing import CliRunner

from config.settings import load
from ops.__main__ import app
from ops.upkeep import charts, report_page
from ops.upkeep.analysis import analysis_of
from ops.upkeep.figures import change, percentile, spread
from ops.upkeep.period import Period, day_edges
from ops.upkeep.report import report_of
from tests.year import Year, fill

END = datetime(2026, 11, 14, tzinfo=UTC)
BAD_DAY = date(2026, 11, 13)
"""The last day of the year, on which a provider was away."""
CALLS = 4_000
NO_BUSINESS = {"canary", "courtesy"}


@pytest.fixture(scope="module")
def year(tmp_path_factory):
    folder = tmp_path_factory.mktemp("year")
    fill(f"sqlite:///{folder}/calls.db", Year(END, CALLS, days=30))
    return folder


@pytest.fixture
def run(year, monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{year}/calls.db")
    monkeypatch.setenv("VOICE_AGENT__DATA__FOLDER", str(tmp_path / "data"))
    monkeypatch.setenv("VOICE_AGENT__LOG__FOLDER", str(tmp_path / "logs"))
    return lambda *arguments: CliRunner().invoke(app, [str(one) for one in arguments])


def raw_calls(year, first, last):
    """Id, kind and the columns of each call that began in that time, read without our queries."""
    connection = sqlite3.connect(year / "calls.db")
    connection.row_factory = sqlite3.Row
    found = []
    where = "started_at >= ? AND started_at < ?"
    for row in connection.execute(f"SELECT * FROM calls WHERE {where}", (str(first), str(last))):
        marks = dict(
            connection.execute(
                "SELECT name, detail FROM call_events WHERE call_id = ? AND name IN"
                " ('kind', 'rejected')",
                (row["id"],),
            ).fetchall()
        )
        kind = json.loads(marks["kind"])["kind"] if "kind" in marks else "caller"
        kind = "courtesy" if "rejected" in marks else kind
        turns = connection.execute(
            "SELECT * FROM turns WHERE call_id = ? AND number > 0", (row["id"],)
        )
        found.append((dict(row), kind, [dict(turn) for turn in turns]))
    connection.close()
    return found


def nearest(values, share):
    ordered = sorted(values)
    return round(ordered[math.ceil(share * len(ordered)) - 1], 3)


def test_a_daily_report_says_what_the_rows_say(run, year, tmp_path):
    ran = run("report", "daily", "--date", BAD_DAY, "--out", tmp_path / "out")
    assert ran.exit_code == 0, ran.output
    told = json.loads((tmp_path / "out" / "daily-2026-11-13.json").read_text())
    calls = raw_calls(year, "2026-11-13 00:00:00", "2026-11-14 00:00:00")
    business = [one for one in calls if one[1] not in NO_BUSINESS]
    turns = [turn for *_, all_turns in business for turn in all_turns]
    assert len(business) > 50
    assert told["volume"]["calls"] == len(business)
    assert sum(told["volume"]["left_out"].values()) == len(calls) - len(business)
    assert sum(told["series"]["calls"]) == len(business)
    assert len(told["series"]["calls"]) == 24
    for part, column in (("response", "latency"), ("llm_first_token", "llm_ttft")):
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            assert told["latency"][part][name] == nearest([turn[column] for turn in turns], share)
    known = sum(float(json.loads(row["cost"])["known"]) for row, *_ in business)
    assert told["cost"][0]["known"] == pytest.approx(known, abs=0.001)
    reasons = [row["end_reason"] for row, *_ in business]
    assert told["endings"] == {name: reasons.count(name) for name in set(reasons)}
    assert told["errors"]["providers"]["llm openai"] > 0


def test_a_weekly_report_has_seven_days_and_the_seven_before(run, year):
    ran = run("report", "weekly", "--date", BAD_DAY, "--json")
    told = json.loads(ran.output)
    first, last = "2026-11-07 00:00:00", "2026-11-14 00:00:00"
    business = [one for one in raw_calls(year, first, last) if one[1] not in NO_BUSINESS]
    earlier = raw_calls(year, "2026-10-31 00:00:00", first)
    before = [one for one in earlier if one[1] not in NO_BUSINESS]
    assert told["from"] == "2026-11-07T00:00:00+00:00"
    assert len(told["series"]["calls"]) == 7
    calls = next(line for line in told["trends"] if line["what"] == "calls")
    assert (calls["now"], calls["before"]) == (len(business), len(before))


def test_neither_file_holds_a_caller_or_a_word(run, year, tmp_path):
    run("report", "weekly", "--date", BAD_DAY, "--out", tmp_path)
    files = [path.read_text() for path in sorted(tmp_path.glob("weekly-*"))]
    assert len(files) == 2
    for row, _, turns in raw_calls(year, "2026-11-07 00:00:00", "2026-11-14 00:00:00"):
        said = {turn[name] for turn in turns for name in ("user_text", "agent_text")}
        # A canary's identity is a word of ours.
        for secret in (row["caller_number"], row["called_number"], row["id"], *said):
            assert all(secret not in text for text in files if secret)


def test_a_page_needs_nothing_from_elsewhere(run, tmp_path):
    run("report", "daily", "--date", BAD_DAY, "--out", tmp_path)
    page = (tmp_path / "daily-2026-11-13.html").read_text()
    tags = Tags()
    tags.feed(page)
    assert tags.names >= {"svg", "rect", "table"}
    assert not tags.names & {"script", "link", "img", "iframe", "object", "use", "image"}
    assert not tags.attributes & {"src", "href", "xlink:href", "srcset", "style"}
    assert not re.search(r"url\(|@import|https?://", page)


def test_names_on_a_page_are_text(year):
    from agent.store import CallLog  # noqa: PLC0415

    log = CallLog.open(f"sqlite:///{year}/calls.db", readonly=True)
    report = report_of(log, Period("daily", BAD_DAY, "UTC"), END)
    log.close()
    report["volume"]["by_persona"] = {"<script>alert(1)</script>": 1}
    report["errors"]["providers"] = {'"><b>x': 1}
    report["endings"] = {"<i>& ": 3}
    page = report_page.page(report, ["</title>"] * 24)
    tags = Tags()
    tags.feed(page)
    assert "script" not in tags.names
    assert not {"b", "i"} & tags.names - {"i"}
    assert page.count("</title></rect>") == page.count("<rect class") - page.count('<text x="190"')


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.names, self.attributes = set(), set()

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_a_day_is_the_shops_own(run, monkeypatch):
    monkeypatch.setenv("VOICE_AGENT__REPORTS__ZONE", "Europe/Moscow")
    told = json.loads(run("report", "daily", "--date", BAD_DAY, "--json").output)
    assert told["from"] == "2026-11-13T00:00:00+03:00"
    assert told["zone"] == "Europe/Moscow"


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-13", 24)]
)
def test_the_days_on_which_clocks_change(day, hours):
    period = Period("daily", date.fromisoformat(day), "Europe/Berlin")
    assert len(period.edges) == hours + 1 == len(period.labels) + 1
    assert period.end - period.start == timedelta(hours=hours)
    assert period.labels[0] == "00:00"
    assert period.labels[-1] == "23:00"


def test_yesterday_is_yesterday_there():
    late = datetime(2026, 11, 13, 22, tzinfo=UTC)
    assert Period.before("daily", late, "Europe/Moscow").last == date(2026, 11, 13)
    assert Period.before("daily", late, "UTC").last == date(2026, 11, 12)
    assert len(day_edges(date(2026, 11, 13), 7, "UTC")) == 8


@pytest.mark.parametrize("day", ["2026-02-30", "soon", "2999-01-01", "0001-01-01"])
def test_a_day_that_cannot_be_told_of_is_refused_in_a_line(run, day):
    ran = run("report", "daily", "--date", day)
    assert ran.exit_code != 0
    assert "Traceback" not in ran.output
    assert "--date" in str(ran.exception)


def test_a_folder_that_cannot_be_written_is_named(run, tmp_path):
    (tmp_path / "file").touch()
    ran = run("report", "daily", "--date", BAD_DAY, "--out", tmp_path / "file")
    assert str(tmp_path / "file") in str(ran.exception)


def test_an_analysis_tells_growth_trends_and_the_worst(year, monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{year}/calls.db")
    monkeypatch.setenv("VOICE_AGENT__LOG__FOLDER", str(tmp_path))
    (tmp_path / "voice.log").write_bytes(b"x" * 7_000)
    told = analysis_of(load(), 7, END - timedelta(hours=1))
    assert told["unknown"] == []
    growth = told["growth"]
    assert growth["rows"]["calls"]["rows"] == CALLS
    calls = raw_calls(year, "2026-11-06 00:00:00", "2026-11-14 00:00:00")
    assert growth["rows"]["calls"]["a_day"] == pytest.approx(len(calls) / 7.96, rel=0.01)
    assert growth["logs"]["bytes"] == 7_000
    assert growth["database"]["a_day"] > 0
    assert growth["disk"]["full_in_days"] > 0
    business = [one for one in calls if one[1] not in NO_BUSINESS]
    assert sum(day["calls"] for day in told["trends"]) == len(business)
    slowest = max(turn["latency"] for *_, turns in business for turn in turns)
    assert told["slowest_turns"][0]["latency"] == slowest
    assert told["worst_calls"][0]["points"] >= told["worst_calls"][-1]["points"] > 0
    assert told["worst_calls"][0]["end_reason"] == "provider_failure"


def test_a_disk_that_fills_is_a_finding(run, monkeypatch, tmp_path):
    (tmp_path / "logs").mkdir()
    with (tmp_path / "logs" / "a.log").open("wb") as file:
        file.truncate(10**13)  # takes no room
    ran = run("analyze", "--days", "7")
    assert ran.exit_code == 1
    assert "is full in" in ran.output


def test_what_cannot_be_asked_is_named_and_the_rest_is_told(run, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hush@127.0.0.1:1/calls")
    monkeypatch.setenv("LIVEKIT_URL", "wss://127.0.0.1:1")
    ran = run("analyze")
    assert ran.exit_code == 1
    assert "not known: call log: postgresql+psycopg://u:***@127.0.0.1:1/calls" in ran.output
    assert "certificate livekit.url: no certificate" in ran.output
    assert "disk" in ran.output
    refused = run("report", "daily")
    assert "127.0.0.1:1" in str(refused.exception)


@pytest.mark.parametrize("command", ["report daily", "report weekly", "analyze"])
def test_a_fresh_install_has_no_calls_yet(run, monkeypatch, tmp_path, command):
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/none/calls.db")
    ran = run(*command.split())
    assert ran.exit_code == 0, ran.output
    assert "no calls yet" in ran.output
    assert not (tmp_path / "none").exists()


def test_a_report_of_a_fresh_install_is_written_too(run, monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/none/calls.db")
    assert run("report", "daily", "--date", BAD_DAY, "--out", tmp_path / "out").exit_code == 0
    assert "No calls yet" in (tmp_path / "out" / "daily-2026-11-13.html").read_text()


def test_the_same_seed_makes_the_same_year(year, tmp_path):
    fill(f"sqlite:///{tmp_path}/calls.db", Year(END, CALLS, days=30))
    for table in ("calls", "turns", "call_events", "recording_log"):
        one, other = (
            sqlite3.connect(folder / "calls.db").execute(f"SELECT * FROM {table}").fetchall()
            for folder in (year, tmp_path)
        )
        assert one == other


def test_a_report_does_not_load_the_framework():
    code = (
        "import sys, ops.upkeep.report, ops.upkeep.analyze;"
        "print([name for name in ('livekit', 'alembic', 'fastapi', 'redis', 'numpy')"
        " if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([7], 0.99, 7), ([1, 2, 3, 4], 0.5, 2), ([1, 2, 3, 4], 0.95, 4)],
)
def test_a_percentile_is_one_of_the_values(values, share, expected):
    assert percentile(values, share) == expected


def test_a_change_that_cannot_be_said_is_none():
    assert change(3, 0) is None
    assert change(None, 2) is None
    assert change(3, 2) == 50.0
    assert spread([None, None])["count"] == 0


def test_a_chart_leaves_a_gap_for_what_is_not_known():
    drawn = charts.columns(["a", "b", "c"], {"x": [1.0, None, 0.0]}, title="t")
    assert drawn.count("<rect") == 2
    assert "<svg" in charts.bars({}, title="nothing")
