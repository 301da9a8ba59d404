"""The price book, `config/prices.yaml`: what providers charge, as operators know it.

It is dated, because prices change; a price that is not known is left out. All prices are of one
currency. Nothing here computes: `agent.costs` does.
"""

from __future__ import annotations

from datetime import date as Date  # noqa: N812 - a field of the book is called date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from config.errors import SettingsError, explain
from config.fields import Section, Text, Whole
from config.yamlfile import read_yaml

ANY = "any"
"""Every model of a provider, or every trunk, that has no price of its own."""


def _exact(value: Any) -> Any:
    """A number as it is written in the file: 0.1 is a tenth, not the nearest binary fraction."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("expected a number")  # noqa: TRY004 - pydantic's way
    return Decimal(str(value))


Price = Annotated[Decimal, BeforeValidator(_exact), Field(ge=0)]


class LlmPrice(Section):
    """A language model, per million tokens."""

    input_per_million: Price
    cached_input_per_million: Price | None = Field(
        None, description="Of input that the provider had cached; null: as all input."
    )
    output_per_million: Price


class SttPrice(Section):
    """A recogniser, per minute of audio or per million tokens."""

    per_minute: Price | None = None
    input_per_million: Price | None = None
    output_per_million: Price | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        _only_one(self, ("per_minute",), ("input_per_million", "output_per_million"))
        return self


class TtsPrice(Section):
    """A voice, per million characters, per minute of audio or per million tokens."""

    per_million_characters: Price | None = None
    per_minute: Price | None = None
    input_per_million: Price | None = None
    output_per_million: Price | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        _only_one(
            self,
            ("per_million_characters",),
            ("per_minute",),
            ("input_per_million", "output_per_million"),
        )
        return self


class TelephonyPrice(Section):
    """A trunk, per minute of the caller's leg."""

    per_minute: Price
    increment: Whole = Field(
        1, ge=1, le=3600, description="Seconds that are charged whole: 60 for started minutes."
    )


class PriceBook(Section):
    """Prices by provider and model, and by trunk."""

    date: Date = Field(description="When the prices were last checked.")
    currency: Text = Field("USD", description="Of all prices in the book.")
    llm: dict[Text, dict[Text, LlmPrice]] = Field({}, description="By provider and model.")
    stt: dict[Text, dict[Text, SttPrice]] = Field({}, description="By provider and model.")
    tts: dict[Text, dict[Text, TtsPrice]] = Field({}, description="By provider and model.")
    telephony: dict[Text, TelephonyPrice] = Field(
        {}, description="By LiveKit's id of the trunk (ST_...), or `any`."
    )


def load_prices(path: Path) -> PriceBook:
    """Read the book. Raises SettingsError with one line for each thing that is wrong."""
    told = read_yaml(path)
    try:
        return PriceBook.model_validate(told.data)
    except ValidationError as error:
        raise SettingsError(*explain(error, PriceBook, told.where)) from None


def _only_one(price: Section, *ways: tuple[str, ...]) -> None:
    begun = [way for way in ways if any(getattr(price, name) is not None for name in way)]
    whole = [way for way in ways if all(getattr(price, name) is not None for name in way)]
    if len(begun) != 1 or begun != whole:
        raise ValueError(f"expected one of: {', '.join(' with '.join(way) for way in ways)}")
