"""What a call cost: counters times prices, in decimals; what is not known stays unknown."""

from __future__ import annotations

import json
import logging
from datetime import date
from decimal import Decimal

import pytest
from livekit.agents.metrics import LLMModelUsage, STTModelUsage, TTSModelUsage

from agent import usage
from agent.call import Caller, EndReason
from agent.costs import Pricing, cost_of
from agent.events import CallEnded, CallNote, decode, encode
from config.prices import PriceBook
from config.settings import load

CALL = "a1" * 16
BOOK = PriceBook.model_validate(
    {
        "date": date(2026, 11, 21),
        "llm": {
            "openai": {
                "small": {
                    "input_per_million": 0.4,
                    "cached_input_per_million": 0.1,
                    "output_per_million": 1.6,
                }
            },
            "groq": {"llama": {"input_per_million": 0.59, "output_per_million": 0.79}},
        },
        "stt": {
            "deepgram": {"nova-3": {"per_minute": 0.0048}},
            "openai": {"hear": {"input_per_million": 1.25, "output_per_million": 5}},
            "offline": {"any": {"per_minute": 0}},
        },
        "tts": {
            "cartesia": {"sonic-3": {"per_million_characters": 37.5}},
            "other": {"voice": {"per_minute": 0.015}},
            "openai": {"speak": {"input_per_million": 0.6, "output_per_million": 12}},
        },
        "telephony": {"ST_1": {"per_minute": 0.01, "increment": 60}, "any": {"per_minute": 0.02}},
    }
)
LLM = {"type": "llm_usage", "provider": "openai", "model": "small"}
STT = {"type": "stt_usage", "provider": "deepgram", "model": "nova-3"}
TTS = {"type": "tts_usage", "provider": "cartesia", "model": "sonic-3"}


def cost(*models, **more):
    return cost_of({"models": list(models), **more}, BOOK)


@pytest.mark.parametrize(
    ("counters", "price"),
    [
        ({**LLM, "input_tokens": 1_000_000, "output_tokens": 500_000}, "1.2"),
        ({**LLM, "input_tokens": 1000, "input_cached_tokens": 600}, "0.00022"),
        ({**LLM, "input_tokens": 1}, "0.0000004"),
        ({**LLM, "provider": "groq", "model": "llama", "input_tokens": 10,
          "input_cached_tokens": 10}, "0.0000059"),
        ({**STT, "audio_duration": 90.0}, "0.0072"),
        ({**STT, "audio_duration": 0.1}, "0.000008"),
        ({**STT, "provider": "openai", "model": "hear", "input_tokens": 100, "output_tokens": 10,
          "audio_duration": 3.0}, "0.000175"),
        ({**STT, "provider": "offline", "model": "whatever", "audio_duration": 60.0}, "0"),
        ({**TTS, "characters_count": 1000, "audio_duration": 60.0}, "0.0375"),
        ({**TTS, "provider": "other", "model": "voice", "audio_duration": 30.0}, "0.0075"),
        ({**TTS, "provider": "openai", "model": "speak", "input_tokens": 100, "output_tokens": 1000,
          "audio_duration": 8.0}, "0.01206"),
    ],
)  # fmt: skip
def test_the_price_of_each_kind_of_use(counters, price):
    assert cost(counters).total == Decimal(price)


@pytest.mark.parametrize(
    "counters",
    [
        {**LLM, "model": "unknown", "input_tokens": 5},
        {**LLM, "provider": "unknown", "input_tokens": 5},
        {**STT, "provider": "openai", "model": "hear", "audio_duration": 3.0},  # told no tokens
        {**LLM, "type": "eot_usage", "total_requests": 5},
        {},
    ],
)
def test_what_is_not_in_the_book_is_null_and_so_is_the_total(counters):
    known = {**STT, "audio_duration": 60.0}
    told = cost(known, counters)
    assert [part.cost for part in told.parts] == [Decimal("0.0048"), None]
    assert told.total is None
    assert told.known == Decimal("0.0048")
    assert told.as_json()["total"] is None
    assert told.as_json()["known"] == "0.0048"


def test_a_call_that_failed_over_has_a_cost_for_each_provider():
    told = cost(
        {**LLM, "input_tokens": 1000},
        {**LLM, "provider": "groq", "model": "llama", "output_tokens": 1000},
        {**STT, "audio_duration": 60.0},
        {**STT, "provider": "openai", "model": "hear", "input_tokens": 100, "audio_duration": 2.0},
    ).as_json()
    assert told == {
        "currency": "USD",
        "prices": "2026-11-21",
        "total": "0.006115",
        "known": "0.006115",
        "providers": {"openai": "0.000525", "groq": "0.00079", "deepgram": "0.0048"},
        "parts": [
            {"kind": "llm", "provider": "openai", "model": "small", "cost": "0.0004"},
            {"kind": "llm", "provider": "groq", "model": "llama", "cost": "0.00079"},
            {"kind": "stt", "provider": "deepgram", "model": "nova-3", "cost": "0.0048"},
            {"kind": "stt", "provider": "openai", "model": "hear", "cost": "0.000125"},
        ],
    }


@pytest.mark.parametrize("odd", ["NaN", "Infinity"])
@pytest.mark.parametrize(
    "used",
    [
        {"models": [{**LLM, "input_tokens": 10}, {**STT, "audio_duration": "odd"}]},
        {"models": [{**STT, "provider": "openai", "model": "hear", "audio_duration": "odd"}]},
        {"models": [], "telephony": {"trunk": "ST_1", "seconds": "odd"}},
    ],
)
def test_a_counter_that_is_no_number_makes_the_cost_unknown(used, odd):
    usage = json.loads(json.dumps(used).replace('"odd"', odd))
    told = cost_of(usage, BOOK).as_json()
    assert told["total"] is None
    assert told["parts"][-1]["cost"] is None
    assert Decimal(told["known"]).is_finite()


