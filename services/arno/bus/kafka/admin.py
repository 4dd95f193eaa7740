"""Creates and inspects Arno's topics."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError, TopicAlreadyExistsError

from arno.bus.kafka.faults import translate
from arno.bus.kafka.patches import PatchedAdmin
from arno.bus.kafka.retention import retention_faults
from arno.bus.kafka.settings import admin_config, topic_config
from arno.bus.ports import DEAD_LETTERS, topic_name
from arno.bus.settings import BusSettings
from arno.errors import ArnoError, BackendUnavailableError
from arno.vocabulary import Lane

logger = logging.getLogger(__name__)

_NO_ERROR = 0


class KafkaTopicAdmin:
    """Implements ``TopicAdmin`` on Kafka. Blocking; connects with its first call."""

    def __init__(self, settings: BusSettings) -> None:
        """Take the settings; nothing is connected yet."""
        self._settings = settings
        self._client: PatchedAdmin | None = None
        self._channels = [*(lane.value for lane in Lane), DEAD_LETTERS]

    def ensure_topics(self) -> list[str]:
        """Create the missing topics, for the largest record allowed; return their names."""
        settings = self._settings
        existing = self.describe()
        missing = [
            topic_name(settings.topic_prefix, channel)
            for channel in self._channels
            if channel not in existing
        ]
        created = [name for name in missing if self._create(name)]
        if missing:
            try:
                self._connected().wait_for_topics(missing)
            except KafkaError as fault:
                raise translate(fault) from fault
        return created

    def describe(self) -> Mapping[str, int]:
        """Return the partition count of every topic of Arno that exists, by channel."""
        names = {topic_name(self._settings.topic_prefix, one): one for one in self._channels}
        return {names[name]: count for name, count in self.partition_counts(names).items()}

    def require(self, channels: Collection[str]) -> None:
        """Check that the topics of these channels exist.

        Raises:
            BackendUnavailableError: One is missing, or Kafka cannot be reached.
        """
        names = [topic_name(self._settings.topic_prefix, channel) for channel in channels]
        self.require_topics(names, advice="; `arno topics create` creates it")

    def require_topics(self, names: Collection[str], *, advice: str = "") -> None:
        """Check that these topics exist.

        Raises:
            BackendUnavailableError: One is missing, or Kafka cannot be reached; with the advice.
        """
        missing = sorted(set(names) - self.partition_counts(names).keys())
        if missing:
            raise BackendUnavailableError(
                f"kafka: no topic {', '.join(missing)}{advice}", topics=",".join(missing)
            )

    def retention_faults(self) -> list[str]:
        """Return how topics of Arno that exist can drop jobs that wait; empty: they cannot."""
        names = [topic_name(self._settings.topic_prefix, one) for one in self.describe()]
        try:
            return list(retention_faults(self._connected(), names, self._settings))
        except KafkaError as fault:
            raise translate(fault) from fault

    def warn_of_retention(self) -> None:
        """Log a warning for each of `retention_faults`; nothing where we may not ask."""
        try:
            faults = self.retention_faults()
        except (ArnoError, KeyError, ValueError) as error:
            # A user without the right to describe settings, or a broker that words them otherwise.
            logger.info("cannot tell how long kafka keeps records: %s", error)
            return
        for fault in faults:
            logger.warning("%s", fault)

    def partition_counts(self, names: Collection[str]) -> dict[str, int]:
        """Return the partition counts of those of these topics that exist."""
        try:
            topics = self._connected().describe_topics(list(names))
        except KafkaError as fault:
            raise translate(fault) from fault
        return {
            topic["name"]: len(topic["partitions"])
            for topic in topics
            if topic["error_code"] == _NO_ERROR
        }

    def delete_before(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Remove the records of each partition that lie before an offset."""
        try:
            self._connected().delete_records(dict(offsets))
        except KafkaError as fault:
            raise translate(fault) from fault

    def unfinished(self, channels: Collection[str]) -> dict[str, dict[int, int]]:
        """Return what the workers' group has not committed, by channel and partition."""
        names = {topic_name(self._settings.topic_prefix, one): one for one in channels}
        counts = self.partition_counts(names)
        partitions = [TopicPartition(name, n) for name in counts for n in range(counts[name])]
        unfinished: dict[str, dict[int, int]] = {channel: {} for channel in channels}
        for one, count in self._uncommitted(partitions).items():
            unfinished[names[one.topic]][one.partition] = count
        return unfinished

    def ping(self) -> None:
        """Return when a broker answers; raise BackendUnavailableError when none does."""
        try:
            self._connected().describe_cluster()
        except KafkaError as fault:
            raise translate(fault) from fault

    def close(self) -> None:
        """Disconnect. Idempotent."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _uncommitted(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        group, client = self._settings.group, self._connected()
        try:
            ends = client.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST))
            committed = client.list_group_offsets({group: list(partitions)})[group]
            begun = {one: found.offset for one, found in committed.items() if found.offset >= 0}
            fresh = [one for one in partitions if one not in begun]
            if fresh:
                found = client.list_partition_offsets(dict.fromkeys(fresh, OffsetSpec.EARLIEST))
                begun |= {one: found[one].offset for one in fresh}
        except KafkaError as fault:
            raise translate(fault) from fault
        return {one: max(0, ends[one].offset - begun[one]) for one in partitions}

    def _create(self, name: str) -> bool:
        settings = self._settings
        wanted = {
            "num_partitions": settings.partitions,
            "replication_factor": settings.replication,
            "configs": topic_config(settings),
        }
        try:
            self._connected().create_topics({name: wanted})
        except TopicAlreadyExistsError:
            # Another process was faster.
            return False
        except KafkaError as fault:
            raise translate(fault) from fault
        logger.info("topic created", extra={"topic": name, "partitions": settings.partitions})
        return True

    def _connected(self) -> PatchedAdmin:
        if self._client is None:
            self._client = PatchedAdmin(**admin_config(self._settings))
        return self._client
