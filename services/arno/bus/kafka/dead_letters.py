"""Reads the topic of dead letters, and removes old ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kafka import TopicPartition
from kafka.errors import KafkaError

from arno.bus.kafka.admin import KafkaTopicAdmin
from arno.bus.kafka.faults import translate
from arno.bus.kafka.patches import PatchedConsumer
from arno.bus.kafka.settings import reader_config
from arno.bus.ports import DEAD_LETTERS, DeadRecord, topic_name
from arno.bus.settings import BusSettings
from arno.errors import BackendUnavailableError

_POLL_MS = 500
_SILENT_POLLS_MAX = 20


class KafkaDeadLetterQueue:
    """Implements ``DeadLetterQueue`` on Kafka: a reader without a group, which commits nothing."""

    def __init__(self, settings: BusSettings) -> None:
        """Take the settings; nothing is connected yet."""
        self._settings = settings
        self._topic = topic_name(settings.topic_prefix, DEAD_LETTERS)
        self._admin = KafkaTopicAdmin(settings)
        self._client: PatchedConsumer | None = None

    def read(self) -> Iterator[DeadRecord]:
        """Yield the records up to the end that the topic has now."""
        try:
            client, partitions = self._connected()
            ends = client.end_offsets(partitions)
            client.seek_to_beginning(*partitions)
            yield from self._read_until(client, ends)
        except KafkaError as fault:
            raise translate(fault) from fault

    def purge(self, before_ms: int) -> int:
        """Remove what was stored before a moment; Kafka removes a beginning, never one record."""
        try:
            client, partitions = self._connected()
            begins, ends = client.beginning_offsets(partitions), client.end_offsets(partitions)
            found = client.offsets_for_times(dict.fromkeys(partitions, before_ms))
            # Where no record is as young as that, all are removed.
            cuts = {one: found[one].offset if found.get(one) else ends[one] for one in partitions}
            cuts = {one: offset for one, offset in cuts.items() if offset > begins[one]}
            if cuts:
                self._admin.delete_before(cuts)
        except KafkaError as fault:
            raise translate(fault) from fault
        return sum(offset - begins[one] for one, offset in cuts.items())

    def close(self) -> None:
        """Disconnect. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
        self._admin.close()

    def _read_until(
        self, client: PatchedConsumer, ends: Mapping[TopicPartition, int]
    ) -> Iterator[DeadRecord]:
        silent_polls = 0
        while any(client.position(one) < end for one, end in ends.items()):
            polled = client.poll(_POLL_MS)
            silent_polls = 0 if polled else silent_polls + 1
            if silent_polls > _SILENT_POLLS_MAX:
                raise BackendUnavailableError(f"kafka: {self._topic} cannot be read to its end")
            for partition, records in polled.items():
                for record in records:
                    if record.offset < ends[partition]:
                        name = f"{partition.partition}-{record.offset}"
                        yield DeadRecord(name, record.value or b"", record.timestamp)

    def _connected(self) -> tuple[PatchedConsumer, list[TopicPartition]]:
        if self._client is None:
            self._admin.require([DEAD_LETTERS])
            self._client = PatchedConsumer(**reader_config(self._settings))
        count = self._admin.partition_counts([self._topic])[self._topic]
        partitions = [TopicPartition(self._topic, number) for number in range(count)]
        self._client.assign(partitions)
        return self._client, partitions
