"""Topics keep jobs for as long as they may wait, and one that does not is named."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import pytest
from arno.bus import BusSettings, make_admin, make_publisher, topic_name
from arno.cli.checks import Level, check_retention
from arno.vocabulary import Lane
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from support.builders import kafka_bus
from support.kafka_broker import KafkaBroker

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(kafka_broker: KafkaBroker, unique_prefix: str) -> BusSettings:
    return kafka_bus(kafka_broker, unique_prefix, partitions=1)


@pytest.fixture
def topic(settings: BusSettings) -> str:
    return topic_name(settings.topic_prefix, Lane.BATCH)


@pytest.fixture
def kafka(settings: BusSettings) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    yield client
    client.close()


def faults(settings: BusSettings) -> list[str]:
    with contextlib.closing(make_admin(settings)) as admin:
        return admin.retention_faults()


def test_topics_are_created_with_a_retention_of_their_own(
    settings: BusSettings, kafka: KafkaAdminClient, topic: str
) -> None:
    found = kafka.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    (config,) = (by_name[topic] for by_name in found.values())
    assert config["retention.ms"]["value"] == str(8 * 86_400_000)
    assert faults(settings) == []
    assert [finding.level for finding in check_retention(settings)] == [Level.OK]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("retention.ms=3600000", "drops records after 3600 s, and jobs may wait for 691200 s"),
        ("retention.bytes=1000000", "drops records of a partition above 1000000 bytes"),
        ("cleanup.policy=compact", "is compacted"),
    ],
)
async def test_topic_that_can_drop_jobs_is_named_by_gateways_and_the_doctor(
    settings: BusSettings,
    kafka: KafkaAdminClient,
    topic: str,
    config: str,
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    name, value = config.split("=")
    kafka.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {name: value})])
    (fault,) = faults(settings)
    assert fault.startswith(f"kafka: topic {topic} {said}")
    (finding,) = check_retention(settings)
    assert finding.level is Level.FAIL
    assert name in finding.advice
    publisher = make_publisher(settings)
    with caplog.at_level(logging.WARNING):
        await publisher.start()
    await publisher.close()
    assert fault in [record.getMessage() for record in caplog.records]
