"""What a call cost: its usage counters times the price book. Pure, in decimals.

A cost that the book does not tell is None, and so is the total that it belongs to; `known` is the
sum of the rest. Nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from typing import Any

from agent import log
from agent.events import CallEnded, Event
from config.prices import ANY, LlmPrice, PriceBook, SttPrice, TelephonyPrice, TtsPrice

logger = log.get(__name__)

MILLION = Decimal(1_000_000)
MINUTE = Decimal(60)
EXACT = Decimal("0.00000001")
"""Costs are kept to this fraction of the currency: a token is some 0.0000004."""

TELEPHONY = "telephony"
KINDS = {"llm_usage": "llm", "stt_usage": "stt", "tts_usage": "tts"}
"""The framework's usage types that the book has prices for."""


@dataclass(frozen=True, slots=True)
class Part:
    """One line of a call's cost; `cost` is None when the book does not tell it."""

    kind: str
    provider: str
    model: str
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call cost, in the currency of the book."""

    parts: tuple[Part, ...]
    currency: str
    prices: str
    """The date of the price book."""

    @property
    def known(self) -> Decimal:
        """The sum of what is known."""
        return sum((part.cost for part in self.parts if part.cost is not None), Decimal(0))

    @property
    def total(self) -> Decimal | None:
        """The cost of the call, or None when a part of it is not known."""
        return None if any(part.cost is None for part in self.parts) else self.known

    @property
    def by_provider(self) -> dict[str, Decimal | None]:
        """The sum of each provider, None where a part of it is not known."""
        sums: dict[str, Decimal | None] = {}
        for part in self.parts:
            known = sums.get(part.provider, Decimal(0))
            sums[part.provider] = None if known is None or part.cost is None else known + part.cost
        return sums

    def as_json(self) -> dict[str, Any]:
        """For the record: decimals as texts, which JSON keeps exactly."""
        return {
            "currency": self.currency,
            "prices": self.prices,
            "total": _text(self.total),
            "known": _text(self.known),
            "providers": {name: _text(cost) for name, cost in self.by_provider.items()},
            "parts": [
                {
                    "kind": part.kind,
                    "provider": part.provider,
                    "model": part.model,
                    "cost": _text(part.cost),
                }
                for part in self.parts
            ],
        }


def cost_of(usage: Mapping[str, Any], book: PriceBook) -> Cost | None:
    """What the usage of a call cost (`agent.usage` tells what it looks like).

    None when the usage itself is not known: a job that was killed could not tell it.
    """
    if "models" not in usage:
        return None
    parts = [_model(counters, book) for counters in usage["models"]]
    if leg := usage.get(TELEPHONY):
        trunk = str(leg.get("trunk", ""))
        price = book.telephony.get(trunk) or book.telephony.get(ANY)
        cost = _leg(leg["seconds"], price) if price else None
        parts.append(Part(TELEPHONY, trunk or ANY, "", _exact(cost)))
    return Cost(tuple(parts), book.currency, book.date.isoformat())


class Pricing:
    """Puts the cost into the end of a call, and tells once of each model that has no price."""

    def __init__(self, book: PriceBook) -> None:
        self._book = book
        self._told: set[tuple[str, str, str]] = set()

    def priced(self, events: Iterable[Event]) -> list[Event]:
        """The events, with the cost in those that end a call."""
        return [self._with_cost(event) for event in events]

    def _with_cost(self, event: Event) -> Event:
        if not isinstance(event, CallEnded) or event.cost is not None:
            return event
        try:
            cost = cost_of(event.usage, self._book)
        except (ArithmeticError, KeyError, TypeError, AttributeError) as error:
            # A spool of another release may hold usage of another shape: its call must be kept.
            logger.error("a usage cannot be priced", call=event.call_id, error=type(error).__name__)
            return event
        if cost is None:
            return event
        for part in cost.parts:
            self._tell(part)
        return replace(event, cost=cost.as_json())

    def _tell(self, part: Part) -> None:
        what = (part.kind, part.provider, part.model)
        if part.cost is None and what not in self._told:
            self._told.add(what)
            logger.warning(
                "no price is known",
                action="the cost is null, see costs.prices",
                kind=part.kind,
                provider=part.provider,
                model=part.model,
            )


def _model(counters: Mapping[str, Any], book: PriceBook) -> Part:
    provider, model = str(counters.get("provider", "")), str(counters.get("model", ""))
    kind = KINDS.get(str(counters.get("type", "")), str(counters.get("type", "")))
    cost: Decimal | None = None
    if kind in KINDS.values():
        models = getattr(book, kind).get(provider, {})
        price = models.get(model) or models.get(ANY)
        match price:
            case LlmPrice():
                cost = _llm(counters, price)
            case SttPrice():
                cost = _stt(counters, price)
            case TtsPrice():
                cost = _tts(counters, price)
    return Part(kind, provider, model, _exact(cost))


def _llm(counters: Mapping[str, Any], price: LlmPrice) -> Decimal:
    cached = _count(counters, "input_cached_tokens")
    fresh = _count(counters, "input_tokens") - cached  # the framework counts cached ones in both
    cached_price = price.cached_input_per_million
    if cached_price is None:
        cached_price = price.input_per_million
    output = _count(counters, "output_tokens") * price.output_per_million
    return (fresh * price.input_per_million + cached * cached_price + output) / MILLION


def _stt(counters: Mapping[str, Any], price: SttPrice) -> Decimal | None:
    if price.per_minute is not None:
        return _count(counters, "audio_duration") / MINUTE * price.per_minute
    return _tokens(counters, price.input_per_million, price.output_per_million)


def _tts(counters: Mapping[str, Any], price: TtsPrice) -> Decimal | None:
    if price.per_million_characters is not None:
        return _count(counters, "characters_count") * price.per_million_characters / MILLION
    if price.per_minute is not None:
        return _count(counters, "audio_duration") / MINUTE * price.per_minute
    return _tokens(counters, price.input_per_million, price.output_per_million)


def _tokens(
    counters: Mapping[str, Any], in_price: Decimal | None, out_price: Decimal | None
) -> Decimal | None:
    """None when the provider was used and told no tokens: zero would be a guess."""
    used, made = _count(counters, "input_tokens"), _count(counters, "output_tokens")
    if not used and not made and _count(counters, "audio_duration"):
        return None
    return (used * (in_price or 0) + made * (out_price or 0)) / MILLION


def _leg(seconds: float, price: TelephonyPrice) -> Decimal:
    begun = (Decimal(str(seconds)) / price.increment).to_integral_value(ROUND_CEILING)
    return begun * price.increment / MINUTE * price.per_minute


def _count(counters: Mapping[str, Any], name: str) -> Decimal:
    return Decimal(str(counters.get(name) or 0))


def _exact(cost: Decimal | None) -> Decimal | None:
    """A counter that is no number (NaN, infinite) makes a cost that is not known."""
    return cost.quantize(EXACT) if cost is not None and cost.is_finite() else None


def _text(cost: Decimal | None) -> str | None:
    return None if cost is None else f"{cost.normalize():f}"
