"""Topics as a user of Kafka has them: made, written and read with a plain client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewPartitions
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    NotCoordinatorError,
)
from kafka.record.default_records import DefaultRecordBatchBuilder

_LARGEST_BYTES = 32 * 1024**2
_NO_COORDINATOR_YET = (
    CoordinatorNotAvailableError,
    CoordinatorLoadInProgressError,
    NotCoordinatorError,
)


class _NoValue(bytes):
    """Passes for a value with the client, which cannot write a header without one."""


NO_VALUE: Final = _NoValue()
"""The value of a header that other clients write as Kafka's null."""


class HeadersWithoutValues(DefaultRecordBatchBuilder):
    """Writes `NO_VALUE` as null, where a test puts it in the place of the client's own."""

    def append(self, offset: Any, timestamp: Any, key: Any, value: Any, headers: Any) -> Any:
        written = [(name, None if held is NO_VALUE else held) for name, held in headers]
        return super().append(offset, timestamp, key, value, written)


class Latin1(str):
    """The name of a header in Latin-1, as writers send it that know nothing of UTF-8."""

    def encode(self, *_: str) -> bytes:
        return super().encode("latin-1")


@dataclass(frozen=True)
class Found:
    """A record as it was read."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp_ms: int

    def header(self, name: str) -> str:
        """Return the last header of a name, as text."""
        return dict(self.headers)[name].decode()


class Topics:
    """A broker's topics, from the outside."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._admin = KafkaAdminClient(bootstrap_servers=bootstrap)

    def create(self, name: str, *, partitions: int = 1, **configs: str) -> str:
        wanted = {"num_partitions": partitions, "replication_factor": 1, "configs": configs}
        self._admin.create_topics({name: wanted})
        self._admin.wait_for_topics([name])
        return name

    def add_partitions(self, name: str, total: int) -> None:
        self._admin.create_partitions({name: NewPartitions(total)})

    def write(self, topic: str, records: Sequence[dict[str, Any]], **options: Any) -> None:
        """Write records in order, as `KafkaProducer.send` takes them, and wait for all."""
        producer = KafkaProducer(
            bootstrap_servers=self.bootstrap,
            max_request_size=_LARGEST_BYTES,
            enable_idempotence=False,
            max_in_flight_requests_per_connection=1,
            **options,
        )
        try:
            sent = [producer.send(topic, **record) for record in records]
            for one in sent:
                one.get(30)
        finally:
            producer.close(5)

    def read(self, topic: str) -> list[Found]:
        """Return all that a topic holds now, each partition in its order."""
        consumer = KafkaConsumer(
            bootstrap_servers=self.bootstrap,
            group_id=None,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=_LARGEST_BYTES,
        )
        try:
            numbers = sorted(consumer.partitions_for_topic(topic) or ())
            partitions = [TopicPartition(topic, number) for number in numbers]
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            return list(_until(consumer, consumer.end_offsets(partitions)))
        finally:
            consumer.close()

    def size(self, topic: str) -> int:
        """Return how many records a topic holds, as far as its offsets tell."""
        counts = self._admin.describe_topics([topic])[0]["partitions"]
        partitions = [TopicPartition(topic, number) for number in range(len(counts))]
        return sum(
            at.offset
            for at in self._admin.list_partition_offsets(dict.fromkeys(partitions, -1)).values()
        )

    def lag(self, group: str, topic: str) -> int:
        """Return how many records of a topic a group has not committed."""
        try:
            found = self._admin.list_group_offsets({group: None}).get(group, {})
        except _NO_COORDINATOR_YET:  # the broker's first group is on its way
            found = {}
        done = sum(at.offset for one, at in found.items() if one.topic == topic)
        return self.size(topic) - done

    def close(self) -> None:
        self._admin.close()


def _until(consumer: Any, ends: dict[TopicPartition, int]) -> Iterator[Found]:
    while any(consumer.position(one) < end for one, end in ends.items()):
        for records in consumer.poll(200).values():
            for one in records:
                yield Found(
                    one.partition,
                    one.offset,
                    one.key,
                    one.value,
                    [(name, value) for name, value in one.headers],
                    one.timestamp,
                )
