"""The faults of the matrix, one row each, and what the caller says meanwhile. Plain data.

A fault is written as in tests/providers/faults.py, by provider. It begins as the caller begins to
speak for the second time, unless the row says that it is there from the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.call import EndReason

Fault = Mapping[str, Any]

SPEAKING = {"deepgram": {"first": 0.1}, "cartesia": {"first": 0.15, "each": 0.02}}
THINKING = {"openai": {"first": 0.25, "each": 0.02}, "groq": {"first": 0.25, "each": 0.02}}
PACES: Mapping[str, Fault] = {**SPEAKING, **THINKING}
"""How fast the stand-ins are when nothing is wrong with them. Seconds."""

CHAINS = {"STT": "deepgram,openai", "LLM": "openai,groq", "TTS": "cartesia,openai"}
"""Behind each provider that fails stands one that is well."""
FIRST = {"stt": "deepgram", "llm": "openai", "tts": "cartesia"}


@dataclass(frozen=True, slots=True)
class Line:
    """What the caller says, and the fact that answers it."""

    text: str
    fact: str


@dataclass(frozen=True, slots=True)
class Talk:
    """The caller's part in one language."""

    greeted: Line
    """The first turn, in which all is well."""
    asked: Mapping[str, Line]
    """The turn in which the fault strikes, by what the row needs."""
    following: Line
    parting: Line


# Sentences that the stand-ins' recogniser understands every time.
TALKS = {
    "en": Talk(
        greeted=Line("where can i park", "parking"),
        asked={
            "short": Line("i would like to know where your shop is", "address"),
            "long": Line("i would like to know what your opening hours are", "opening_hours"),
            "sentences": Line("i would like to book an appointment", "booking"),
        },
        following=Line("what is the price of a tune up", "tune_up_price"),
        parting=Line("thank you goodbye", "goodbye"),
    ),
    "ru": Talk(
        greeted=Line("у вас есть парковка", "parking"),
        asked={
            "short": Line("я хотел бы узнать сколько стоит обслуживание", "tune_up_price"),
            "long": Line("я хотел бы узнать сколько времени займёт ремонт", "repair_time"),
            "sentences": Line("я хотел бы узнать какие работы вы делаете", "services"),
        },
        following=Line("когда вы работаете", "opening_hours"),
        parting=Line("спасибо до свидания", "goodbye"),
    ),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One fault. `name` is `stt-...`, `llm-...`, `tts-...`, or begins with none of them."""

    name: str
    title: str
    faults: tuple[tuple[str, Fault], ...] = ()
    """(provider, fault)."""
    at_start: bool = False
    for_good: bool = False
    """The turn after is judged too."""
    asks: str = "short"
    ends: EndReason = EndReason.AGENT_HANGUP
    paces: Mapping[str, Fault] | None = None
    """Where the row needs other paces."""
    listens: float = 15.0
    """Seconds after which the caller has no more patience with an answer."""
    may_close: bool = False
    """A reply that was cut may be closed by an honest phrase instead of its rest."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Ears and voices are tried in both languages."""
        return ("en", "ru") if self.name.startswith(("stt-", "tts-", "none")) else ("en",)


def _stt(*faults: Fault) -> tuple[tuple[str, Fault], ...]:
    return tuple(("deepgram", {"on": "listen", **fault}) for fault in faults)


def _llm(**fault: Any) -> tuple[tuple[str, Fault], ...]:
    return (("openai", {"on": "chat", **fault}),)


def _tts(**fault: Any) -> tuple[tuple[str, Fault], ...]:
    return (("cartesia", fault),)


def _all(kind: str) -> tuple[tuple[str, Fault], ...]:
    return tuple((name, {"kind": kind, "times": 0}) for name in ("openai", "groq", "cartesia"))


GONE = {"kind": "drop", "after": 1.0}
"""The connection is cut a second into what the caller says."""
EVER = {"times": 0}
SLOW_WORDS = {"openai": {"first": 0.25, "word": 0.15}, "groq": {"first": 0.25, "word": 0.15}}

ROWS = (
    Row("none", "no fault"),
    Row("stt-drop", "STT drops in mid-utterance", _stt(GONE)),
    Row("stt-down-at-start", "STT down at start", _stt({"kind": "shut", **EVER}), at_start=True),
    Row("stt-down", "STT down for good", _stt(GONE, {"kind": "shut", **EVER}), for_good=True),
    Row("stt-half-open", "STT half-open", _stt({"kind": "half_open", "after": 1.0})),
    Row("stt-malformed", "STT malformed messages", _stt({"kind": "malformed"})),
    Row("stt-401", "STT 401", _stt(GONE, {"kind": "expired", **EVER}), for_good=True),
    Row("llm-500-once", "LLM 500 once", _llm(kind="status")),
    Row("llm-500", "LLM 500 for good", _llm(kind="status", times=0), for_good=True),
    Row("llm-hang", "LLM hangs", _llm(kind="hang", times=0)),
    Row("llm-trickle", "LLM slow trickle", _llm(kind="trickle", every=1.5, times=0)),
    Row(
        *("llm-cut", "LLM cut in mid-stream", _llm(kind="drop", after=6, times=0)),
        asks="long",
        may_close=True,
    ),
    Row("llm-empty", "LLM empty answer", _llm(kind="empty", times=0)),
    Row("llm-429", "LLM 429", _llm(kind="status", status=429, times=0)),
    Row("tts-hang-once", "TTS hangs once", _tts(kind="hang")),
    Row("tts-hang", "TTS hangs for good", _tts(kind="hang", times=0), for_good=True),
    Row("tts-401", "TTS 401", _tts(kind="expired", times=0), for_good=True),
    Row(
        *("tts-error", "TTS in-band error while the LLM streams"),
        _tts(kind="error", after=0.5, times=0),
        asks="sentences",
        paces={**PACES, **SLOW_WORDS},
        listens=25.0,
        may_close=True,
    ),
    Row(
        *("tts-cut", "TTS cut in mid-reply", _tts(kind="drop", after=1.5, times=0)),
        asks="long",
        may_close=True,
    ),
    Row("all-down", "all TTS and LLM down", _all("shut"), ends=EndReason.PROVIDER_FAILURE),
    Row("all-hang", "all TTS and LLM hang", _all("hang"), ends=EndReason.PROVIDER_FAILURE),
)
BY_NAME = {row.name: row for row in ROWS}


def cases(names: tuple[str, ...] = (), language: str = "") -> list[tuple[Row, str]]:
    """The rows of these names (none: all), each in its languages or in this one."""
    chosen = [BY_NAME[name] for name in names] if names else ROWS
    return [(row, each) for row in chosen for each in row.languages if language in ("", each)]
