"""Whether topics keep records for as long as a job may wait: Kafka drops what is older, silently.

Stands alone: the settings of a topic are read by nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from kafka.admin import ConfigResource, ConfigResourceType

from arno.bus.kafka.patches import PatchedAdmin
from arno.bus.settings import BusSettings
from arno.errors import BackendUnavailableError

_UNLIMITED: Final = -1
_READ: Final = ("retention.ms", "retention.bytes", "cleanup.policy")


def retention_faults(
    client: PatchedAdmin, topics: Collection[str], settings: BusSettings
) -> Iterator[str]:
    """Yield a sentence for each way in which one of these topics can drop jobs that wait.

    Args:
        client: Connected.
        topics: Topics that exist.
        settings: How long records must be kept.

    Raises:
        KafkaError: Kafka does not answer.
        BackendUnavailableError: The user may not describe topics' settings.
    """
    asked = [
        ConfigResource(ConfigResourceType.TOPIC, topic, dict.fromkeys(_READ)) for topic in topics
    ]
    found: Any = client.describe_configs(asked, config_filter="all")
    by_topic: Any = next(iter(found.values()), {})
    for topic in sorted(topics):
        config = by_topic.get(topic)
        # In place of the settings that we may not see there is an error, or nothing.
        if not isinstance(config, Mapping) or _READ[0] not in config:
            raise BackendUnavailableError(
                f"kafka: topic {topic} does not show its settings: is DescribeConfigs allowed?"
            )
        values = {name: str(config[name]["value"]) for name in _READ if name in config}
        for fault in _faults(values, settings.kafka_retention_s):
            yield f"kafka: topic {topic} {fault}"


def _faults(values: Mapping[str, str], wanted_s: int) -> Iterator[str]:
    kept_ms = int(values.get("retention.ms", _UNLIMITED))
    if _UNLIMITED < kept_ms < 1000 * wanted_s:
        yield (
            f"drops records after {kept_ms / 1000:g} s, and jobs may wait for {wanted_s} s "
            f"(kafka_retention_s): set retention.ms={1000 * wanted_s}"
        )
    kept_bytes = int(values.get("retention.bytes", _UNLIMITED))
    if kept_bytes > _UNLIMITED:
        yield (
            f"drops records of a partition above {kept_bytes} bytes, done or not: set "
            "retention.bytes=-1"
        )
    if "compact" in values.get("cleanup.policy", ""):
        yield "is compacted, which drops records without keys: set cleanup.policy=delete"
