"""`python -m ops schedule`: every routine of this product for cron, systemd or Kubernetes.

The times are those of the machine; in Kubernetes those of the cluster's controller, mostly UTC.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from agent.errors import VoiceAgentError
from config import settings as configured
from config.settings import ROOT, Settings
from ops.printing import print_json

FORMS = ("cron", "systemd", "kubernetes")
PREFIX = "voice-ai"
DAYS = {"0": "Sun", "1": "Mon"}


@dataclass(frozen=True, slots=True)
class Routine:
    """A command at its times. `when` is in cron's five fields."""

    name: str
    what: str
    command: tuple[str, ...]
    when: str


ROUTINES = (
    Routine(
        "backup-config", "Back up the configuration", ("backup", "--what", "config"), "0 2 * * *"
    ),
    Routine(
        "backup-database", "Back up the database", ("backup", "--what", "database"), "0 3 * * *"
    ),
    Routine("backup-all", "Back up everything", ("backup",), "0 4 1 * *"),
    Routine("health", "Look at everything once a day", ("health",), "0 6 * * *"),
    Routine(
        "report-daily",
        "Write the report of yesterday",
        ("report", "daily", "--out", "{reports}"),
        "30 6 * * *",
    ),
    Routine(
        "report-weekly",
        "Write the report of last week",
        ("report", "weekly", "--out", "{reports}"),
        "0 7 * * 1",
    ),
    Routine("analyze", "Analyse the last week", ("analyze", "--days", "7"), "30 7 * * 1"),
    Routine("cleanup", "Clear up what is old", ("cleanup", "--yes"), "0 5 * * 0"),
    Routine("audit", "Audit the installation", ("audit",), "0 8 1 * *"),
)
"""Each ends with 0 when all is well: systemd, cron's mail and Kubernetes tell of anything else."""


def schedule(
    form: Annotated[str, typer.Argument(metavar="FORM", help="cron, systemd or kubernetes.")],
    *,
    user: Annotated[str, typer.Option(help="Whom cron and systemd run the commands as.")] = PREFIX,
    image: Annotated[str, typer.Option(help="kubernetes: the image of the product.")] = PREFIX,
    claim: Annotated[
        str, typer.Option(help="kubernetes: the volume claim with the data folder.")
    ] = f"{PREFIX}-data",
    secret: Annotated[
        str, typer.Option(help="kubernetes: the secret with the environment.")
    ] = f"{PREFIX}-env",
    out: Annotated[
        Path | None, typer.Option(help="Write files into this folder instead of printing them.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The routines, for machines.")] = False,
) -> None:
    """Print cron lines, systemd timers with their services, or Kubernetes CronJobs. Installs none.

    For backup and cleanup the data folder must be the workers' own, or be reached by a volume.
    """
    if form not in FORMS:
        raise VoiceAgentError(f"{form}: there are {', '.join(FORMS)}")
    for name, text in (("--user", user), ("--image", image)):
        if not text or any(char.isspace() for char in text):
            raise VoiceAgentError(f"{name}: expected one word")
    settings = configured.load()
    routines = [{**asdict(one), "command": _command(one, settings)} for one in ROUTINES]
    if as_json:
        print_json(routines)
        return
    files = {
        "cron": lambda: {f"{PREFIX}.cron": _cron(settings, user)},
        "systemd": lambda: _systemd(settings, user),
        "kubernetes": lambda: {
            f"{PREFIX}-cronjobs.yaml": _kubernetes(image, claim, secret),
        },
    }[form]()
    if out is None:
        _print(files)
    else:
        _write(files, out)


def _command(routine: Routine, settings: Settings, python: str = sys.executable) -> list[str]:
    reports = str(settings.data.folder / "reports")
    return [python, "-m", "ops", *(word.format(reports=reports) for word in routine.command)]


