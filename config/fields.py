"""What all sections are made of: the frozen base model, the kinds of values, a map of the keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: the folder that holds `config/`. Relative paths in settings begin here."""

Key = tuple[str | int, ...]
"""The way to a value: ("speech", "stt") or ("facts", 3, "asks")."""


class Section(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


def from_root(path: Path) -> Path:
    """The path itself when it is absolute, else counted from the checkout."""
    return ROOT / path.expanduser()


def _not_a_switch(value: Any) -> Any:
    # Python takes True for 1: `max_calls: yes` would allow one call.
    if isinstance(value, bool):
        raise ValueError("expected a number, not true or false")  # noqa: TRY004 - pydantic's way
    return value


def _filled(items: tuple[Any, ...]) -> tuple[Any, ...]:
    # Not min_length: pydantic would call a list empty as soon as one item in it is wrong.
    if not items:
        raise ValueError("the list must not be empty")
    return items


Filled = AfterValidator(_filled)
Whole = Annotated[int, BeforeValidator(_not_a_switch)]
Number = Annotated[float, BeforeValidator(_not_a_switch)]
Seconds = Annotated[Number, Field(ge=0)]
Port = Annotated[Whole, Field(ge=0, le=65535)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Folder = Annotated[Path, AfterValidator(from_root)]


def leaves(
    model: type[BaseModel], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Every value of the model's sections with its key, in the order in which they are written."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, (*above, name))
        else:
            yield (*above, name), field


def known_keys(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key that the model knows, sections and models inside lists included."""
    for name, field in model.model_fields.items():
        yield (*above, name)
        inner = _model_in(field.annotation)
        if inner:
            yield from known_keys(inner, (*above, name))


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _model_in(arg))), None)
