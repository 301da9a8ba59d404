"""The price book: what ships can be used, and a mistake in it is one line."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from config.prices import PriceBook, load_prices
from config.settings import ROOT, SettingsError, load

BOOK = ROOT / "config" / "prices.yaml"


def written(folder, text):
    file = folder / "prices.yaml"
    file.write_text(f"date: 2026-11-21\n{text}", encoding="utf-8")
    return file


def test_what_ships_is_dated_and_knows_the_default_models():
    book, providers = load_prices(BOOK), load(environ={}).providers
    assert book.date >= date(2026, 11, 21)
    assert book.currency == "USD"
    assert providers.openai.llm_model in book.llm["openai"]
    assert providers.groq.llm_model in book.llm["groq"]
    assert providers.deepgram.model in book.stt["deepgram"]
    assert providers.openai.stt_model in book.stt["openai"]
    assert providers.openai.tts_model in book.tts["openai"]


def test_a_price_is_exactly_what_is_written(tmp_path):
    book = load_prices(written(tmp_path, "stt: {a: {m: {per_minute: 0.1}}}\n"))
    assert book.stt["a"]["m"].per_minute == Decimal("0.1")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("llm: {a: {m: {input_per_million: 1}}}", "output_per_million: is required but missing"),
        ("stt: {a: {m: {per_minute: -1}}}", "must be greater than or equal to 0"),
        ("stt: {a: {m: {per_minute: cheap}}}", "expected a number"),
        ("stt: {a: {m: {per_minute: true}}}", "expected a number"),
        ("stt: {a: {m: {per_minute: .inf}}}", "finite"),
        ("stt: {a: {m: {}}}", "expected one of: per_minute, input_per_million with output"),
        ("stt: {a: {m: {input_per_million: 1}}}", "expected one of"),
        ("tts: {a: {m: {per_minute: 1, per_million_characters: 1}}}", "expected one of"),
        ("stt: {a: {m: {per_hour: 1}}}", "unknown key"),
        ("telephony: {any: {per_minute: 1, increment: 0}}", "greater than or equal to 1"),
        ("llms: {}", "did you mean llm?"),
        ("currency: ''", "must not be empty"),
    ],
)
def test_a_mistake_is_told_with_its_file_and_line(tmp_path, text, problem):
    with pytest.raises(SettingsError) as refused:
        load_prices(written(tmp_path, text))
    (line,) = refused.value.problems
    assert "prices.yaml:2: " in line
    assert problem in line


def test_a_book_without_a_date_or_a_file_is_refused(tmp_path):
    (tmp_path / "undated.yaml").write_text("currency: EUR\n")
    with pytest.raises(SettingsError, match="date: is required"):
        load_prices(tmp_path / "undated.yaml")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_prices(tmp_path / "missing.yaml")


def test_an_empty_book_is_a_book():
    assert PriceBook(date=date(2026, 1, 1)).llm == {}
