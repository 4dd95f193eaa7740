"""Describe messages of the API as JSON Schema, from their descriptors: no field is written twice.

Descriptions are the comments of `protos/`, which `make reference` puts into `comments.json`. The
JSON is protobuf's: names in camel case, enums by name, bytes as base64, durations as text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

Schema = dict[str, Any]

_WELL_KNOWN: Final[dict[str, Schema]] = {
    "google.protobuf.Duration": {"type": "string", "examples": ["1.5s"]},
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
}
_SCALARS: Final[dict[int, Schema]] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number"},
    FieldDescriptor.TYPE_INT32: {"type": "integer"},
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
}


def message_schemas(roots: Iterable[Descriptor]) -> dict[str, Schema]:
    """Return the schemas of messages and of all that they hold, by name."""
    found: dict[str, Schema] = {}
    waiting: list[Descriptor | EnumDescriptor] = list(roots)
    while waiting:
        kind = waiting.pop()
        if kind.name in found:
            continue
        if isinstance(kind, EnumDescriptor):
            # The number 0 is never sent: it stands for what is not given.
            names = [value.name for value in kind.values if value.number]
            described = {"description": _comments()[kind.name]}
            found[kind.name] = {"type": "string", "enum": names, **described}
        else:
            found[kind.name] = _message(kind)
            waiting += _parts(kind)
    return dict(sorted(found.items()))


def reference(kind: Descriptor | EnumDescriptor) -> Schema:
    """Return what stands for a schema elsewhere in the document."""
    return {"$ref": f"#/components/schemas/{kind.name}"}


def _message(kind: Descriptor) -> Schema:
    description = _comments()[kind.name]
    choices = [one for one in kind.oneofs if len(one.fields) > 1]
    if choices:
        said = ("one of " + ", ".join(field.json_name for field in one.fields) for one in choices)
        description += " At most " + "; ".join(said) + "."
    return {
        "type": "object",
        "description": description,
        "properties": {
            field.json_name: {
                **_field(field),
                "description": _comments()[f"{kind.name}.{field.name}"],
            }
            for field in kind.fields
        },
    }


@cache
def _comments() -> dict[str, str]:
    text = resources.files("arno.web").joinpath("comments.json").read_text(encoding="utf-8")
    found: dict[str, str] = json.loads(text)
    return found


def _field(field: FieldDescriptor) -> Schema:
    if _is_map(field):
        return {"type": "object", "additionalProperties": {"type": "string"}}
    one = _single(field)
    return {"type": "array", "items": one} if field.is_repeated else one


def _single(field: FieldDescriptor) -> Schema:
    if field.message_type is not None:
        return _WELL_KNOWN.get(field.message_type.full_name) or reference(field.message_type)
    if field.enum_type is not None:
        return reference(field.enum_type)
    return _SCALARS[field.type]


def _parts(kind: Descriptor) -> Iterable[Descriptor | EnumDescriptor]:
    for field in kind.fields:
        part = field.message_type or field.enum_type
        if part is not None and part.full_name not in _WELL_KNOWN and not _is_map(field):
            yield part


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)
