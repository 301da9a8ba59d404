"""The routines as cron, systemd and Kubernetes read them."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml
from typer.testing import CliRunner

from ops.__main__ import NOUNS, VERBS, app
from ops.upkeep.schedule import ROUTINES

RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
TIMES = {
    "backup-config": "0 2 * * *",
    "backup-database": "0 3 * * *",
    "backup-all": "0 4 1 * *",
}


def told(*arguments):
    done = CliRunner().invoke(app, ["schedule", *arguments])
    assert done.exit_code == 0, done.exception
    return done.output


def is_cron_time(fields):
    """Whether these are five fields of crontab(5), each a number in its range or `*`."""
    return len(fields) == 5 and all(
        field == "*" or (field.isdigit() and low <= int(field) <= high)
        for field, (low, high) in zip(fields, RANGES, strict=True)
    )


def test_every_routine_is_there_at_its_time():
    times = {one.name: one.when for one in ROUTINES}
    assert {name: times[name] for name in TIMES} == TIMES
    wanted = {"backup", "report", "analyze", "audit", "cleanup", "health"}
    assert {one.command[0] for one in ROUTINES} == wanted


@pytest.mark.parametrize("routine", ROUTINES, ids=lambda one: one.name)
def test_each_command_is_one_of_ours(routine):
    name, *words = routine.command
    if name not in (*NOUNS, *VERBS):
        pytest.skip(f"{name} is not part of this checkout")
    words = [word.format(reports="reports") for word in words]
    done = CliRunner().invoke(app, [name, *words, "--help"])
    assert done.exit_code == 0, done.output


def test_cron_lines_follow_its_rules():
    text = told("cron", "--user", "voice")
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", "SHELL="))]
    assert len(lines) == len(ROUTINES)
    for line, routine in zip(lines, ROUTINES, strict=True):
        *fields, user, command = line.split(None, 6)
        assert is_cron_time(fields), line
        assert user == "voice"
        assert not re.search(r"(?<!\\)%", command)  # cron takes it for the end of the line
        done = subprocess.run(["sh", "-n", "-c", command], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert f"-m ops {routine.command[0]}" in command


@pytest.mark.needs("systemd")
def test_systemd_takes_every_unit(tmp_path):
    folder = tmp_path / "units"
    told("systemd", "--user", "root", "--out", str(folder))
    units = sorted(folder.iterdir())
    assert len(units) == 2 * len(ROUTINES)
    calendar = "OnCalendar=*-*-01 04:00:00"
    assert calendar in (folder / "voice-ai-backup-all.timer").read_text()
    weekly = (folder / "voice-ai-report-weekly.timer").read_text()
    assert "OnCalendar=Mon *-*-* 07:00:00" in weekly
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, units)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_units_are_printed_with_their_names_and_never_written_over(tmp_path):
    assert "# /etc/systemd/system/voice-ai-cleanup.timer" in told("systemd")
    (tmp_path / "voice-ai.cron").write_text("mine")
    done = CliRunner().invoke(app, ["schedule", "cron", "--out", str(tmp_path)])
    assert "File exists" in str(done.exception)
    assert (tmp_path / "voice-ai.cron").read_text() == "mine"


def test_kubernetes_gets_a_cron_job_for_each():
    jobs = list(yaml.safe_load_all(told("kubernetes", "--image", "registry.test/voice:1")))
    assert len(jobs) == len(ROUTINES)
    for job, routine in zip(jobs, ROUTINES, strict=True):
        assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
        assert re.fullmatch(r"[a-z]([-a-z0-9]{0,50}[a-z0-9])", job["metadata"]["name"])
        assert is_cron_time(job["spec"]["schedule"].split())
        assert job["spec"]["concurrencyPolicy"] == "Forbid"
        pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["image"] == "registry.test/voice:1"
        assert container["command"][:4] == ["python", "-m", "ops", routine.command[0]]
        mounts = {one["name"] for one in container["volumeMounts"]}
        assert mounts == {one["name"] for one in pod["volumes"]}


def test_nonsense_is_refused_in_a_line():
    done = CliRunner().invoke(app, ["schedule", "windows"])
    assert "there are cron, systemd, kubernetes" in str(done.exception)
    done = CliRunner().invoke(app, ["schedule", "cron", "--user", "a b"])
    assert "--user: expected one word" in str(done.exception)
