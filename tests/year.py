"""A year of calls, made up: `python -m tests.year FOLDER [--calls N]` leaves FOLDER/calls.db.

The same seed gives the same year, day for day and call for call. It is as a year might be: days and
hours differ, business grows, a provider is away for an afternoon a month, some callers find all
lines busy. A call's history is kept as `agent.store` keeps it, but usage and cost stand in the
call's own row only.

`fill` takes any database that the product can open: it brings the schema up to date, then writes
past SQLAlchemy.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psycopg
import typer

from agent.events import GREETED
from agent.store import CallLog
from agent.store.engine import parse

CALLS = 500_000
DAYS = 365
SEED = 7
AT_ONCE = 10_000
"""Calls that are made up and written together."""

COLUMNS = {
    "calls": "id worker_id pid room room_sid job_id agent_name identity caller_number called_number"
    " persona language providers started_at answered_at ended_at end_reason end_detail"
    " end_provisional usage memory_bytes cost",
    "turns": "call_id number user_text agent_text confidence transcription_delay end_of_turn_delay"
    " latency llm_ttft tts_ttfb interrupted stt llm tts tools committed_at finished_at",
    "call_events": "call_id seq kind name at detail",
    "recordings": "call_id seq uri channels duration made_at",
    "recording_log": "id egress_id call_id made_by kind output persona room room_sid status uri"
    " error size duration asked_at started_at ended_at deleted_at",
}
HOURS = (1, 1, 1, 1, 1, 2, 4, 9, 22, 34, 38, 36, 28, 30, 36, 35, 32, 27, 18, 12, 8, 5, 3, 2)
"""How many calls an hour of the day (UTC) has, beside the others."""
WEEK = (1.25, 1.15, 1.1, 1.1, 1.05, 0.55, 0.4)
ENDS = (
    ("caller_hangup", 0.62),
    ("agent_hangup", 0.21),
    ("transferred", 0.08),
    ("silence", 0.05),
    ("max_duration", 0.01),
    ("caller_lost", 0.012),
    ("media_failure", 0.006),
    ("provider_failure", 0.005),
    ("livekit_lost", 0.003),
    ("agent_error", 0.002),
    ("process_killed", 0.002),
)
PERSONAS = (("en", "en", 0.55), ("ru", "ru", 0.35), ("shop", "en", 0.1))
SAID = (
    "Hello, I would like to ask about an order that I placed last week.",
    "Are you open on Saturday?",
    "Yes, please.",
    "Could you connect me with somebody in the workshop?",
    "No, thank you, that is all.",
)
ANSWERED = (
    "Of course. Could you tell me the number of the order, please?",
    "We are open from nine to five on Saturdays. Is there anything else?",
    "Gladly. I have noted that down for you.",
    "One moment please, I connect you.",
    "Thank you for calling. Goodbye!",
)
PROVIDERS = {"stt": "deepgram", "llm": "openai", "tts": "cartesia"}
USED = '{"type":"%s_usage","provider":"%s","model":"%s","%s":%d,"%s":%d}'
PART = '{"kind":"%s","provider":"%s","model":"%s","cost":"%.8f"}'
Rows = dict[str, list[tuple[Any, ...]]]


@dataclass(slots=True)
class Year:
    """The calls of `days` days before `until` (UTC), in the order in which they began."""

    until: datetime
    calls: int = CALLS
    days: int = DAYS
    seed: int = SEED
    _dice: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._dice = np.random.default_rng(self.seed)

    def batches(self) -> Iterator[Rows]:
        """The rows of some calls, by table."""
        starts = self._starts()
        for first in range(0, len(starts), AT_ONCE):
            yield self._batch(starts[first : first + AT_ONCE])

    def _starts(self) -> np.ndarray:
        """Seconds since the beginning of the year, in order."""
        first = self.until - timedelta(days=self.days)
        days = np.arange(self.days)
        weight = np.array([WEEK[(first.weekday() + int(day)) % 7] for day in days])
        weight *= 0.75 + 0.5 * days / self.days
        weight *= self._dice.uniform(0.85, 1.15, self.days)
        chosen = self._dice.choice(days, self.calls, p=weight / weight.sum())
        hours = np.array(HOURS) / sum(HOURS)
        seconds = self._dice.choice(24, self.calls, p=hours) * 3600
        return np.sort(chosen * 86400 + seconds + self._dice.uniform(0, 3600, self.calls))

    def _batch(self, starts: np.ndarray) -> Rows:
        dice, many = self._dice, len(starts)
        rows: Rows = {table: [] for table in COLUMNS}
        first = self.until - timedelta(days=self.days)
        ids = dice.bytes(16 * many).hex()
        turns = np.minimum(dice.poisson(3, many), 12)
        kinds = dice.random(many)
        ends = dice.choice([name for name, _ in ENDS], many, p=_shares(ENDS))
        personas = dice.choice(len(PERSONAS), many, p=[one[2] for one in PERSONAS])
        callers = dice.zipf(1.4, many) % 60_000
        scores = np.clip(dice.normal(4.15, 0.2, many), 1.0, 4.4)
        memory = dice.normal(62e6, 4e6, many).astype(int)
        for index in range(many):
            at = first + timedelta(seconds=round(float(starts[index]), 3))
            one = _One(
                id=ids[index * 32 : index * 32 + 32],
                at=at,
                persona=PERSONAS[personas[index]],
                caller=f"c-{int(callers[index]) * 7919:020x}",
                kind=_kind(kinds[index]),
                end=str(ends[index]),
                turns=int(turns[index]),
                score=round(float(scores[index]), 2),
                memory=int(memory[index]),
                is_bad=_is_bad(at),
            )
            one.write(rows, dice.random(8 * (one.turns + 1)).tolist())
        return rows


@dataclass(slots=True, kw_only=True)
class _One:
    """One call."""

    id: str
    at: datetime
    persona: tuple[str, str, float]
    caller: str
    kind: str
    end: str
    turns: int
    score: float
    memory: int
    is_bad: bool
    _seq: int = 0
    _rows: Rows = field(default_factory=dict)

    def write(self, rows: Rows, luck: Sequence[float]) -> None:
        self._rows = rows
        joined = self.at + timedelta(seconds=0.3 + luck[0] / 2)
        name, language, _ = self.persona
        self._event("call_opened", "", self.at, {"room": f"voice-ai-call-{self.id[:12]}", "pid": 1})
        told = {"persona": name, "language": language, "providers": PROVIDERS}
        self._event("caller_joined", "", joined, told)
        if self.kind == "courtesy":
            self.turns, self.end = 0, "rejected_busy" if luck[1] < 0.7 else "rejected_closed"
            self._event("note", "rejected", joined, {"verdict": self.end[9:]})
            ended = joined + timedelta(seconds=4)
        else:
            ended = self._conversation(joined, luck)
        self._event("call_ended", "", ended, {"reason": self.end, "detail": ""})
        self._call(joined, ended)

    def _conversation(self, joined: datetime, luck: Sequence[float]) -> datetime:
        if self.kind != "caller":
            self._event("note", "kind", joined, {"kind": self.kind})
        pickup = round(0.4 + 0.5 * luck[2] + (2.0 if self.is_bad else 0.0), 2)
        self._event("note", GREETED, joined + timedelta(seconds=pickup), {"after": pickup})
        at = joined + timedelta(seconds=5)
        self._turn(0, joined, at, luck[:8])
        if self.is_bad and luck[3] < 0.4:
            self.end = "provider_failure" if luck[4] < 0.3 else self.end
            down = {"of": "llm", "provider": "openai", "error": "APITimeoutError", "state": "down"}
            self._event("note", "provider_failed", at, down)
        for number in range(1, self.turns + 1):
            chance = luck[number * 8 : number * 8 + 8]
            over = at + timedelta(seconds=8 + 25 * chance[7])
            self._turn(number, at, over, chance)
            at = over
        self._event("note", "link", at, {"score": self.score})
        if luck[5] < 0.2:
            self._recording(joined, at)
        return at + timedelta(seconds=3 * luck[6])

    def _turn(self, number: int, at: datetime, over: datetime, luck: Sequence[float]) -> None:
        heard = number > 0
        slow = 2.4 if self.is_bad else 1.0
        end_of_turn = 0.35 + 0.3 * luck[0]
        # A long tail: one in a hundred takes more than twice the median.
        llm = slow * 0.28 / (1.02 - 0.8 * luck[1])
        voice = 0.12 / (1.05 - 0.7 * luck[2])
        latency = end_of_turn + llm + voice + 0.05
        parts = [round(value, 3) if heard else None for value in (end_of_turn, latency, llm)]
        text = int(luck[3] * len(SAID))
        self._rows["turns"].append((
            self.id, number, SAID[text] if heard else "", ANSWERED[text],
            round(0.82 + 0.17 * luck[4], 3) if heard else None,
            round(0.15 + 0.2 * luck[5], 3) if heard else None,
            parts[0], parts[1], parts[2], round(voice, 3), luck[6] < 0.09,
            *(PROVIDERS.values() if heard else ("", "", "cartesia")),
            '["end_call"]' if luck[6] > 0.9 else "[]", at, over,
        ))  # fmt: skip
        if heard:
            told = {"turn": number, "confidence": 0.9, "end_of_turn_delay": parts[0]}
            self._event("turn_committed", "", at, told)
        if latency > 2.5 and heard:
            self._event("note", "said_filler", at, {})
        if latency > 3 and heard and luck[7] < 0.2:
            self._event("note", "silence_owed", at, {"seconds": round(latency, 2)})
        told = {"turn": number, "interrupted": luck[6] < 0.09, "latency": parts[1]}
        self._event("turn_finished", "", over, told)

    def _recording(self, began: datetime, over: datetime) -> None:
        seconds = (over - began).total_seconds()
        name, uri = f"{self.id}-own", f"file:///data/recordings/{self.id}-own.ogg"
        self._rows["recordings"].append((self.id, self._seq, uri, 2, seconds, over))
        self._rows["recording_log"].append((
            name, None, self.id, "worker", "room-audio", "ogg", self.persona[0], "", "",
            "complete", uri, "", int(seconds * 8000), seconds, began, began, over, None,
        ))  # fmt: skip

    def _call(self, joined: datetime, ended: datetime) -> None:
        name, language, _ = self.persona
        seconds = (ended - joined).total_seconds()
        telephone = self.kind != "canary"
        room = f"voice-ai-call-{self.id[:12]}"
        usage, cost = "{}", None
        if self.kind != "courtesy":
            usage, cost = _spent(self.turns, seconds, is_known=self.memory % 50 > 0)
        self._rows["calls"].append((
            self.id, f"worker-{self.memory % 2}", 1000 + self.memory % 30_000, room,
            f"RM_{self.id[:12]}", f"AJ_{self.id[:12]}", "voice-ai",
            f"sip_{self.caller}" if telephone else "canary", self.caller if telephone else "",
            "+15555550100", name, language, json.dumps(PROVIDERS), self.at, joined, ended,
            self.end, "", False, usage, self.memory if self.turns > 2 else None, cost,
        ))  # fmt: skip

    def _event(self, kind: str, name: str, at: datetime, detail: dict[str, Any]) -> None:
        self._seq += 1
        row = (self.id, self._seq, kind, name, at, json.dumps(detail, separators=(",", ":")))
        self._rows["call_events"].append(row)


def fill(url: str, year: Year) -> None:
    """Write `year` into an empty database; its schema is made first."""
    CallLog.open(url).close()
    target = parse(url)
    if target.get_backend_name() == "sqlite":
        _into_sqlite(Path(str(target.database)), year)
    else:
        _into_postgres(target.set(drivername="postgresql").render_as_string(False), year)


def _into_sqlite(path: Path, year: Year) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    named = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    indexes = connection.execute(named).fetchall()
    connection.execute("PRAGMA journal_mode = MEMORY")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -1000000")
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    for rows in year.batches():
        connection.execute("BEGIN")
        for table, columns in COLUMNS.items():
            names = columns.split()
            marks = ",".join("?" * len(names))
            statement = f"INSERT INTO {table} ({','.join(names)}) VALUES ({marks})"
            connection.executemany(statement, [_plain(row) for row in rows[table]])
        connection.execute("COMMIT")
    for _, statement in indexes:
        connection.execute(statement)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()


def _into_postgres(url: str, year: Year) -> None:
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        # The rows fit together: to look up the call of each of millions would take minutes.
        cursor.execute("SET session_replication_role = replica")
        for rows in year.batches():
            for table, columns in COLUMNS.items():
                names = ",".join(columns.split())
                with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                    for row in rows[table]:
                        copy.write_row(row)
        cursor.execute("VACUUM ANALYZE")  # what its own housekeeping does in time


def _plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """As the product's own types write to SQLite."""
    return tuple(
        value.isoformat(" ", "microseconds")[:26] if isinstance(value, datetime) else value
        for value in row
    )


