"""What is wrong with a file or a variable, said in one line for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from config.fields import Key, known_keys

Where = Callable[[Key], str]
"""Tells where a key was given: a file with its line, or an environment variable."""


class SettingsError(Exception):
    """The settings or a persona cannot be used. `problems` holds one line for each thing wrong."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)


def explain(error: ValidationError, model: type[BaseModel], where: Where) -> list[str]:
    """One line a problem: where it was given, the key, what is wrong, the nearest known key.

    Values are never repeated: they may be secrets or words of people.
    """
    lines = []
    for problem in error.errors(include_url=False):
        key = problem["loc"]
        what = _unknown(key, model) if problem["type"] == "extra_forbidden" else _wrong(problem)
        lines.append(": ".join(part for part in (where(key), dotted(key), what) if part))
    return lines


def dotted(key: Key) -> str:
    """The key as people write it: `facts[3].asks`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return text.removeprefix(".")


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The known name that looks most like this one, or nothing."""
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=cutoff)), "")


def _unknown(key: Key, model: type[BaseModel]) -> str:
    names = tuple(part for part in key if isinstance(part, str))
    keys = list(known_keys(model))
    siblings = [known[-1] for known in keys if known[:-1] == names[:-1]]
    elsewhere = {known[-1]: known for known in keys}
    near = "" if names[-1] in elsewhere else nearest(names[-1], siblings)
    if near:
        return f"unknown key, did you mean {dotted((*key[:-1], near))}?"
    if near := nearest(names[-1], elsewhere, cutoff=0.8):
        return f"unknown key, did you mean {dotted(elsewhere[near])}?"
    return f"unknown key, known here: {', '.join(siblings)}"


_WORDS = {
    "missing": "is required but missing",
    "model_type": "expected a mapping (lines of `key: value`)",
    "model_attributes_type": "expected a mapping (lines of `key: value`)",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "tuple_type": "expected a list",
    "path_type": "expected a path",
    "string_too_short": "must not be empty",
}


def _wrong(problem: Any) -> str:
    kind, given = problem["type"], problem["input"]
    if kind == "value_error":
        return str(problem["ctx"]["error"])
    if kind == "string_type":
        return f"expected text, not {_kind_of(given)}"
    if kind == "literal_error":
        expected = problem["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
        near = nearest(given, expected.split(", ")) if isinstance(given, str) else ""
        return f"expected one of {expected}" + (f"; did you mean {near}?" if near else "")
    told: str = problem["msg"]
    return _WORDS.get(kind) or told.replace("Input should be", "must be")


def _kind_of(given: Any) -> str:
    if isinstance(given, bool):
        return "true or false (YAML reads yes, no, on and off as that: put the word in quotes)"
    if isinstance(given, (int, float)):
        return "a number (put it in quotes)"
    kinds = {dict: "a mapping", list: "a list", type(None): "nothing"}
    return kinds.get(type(given), type(given).__name__)
