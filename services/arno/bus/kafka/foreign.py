"""Reads topics that others write: any key, any headers, any value or none.

What is received, paused and committed is the business of `KafkaConsumer`; this adds what a record
of Arno's own topics does not have, and the settings that topics of others need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from arno.bus.kafka.admin import KafkaTopicAdmin
from arno.bus.kafka.consumer import KafkaConsumer
from arno.bus.kafka.settings import consumer_config
from arno.bus.ports import Delivery
from arno.bus.settings import BusSettings


@dataclass(frozen=True, slots=True)
class Reading:
    """How a topic is read.

    Attributes:
        topic: Its name.
        start: Where a group begins that has committed nothing; partitions that are added later are
            read from their beginning with ``earliest`` only.
        partitions_check_s: How often added partitions are looked for.
    """

    topic: str
    start: Literal["earliest", "latest"] = "earliest"
    partitions_check_s: float = 30.0


@dataclass(frozen=True, slots=True)
class ForeignDelivery(Delivery):
    """A record as its writer wrote it; ``record.value`` is empty where it wrote null.

    Attributes:
        key: Of the record; None where it has none.
        headers: Of the record, in their order; names may repeat.
    """

    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class ForeignConsumer(KafkaConsumer):
    """Takes the records of one topic that is not Arno's."""

    def __init__(self, settings: BusSettings, reading: Reading) -> None:
        """Take the settings, with the group in them; nothing is connected yet."""
        self._reading = reading
        super().__init__(settings, [reading.topic])

    def poll(self, timeout_s: float) -> Sequence[ForeignDelivery]:
        """Commit what is finished, and return new records."""
        return cast("Sequence[ForeignDelivery]", super().poll(timeout_s))

    def _topic(self, channel: str) -> str:
        return channel

    def _require_topics(self, admin: KafkaTopicAdmin) -> None:
        admin.require_topics([self._reading.topic])

    def _config(self) -> dict[str, Any]:
        return {
            **consumer_config(self._settings),
            "auto_offset_reset": self._reading.start,
            "metadata_max_age_ms": int(self._reading.partitions_check_s * 1000),
            # What a transaction has taken back was never written.
            "isolation_level": "read_committed",
        }

    def _delivery(self, record: Any, epoch: int) -> ForeignDelivery:
        plain = super()._delivery(record, epoch)
        return ForeignDelivery(
            # Of repeated names the record's own mapping holds one.
            record=replace(plain.record, headers={}),
            receipt=plain.receipt,
            appended_at_ms=plain.appended_at_ms,
            key=record.key,
            headers=tuple(record.headers),
        )