def _spent(turns: int, seconds: float, *, is_known: bool) -> tuple[str, str]:
    words, spoken = 900 * (turns + 1), 90 * (turns + 1)
    used = (
        USED % ("llm", "openai", "gpt-4.1-mini", "input_tokens", words, "output_tokens", spoken),
        USED % ("stt", "deepgram", "nova-3", "audio_duration", seconds, "input_tokens", 0),
        USED % ("tts", "cartesia", "sonic-3", "characters_count", spoken * 4, "input_tokens", 0),
    )
    costs = (words * 4e-7 + spoken * 1.6e-6, seconds / 60 * 0.0077, spoken * 4 * 5e-5)
    named = (("llm", "openai", "gpt-4.1-mini"), ("stt", "deepgram", "nova-3"))
    named = (*named, ("tts", "cartesia", "sonic-3"))
    parts = ",".join(PART % (*name, cost) for name, cost in zip(named, costs, strict=True))
    by = ",".join(f'"{one[1]}":"{cost:.8f}"' for one, cost in zip(named, costs, strict=True))
    known = f"{sum(costs):.8f}"
    total = f'"{known}"' if is_known else "null"
    cost = (
        f'{{"currency":"USD","prices":"2026-01-01","total":{total},"known":"{known}",'
        f'"providers":{{{by}}},"parts":[{parts}]}}'
    )
    return f'{{"models":[{",".join(used)}]}}', cost


def _kind(luck: float) -> str:
    shares = ((0.88, "caller"), (0.94, "outbound"), (0.96, "canary"))
    return next((kind for below, kind in shares if luck < below), "courtesy")


def _is_bad(at: datetime) -> bool:
    """A provider is away on the 13th of a month, from two to four in the afternoon."""
    return at.day == 13 and 14 <= at.hour < 16


def _shares(named: Sequence[tuple[str, float]]) -> list[float]:
    total = sum(share for _, share in named)
    return [share / total for _, share in named]


def main(
    folder: Annotated[Path, typer.Argument(help="Gets calls.db; made when it is missing.")],
    *,
    calls: Annotated[int, typer.Option(min=1)] = CALLS,
    until: Annotated[datetime | None, typer.Option(help="End of the year, UTC; today.")] = None,
    url: Annotated[str, typer.Option(help="Another database than FOLDER/calls.db.")] = "",
) -> None:
    """Make up a year of calls."""
    began = time.monotonic()
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    end = until.replace(tzinfo=UTC) if until else today
    fill(url or f"sqlite:///{folder.absolute()}/calls.db", Year(end, calls))
    typer.echo(f"{calls} calls until {end:%Y-%m-%d} in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    typer.run(main)
