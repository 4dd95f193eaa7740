"""The records that a bridge writes: results, and dead letters with their reason.

Both keep key, headers and timestamp of the record that they are about. Readers find the id of a
record in the header ``arno-id`` without parsing the value.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from arno.api.v1 import events_pb2
from arno.bus.kafka.foreign import ForeignDelivery
from arno.bus.kafka.sender import Outgoing
from arno.client.export import to_json
from arno.errors import ArnoError, InvalidImageError, LimitExceededError
from arno.ingest.settings import TopicRoute
from arno.ingest.topics.references import without_query
from arno.vocabulary.results import InferResult

_JSON: Final = b"application/json"
_PROTOBUF: Final = b"application/x-protobuf; messageType=arno.api.v1.ResultEvent"

_REASON_CHARS_MAX: Final = 2000


def record_id(found: ForeignDelivery) -> str:
    """Return the id of a record, which its result carries: TOPIC/PARTITION/OFFSET."""
    receipt = found.receipt
    return f"{receipt.channel}/{receipt.partition}/{receipt.position}"


class Keys:
    """The idempotency keys with which the gateway is asked about the records of one route."""

    def __init__(self, route: TopicRoute) -> None:
        """Take the route; its tasks are part of every key."""
        self._group = route.group
        self._tasks = json.dumps([entry.model_dump() for entry in route.tasks])

    def of(self, found: ForeignDelivery, image: bytes = b"") -> str:
        """Return the key of a record.

        It is the same for every delivery of the record to one group with the same tasks. With its
        timestamp, as a topic that was deleted and made again counts from 0 again.

        Args:
            found: The record.
            image: What it refers to, which may be another one at the next delivery.
        """
        parts = [self._group, record_id(found), str(found.appended_at_ms), self._tasks]
        parts += [hashlib.sha256(image).hexdigest()] if image else []
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def image_of(route: TopicRoute, found: ForeignDelivery) -> bytes:
    """Return the image of a record.

    Raises:
        InvalidImageError: The value is null or empty.
        LimitExceededError: It is larger than is sent to the gateway.
    """
    image = found.record.value
    if not image:
        raise InvalidImageError(field="value", problem="the record holds no image", sent="0 bytes")
    if len(image) > route.image_bytes_max:
        raise LimitExceededError(
            field="value",
            problem="the image is too large",
            limit=f"{route.image_bytes_max} bytes",
            sent=f"{len(image)} bytes",
        )
    return image


def result_record(route: TopicRoute, found: ForeignDelivery, result: InferResult) -> Outgoing:
    """Return the record of an answer."""
    event = events_pb2.ResultEvent(id=record_id(found), response=result.message)
    event.time.FromNanoseconds(time.time_ns())
    event.topic.CopyFrom(_origin(found))
    if route.output == "json":
        kind, value = _JSON, json.dumps(to_json(event), ensure_ascii=False).encode()
    else:
        kind, value = _PROTOBUF, event.SerializeToString()
    added: tuple[tuple[str, bytes], ...] = (
        ("arno-id", event.id.encode()),
        ("arno-content-type", kind),
    )
    if route.references is not None:
        reference = without_query(found.record.value.decode(errors="replace").strip())
        added = (*added, ("arno-reference", reference.encode()))
    return _answering(found, route.results, value, added)


def dead_letters(route: TopicRoute, found: ForeignDelivery, error: ArnoError) -> Iterator[Outgoing]:
    """Yield the dead letter of a record, then smaller ones for a topic that does not take it.

    The first has the value, the next says its size instead, the last has none of the record's own
    headers.
    """
    receipt, value = found.receipt, found.record.value
    about: tuple[tuple[str, bytes], ...] = (
        ("arno-id", record_id(found).encode()),
        ("arno-reason", error.reason.encode()),
        ("arno-message", error.message[:_REASON_CHARS_MAX].encode(errors="replace")),
        ("arno-topic", receipt.channel.encode()),
        ("arno-partition", str(receipt.partition).encode()),
        ("arno-offset", receipt.position.encode()),
        ("arno-timestamp-ms", str(found.appended_at_ms).encode()),
    )
    yield _answering(found, route.dead_letters, value, about)
    slim = (*about, ("arno-value-left-out", str(len(value)).encode()))
    yield _answering(found, route.dead_letters, b"", slim)
    yield Outgoing(route.dead_letters, b"", headers=slim)


def _answering(
    found: ForeignDelivery, topic: str, value: bytes, added: tuple[tuple[str, bytes], ...]
) -> Outgoing:
    return Outgoing(
        topic,
        value,
        key=found.key,
        headers=(*found.headers, *added),
        timestamp_ms=found.appended_at_ms if found.appended_at_ms >= 0 else None,
    )


def _origin(found: ForeignDelivery) -> events_pb2.TopicOrigin:
    receipt = found.receipt
    origin = events_pb2.TopicOrigin(
        topic=receipt.channel, partition=receipt.partition, offset=int(receipt.position)
    )
    if found.appended_at_ms >= 0:
        stamp = Timestamp()
        stamp.FromMilliseconds(found.appended_at_ms)
        origin.time.CopyFrom(stamp)
    return origin