def _cron(settings: Settings, user: str) -> str:
    """The form of /etc/cron.d: with the user in each line, and `%` for a line's end escaped."""
    lines = [
        f"# {PREFIX}: put this into /etc/cron.d/{PREFIX}. What a command prints, cron mails.",
        f"# The environment (VOICE_AGENT__..., _FILE names for secrets) is read from {_env()}.",
        "SHELL=/bin/sh",
        "",
    ]
    for one in ROUTINES:
        command = shlex.join(_command(one, settings))
        load = f"set -a; [ ! -r {_quoted(_env())} ] || . {_quoted(_env())}; set +a"
        line = f"cd {_quoted(ROOT)} && {{ {load}; }} && {command}"
        lines += [f"# {one.what}", f"{one.when} {user} {line.replace('%', chr(92) + '%')}"]
    return "\n".join(lines) + "\n"


def _systemd(settings: Settings, user: str) -> dict[str, str]:
    files = {}
    for one in ROUTINES:
        command = " ".join(map(_for_systemd, _command(one, settings)))
        name = f"{PREFIX}-{one.name}"
        files[f"{name}.service"] = (
            f"[Unit]\nDescription={PREFIX}: {one.what}\n\n"
            f"[Service]\nType=oneshot\nUser={user}\nWorkingDirectory={ROOT}\n"
            f"EnvironmentFile=-{_env()}\nExecStart={command}\n"
            "Nice=10\nIOSchedulingClass=idle\nUMask=0077\nNoNewPrivileges=yes\nPrivateDevices=yes\n"
        )
        files[f"{name}.timer"] = (
            f"[Unit]\nDescription={PREFIX}: {one.what}\n\n"
            f"[Timer]\nOnCalendar={_calendar(one.when)}\nPersistent=yes\nAccuracySec=1min\n\n"
            "[Install]\nWantedBy=timers.target\n"
        )
    return files


def _kubernetes(image: str, claim: str, secret: str) -> str:
    data = "/app/data"
    jobs = []
    for one in ROUTINES:
        words = [word.format(reports=f"{data}/reports") for word in one.command]
        container: Mapping[str, Any] = {
            "name": one.name,
            "image": image,
            "command": ["python", "-m", "ops", *words],
            "envFrom": [{"secretRef": {"name": secret}}],
            "volumeMounts": [{"name": "data", "mountPath": data}],
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
        }
        pod = {
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001},
            "containers": [container],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
        }
        spec = {
            "schedule": one.when,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"spec": {"backoffLimit": 1, "template": {"spec": pod}}},
        }
        labels = {"app.kubernetes.io/name": PREFIX, "app.kubernetes.io/component": one.name}
        jobs.append(
            {
                "apiVersion": "batch/v1",
                "kind": "CronJob",
                "metadata": {"name": f"{PREFIX}-{one.name}", "labels": labels},
                "spec": spec,
            }
        )
    return yaml.safe_dump_all(jobs, sort_keys=False, allow_unicode=True)


def _calendar(when: str) -> str:
    """A cron time as systemd writes it: minute, hour, day of the month and day of the week."""
    minute, hour, day, _, weekday = when.split()
    date = f"*-*-{'*' if day == '*' else f'{int(day):02}'}"
    week = "" if weekday == "*" else f"{DAYS[weekday]} "
    return f"{week}{date} {int(hour):02}:{int(minute):02}:00"


def _env() -> Path:
    return ROOT / ".env"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _for_systemd(word: str) -> str:
    escaped = word.replace("%", "%%").replace("$", "$$")
    if any(char.isspace() or char in "\"'\\;" for char in escaped):
        escaped = escaped.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return escaped


def _print(files: Mapping[str, str]) -> None:
    for name, text in files.items():
        if len(files) > 1:
            typer.echo(f"# /etc/systemd/system/{name}")
        typer.echo(text)


def _write(files: Mapping[str, str], folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(text)
            typer.echo(str(folder / name))
    except OSError as error:
        raise VoiceAgentError(f"--out: {error.filename}: {error.strerror}") from None
