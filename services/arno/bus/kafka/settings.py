"""The settings of the Kafka clients, each with its reason; the rest are the client's defaults.

Identity and encryption are the same for all of them.
"""

from __future__ import annotations

import importlib.util
from typing import Any, Final

from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

from arno.bus.kafka.log_limit import limit_logs
from arno.bus.kafka.net_patches import LongReadsClient, PacedClient
from arno.bus.limits import HEADER_BYTES_MAX
from arno.bus.settings import BusSettings
from arno.errors import ConfigurationError, MissingExtraError
from arno.ops.masking import MASK
from arno.ops.secret_text import secret_text
from arno.ops.tls import client_context

DELIVERY_TIMEOUT_S = 30.0
"""How long the producer retries; above the 10 s that a cluster takes to replace a leader."""

REVOKE_WAIT_S = 3.0
"""How long a partition that is revoked waits for its unfinished records."""

FETCH_WAIT_MS: Final = 100
"""How long a broker keeps a fetch without records. One fetch is under way at a broker, and it asks
only for partitions whose records were all taken when it was sent: new records of the others wait
until it is over. With the default of 500 ms these were the slowest hundredth of the jobs of a busy
worker."""

METADATA_AGE_MAX_MS: Final = 30_000
"""How long clients do not ask which partitions a topic has: added ones are found within this."""

COMMIT_INTERVAL_S = 0.2
COMMIT_TIMEOUT_S = 5.0

_BATCH_BYTES: Final = 1024**2
"""Several records with an image each; a larger record has a batch of its own."""

_FRAMING_BYTES: Final = 4096
_CONNECT_TIMEOUT_MS: Final = 10_000

_ENCRYPTED: Final = frozenset({"SSL", "SASL_SSL"})
_WITH_USER: Final = frozenset({"SASL_SSL", "SASL_PLAINTEXT"})


def record_bytes_max_framed(settings: BusSettings) -> int:
    """Return the largest batch of one record: value, headers and Kafka's framing."""
    return settings.record_bytes_max + HEADER_BYTES_MAX + _FRAMING_BYTES


def require_crc32c() -> None:
    """Refuse to run without the C checksum.

    The client falls back to one in Python, which is 20 times slower on records of 100 kB.

    Raises:
        MissingExtraError: It is not installed.
    """
    if importlib.util.find_spec("crc32c") is None:
        raise MissingExtraError(
            "kafka: the crc32c package is missing: pip install 'arno[server]'", extra="server"
        )


def _connection(settings: BusSettings) -> dict[str, Any]:
    limit_logs()
    return {
        "bootstrap_servers": [host.strip() for host in settings.kafka_bootstrap.split(",")],
        "bootstrap_timeout_ms": _CONNECT_TIMEOUT_MS,
        # The default of 30 s leaves a client asleep long after its broker is back.
        "reconnect_backoff_max_ms": 1000,
        **_security(settings),
    }


def producer_config(settings: BusSettings) -> dict[str, Any]:
    """Return the producer's settings: every replica has the record before it counts as sent."""
    return {
        **_connection(settings),
        "client_id": "arno-publisher",
        "kafka_client": PacedClient,
        # Arno has metrics of its own; the client's take a tenth of the CPU time of a record.
        "metrics_enabled": False,
        "acks": "all",
        # An idempotent producer of kafka-python 3.0.12 never sends again once a batch has expired
        # on a retry: docs/decisions/0003-producer-without-idempotence.md.
        "enable_idempotence": False,
        # A lone record is sent at once. Under load, records that arrive while a request is under
        # way make up the next one: a fifth more jobs/s than with five requests at once.
        "linger_ms": 0,
        "max_in_flight_requests_per_connection": 1,
        "batch_size": min(_BATCH_BYTES, settings.record_bytes_max),
        # JPEG and PNG do not compress.
        "compression_type": None,
        "max_request_size": record_bytes_max_framed(settings),
        "delivery_timeout_ms": int(DELIVERY_TIMEOUT_S * 1000),
        "request_timeout_ms": 5000,
        # Partitions that are added get records within this time.
        "metadata_max_age_ms": METADATA_AGE_MAX_MS,
        # Bounds what send() may block the event loop, should a topic vanish while we run.
        "max_block_ms": 2000,
        "allow_auto_create_topics": False,
    }