def test_a_provider_with_an_unknown_part_has_no_sum():
    told = cost({**LLM, "input_tokens": 1000}, {**LLM, "model": "new"}, {**LLM})
    assert told.by_provider == {"openai": None}


@pytest.mark.parametrize(
    ("trunk", "seconds", "price"),
    [
        ("ST_1", 0.5, "0.01"),
        ("ST_1", 60.0, "0.01"),
        ("ST_1", 60.01, "0.02"),
        ("ST_2", 30.2, "0.01033333"),  # by the started second
        ("", 60, "0.02"),
        ("ST_1", 0, "0"),
    ],
)
def test_the_minutes_of_the_caller_by_trunk(trunk, seconds, price):
    told = cost(telephony={"trunk": trunk, "seconds": seconds})
    assert told.total == Decimal(price)
    assert told.parts[0].provider == (trunk or "any")


def test_a_trunk_without_a_price_is_not_free():
    without = BOOK.model_copy(update={"telephony": {}})
    told = cost_of({"models": [], "telephony": {"trunk": "ST_9", "seconds": 60}}, without)
    assert told.total is None


def test_a_call_that_used_nothing_was_free_and_one_that_cannot_tell_is_unknown():
    assert cost().total == 0
    assert cost().as_json()["total"] == "0"
    assert cost_of({}, BOOK) is None


def ended(**values):
    return CallEnded(call_id=CALL, seq=9, reason=EndReason.CALLER_HANGUP, **values)


def test_the_end_of_a_call_gets_its_cost_once_and_other_events_none():
    note = CallNote(call_id=CALL, seq=1, name="dtmf")
    end = ended(usage={"models": [{**STT, "audio_duration": 60.0}]})
    assert Pricing(BOOK).priced([note, end])[0] is note
    (priced,) = Pricing(BOOK).priced([end])
    assert priced.cost["total"] == "0.0048"
    assert decode(encode(priced)) == priced
    assert Pricing(BOOK.model_copy(update={"stt": {}})).priced([priced]) == [priced]


def test_a_model_without_a_price_is_one_line_in_the_log(caplog):
    pricing = Pricing(BOOK)
    end = ended(usage={"models": [{**LLM, "model": "new"}, {**LLM, "model": "newer"}]})
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            pricing.priced([end])
    assert [(line.levelname, line.provider, line.model) for line in caplog.records] == [
        ("WARNING", "openai", "new"),
        ("WARNING", "openai", "newer"),
    ]


@pytest.mark.parametrize("odd", [{"models": 5}, {"models": [{**LLM, "input_tokens": "many"}]},
                                 {"models": [], "telephony": {"trunk": "ST_1"}}])  # fmt: skip
def test_a_usage_of_another_shape_costs_no_call_its_record(odd):
    end = ended(usage=odd)
    assert Pricing(BOOK).priced([end]) == [end]


def used(kind, provider, model, **counters):
    return kind(provider=provider, model=model, **counters)


def test_usage_names_providers_as_the_settings_do():
    providers = load(environ={}).providers
    told = usage.of_call(
        [
            used(LLMModelUsage, "api.openai.com", "gpt-4.1-mini", input_tokens=5),
            used(LLMModelUsage, "api.groq.com", "llama-3.3-70b-versatile"),
            used(LLMModelUsage, "llm.example.test", "x"),
            used(STTModelUsage, "Deepgram", "nova-3", audio_duration=2.5),
            used(TTSModelUsage, "Cartesia", "sonic-3"),
            used(TTSModelUsage, "offline", "espeak-ng en-us"),
        ],
        providers,
        None,
        0.0,
    )
    names = [model["provider"] for model in told["models"]]
    assert names == ["openai", "groq", "llm.example.test", "deepgram", "cartesia", "offline"]
    assert told["models"][0]["input_tokens"] == 5
    assert set(told) == {"models"}


def test_usage_names_a_provider_whose_address_was_set():
    environ = {
        "VOICE_AGENT__PROVIDERS__OPENAI__BASE_URL": "http://127.0.0.1:4000/v1",
        "VOICE_AGENT__PROVIDERS__GROQ__BASE_URL": "http://127.0.0.1:5000/v1",
    }
    providers = load(environ=environ).providers
    hosts = ("127.0.0.1:4000", "127.0.0.1:5000", "api.openai.com")
    told = usage.of_call([used(LLMModelUsage, host, "x") for host in hosts], providers, None, 0.0)
    assert [model["provider"] for model in told["models"]] == ["openai", "groq", "openai"]


def test_one_gateway_for_two_providers_is_told_apart_by_the_model():
    url = "http://gateway.test/v1"
    environ = {f"VOICE_AGENT__PROVIDERS__{name}__BASE_URL": url for name in ("OPENAI", "GROQ")}
    providers = load(environ=environ).providers
    models = ("gpt-4.1-mini", "llama-3.3-70b-versatile")
    counters = [used(LLMModelUsage, "gateway.test", model) for model in models]
    told = usage.of_call(counters, providers, None, 0.0)
    assert [model["provider"] for model in told["models"]] == ["openai", "groq"]


@pytest.mark.parametrize(
    ("kind", "telephony"),
    [("sip", {"trunk": "ST_1", "seconds": 61.234}), ("line", None), ("standard", None)],
)
def test_only_telephone_calls_have_minutes(kind, telephony):
    caller = Caller("x", kind=kind, attributes={"sip.trunkID": "ST_1"})
    told = usage.of_call([], load(environ={}).providers, caller, 61.2345)
    assert told.get("telephony") == telephony
