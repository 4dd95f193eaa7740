"""The fields of a record in a stream: its value under ``v``, each header under ``h:NAME``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from redis.typing import EncodableT, FieldT

from arno.bus.ports import Record

_VALUE = b"v"
_HEADER = b"h:"


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a stream as Redis gives it.

    Attributes:
        channel: Whose stream it is in.
        position: Its id, ``MILLISECONDS-SEQUENCE``.
        fields: What was written.
        repeated: Whether another consumer had it before.
    """

    channel: str
    position: str
    fields: Mapping[bytes, bytes]
    repeated: bool = False

    @property
    def appended_at_ms(self) -> int:
        """When Redis stored it: the first half of its id."""
        return int(self.position.partition("-")[0])

    @property
    def record(self) -> Record:
        """The record that was published."""
        headers = {
            # A foreign writer may name its fields in any way.
            name.removeprefix(_HEADER).decode(errors="replace"): value
            for name, value in self.fields.items()
            if name.startswith(_HEADER)
        }
        return Record(self.channel, self.fields.get(_VALUE, b""), headers)


def fields_of(record: Record) -> dict[FieldT, EncodableT]:
    """Return what to write for a record."""
    fields: dict[FieldT, EncodableT] = {_VALUE: record.value}
    for name, value in record.headers.items():
        fields[_HEADER + name.encode()] = value
    return fields