def consumer_config(settings: BusSettings) -> dict[str, Any]:
    """Return the consumer's settings: only the ledger's positions are committed."""
    largest_bytes = record_bytes_max_framed(settings)
    # Kafka's session is what the claim timeout is on Redis: silence means dead.
    session_ms = max(1000, int(settings.claim_timeout_s * 1000))
    return {
        **_connection(settings),
        "client_id": "arno-consumer",
        "kafka_client": LongReadsClient,
        "metrics_enabled": False,
        "group_id": settings.group,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        # Partitions that stay are not taken away while others move.
        "partition_assignment_strategy": [CooperativeStickyAssignor],
        "session_timeout_ms": session_ms,
        # A rebalance is noticed with a heartbeat; the default of 3 s stalls every member for 3 s.
        "heartbeat_interval_ms": min(1000, session_ms // 4),
        "max_poll_interval_ms": max(60_000, session_ms),
        # A connection that the network has dropped silently is noticed after this, not after 30 s.
        "request_timeout_ms": 10_000,
        "fetch_max_wait_ms": FETCH_WAIT_MS,
        "max_partition_fetch_bytes": largest_bytes,
        "fetch_max_bytes": 2 * largest_bytes,
        # Partitions that are added for more workers get their first worker within this time.
        "metadata_max_age_ms": METADATA_AGE_MAX_MS,
        # No static membership: the partitions of a pod that the autoscaler removes must move at
        # once.
        "allow_auto_create_topics": False,
    }


def reader_config(settings: BusSettings) -> dict[str, Any]:
    """Return the settings of a reader without a group."""
    largest_bytes = record_bytes_max_framed(settings)
    return {
        **_connection(settings),
        "client_id": "arno-reader",
        "kafka_client": LongReadsClient,
        "group_id": None,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "max_partition_fetch_bytes": largest_bytes,
        "fetch_max_bytes": 2 * largest_bytes,
        "allow_auto_create_topics": False,
    }


def admin_config(settings: BusSettings) -> dict[str, Any]:
    """Return the admin client's settings."""
    return {**_connection(settings), "client_id": "arno-admin", "request_timeout_ms": 5000}


def topic_config(settings: BusSettings) -> dict[str, str]:
    """Return what a topic of Arno is created with."""
    config = {
        "max.message.bytes": str(record_bytes_max_framed(settings)),
        # A record's age is counted on the broker's clock, not on each gateway's.
        "message.timestamp.type": "LogAppendTime",
        # A broker's own defaults may be shorter, and drop jobs that were accepted and wait.
        "cleanup.policy": "delete",
        "retention.ms": str(1000 * settings.kafka_retention_s),
        "retention.bytes": "-1",
    }
    if settings.replication >= 3:
        # A record is acknowledged when a second broker has it; one broker may be away.
        config["min.insync.replicas"] = str(settings.replication - 1)
    return config


def _security(settings: BusSettings) -> dict[str, Any]:
    protocol = settings.kafka_security_protocol
    return {
        "security_protocol": protocol,
        **_encryption(settings, encrypted=protocol in _ENCRYPTED),
        **_identity(settings, with_user=protocol in _WITH_USER),
    }


def _encryption(settings: BusSettings, *, encrypted: bool) -> dict[str, Any]:
    files = (settings.kafka_ca, settings.kafka_client_cert, settings.kafka_client_key)
    if encrypted:
        return {"ssl_context": client_context(*files, prefix="kafka")}
    if any(files):
        raise ConfigurationError(
            "kafka_ca, kafka_client_*: need kafka_security_protocol SSL or SASL_SSL"
        )
    return {}


def _identity(settings: BusSettings, *, with_user: bool) -> dict[str, Any]:
    password = secret_text(
        settings.kafka_password, settings.kafka_password_file, name="kafka_password"
    )
    if with_user and not (settings.kafka_username and password):
        raise ConfigurationError(
            f"kafka_username, kafka_password: {settings.kafka_security_protocol} needs both"
        )
    if not with_user:
        if settings.kafka_username or password:
            raise ConfigurationError("kafka_username, kafka_password: need a SASL protocol")
        return {}
    return {
        "sasl_mechanism": settings.kafka_sasl_mechanism,
        "sasl_plain_username": settings.kafka_username,
        "sasl_plain_password": _Hidden(password),
    }


class _Hidden(str):
    """A password that does not show where the client logs its settings, as it does at DEBUG."""

    __slots__ = ()

    def __repr__(self) -> str:
        return MASK
