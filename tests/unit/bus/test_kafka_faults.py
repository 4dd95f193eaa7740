"""Every fault of the Kafka client has a meaning for Arno's callers."""

from __future__ import annotations

import importlib.util
import inspect

import pytest
from arno.bus import BusSettings
from arno.bus.kafka import faults
from arno.bus.kafka.settings import consumer_config, producer_config, require_crc32c, topic_config
from arno.errors import (
    ArnoError,
    BackendUnavailableError,
    ConfigurationError,
    LimitExceededError,
    MissingExtraError,
)
from kafka import errors

ROOTS = {errors.KafkaError, errors.BrokerResponseError}
FAULTS = [
    fault
    for fault in vars(errors).values()
    if inspect.isclass(fault) and issubclass(fault, errors.KafkaError) and fault not in ROOTS
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_fault_of_the_client_is_named(fault: type[errors.KafkaError]) -> None:
    named = faults.TOO_LARGE | faults.MISCONFIGURED | faults.UNAVAILABLE
    assert any(ancestor.__name__ in named for ancestor in fault.__mro__)


def test_named_faults_exist_and_are_named_once() -> None:
    sets = [faults.TOO_LARGE, faults.MISCONFIGURED, faults.UNAVAILABLE]
    assert all(hasattr(errors, name) for names in sets for name in names)
    assert sum(map(len, sets)) == len(frozenset.union(*sets))


@pytest.mark.parametrize(
    ("fault", "meaning"),
    [
        (errors.MessageSizeTooLargeError("9 MB"), LimitExceededError),
        (errors.TopicAuthorizationFailedError("t"), ConfigurationError),
        (errors.SaslAuthenticationFailedError("no"), ConfigurationError),
        (errors.KafkaTimeoutError("late"), BackendUnavailableError),
        (errors.NotLeaderForPartitionError("moved"), BackendUnavailableError),
        (errors.KafkaError("from a newer client"), BackendUnavailableError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_fault_is_translated(fault: errors.KafkaError, meaning: type[ArnoError]) -> None:
    assert type(faults.translate(fault)) is meaning


def test_kafka_without_the_c_checksum_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    require_crc32c()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="crc32c"):
        require_crc32c()


def test_producer_topic_and_consumer_agree_on_the_largest_record() -> None:
    settings = BusSettings(record_bytes_max=5_000_000)
    largest = producer_config(settings)["max_request_size"]
    assert largest > settings.record_bytes_max
    assert topic_config(settings)["max.message.bytes"] == str(largest)
    assert consumer_config(settings)["max_partition_fetch_bytes"] == largest


@pytest.mark.parametrize(("replication", "in_sync"), [(1, None), (2, None), (3, "2"), (5, "4")])
def test_three_copies_bear_the_loss_of_one(replication: int, in_sync: str | None) -> None:
    config = topic_config(BusSettings(replication=replication))
    assert config.get("min.insync.replicas") == in_sync
