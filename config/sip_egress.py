"""Automatic recording of a room, in the API's own words: sections made from its messages.

The keys are those of `livekit.protocol.egress` (RoomEgress); enumerations are written by name
(`OGG`, `DUAL_CHANNEL_AGENT`). What the installed livekit-api knows is known here.
"""

from __future__ import annotations

from typing import Any, Literal, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from livekit.protocol.room import RoomEgress
from pydantic import AfterValidator, SecretStr, create_model

from config.fields import Number, Section, Whole
from config.references import SECRETS

_SCALARS: dict[int, Any] = {
    FieldDescriptor.CPPTYPE_BOOL: bool,
    FieldDescriptor.CPPTYPE_STRING: str,
    FieldDescriptor.CPPTYPE_DOUBLE: Number,
    FieldDescriptor.CPPTYPE_FLOAT: Number,
}


def section_of(message: Descriptor) -> type[Section]:
    """A section with the fields of a protobuf message, all optional."""
    fields: dict[str, Any] = {
        field.name: (_type(field) | None, None)
        for field in message.fields
        if not field.GetOptions().deprecated
    }
    return cast("type[Section]", create_model(message.name, __base__=Section, **fields))


def _type(field: FieldDescriptor) -> Any:
    inner: Any
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict[str, str]
    if field.message_type is not None:
        inner = section_of(field.message_type)
    elif field.enum_type is not None:
        inner = Literal[tuple(field.enum_type.values_by_name)]
    elif field.name in SECRETS:
        inner = SecretStr
    else:
        inner = _SCALARS.get(field.cpp_type, Whole)
    return tuple[inner, ...] if field.is_repeated else inner


def _recordable(egress: Any) -> Any:
    outputs = "file_outputs", "stream_outputs", "segment_outputs", "image_outputs"
    room = egress.room
    if room is not None and not any(getattr(room, output) for output in outputs):
        raise ValueError(f"room: needs one of {', '.join(outputs)}")
    return egress


Egress = section_of(cast("Descriptor", RoomEgress.DESCRIPTOR))
Recording = AfterValidator(_recordable)
