"""Settings of the bus, the same for the processes that publish and those that consume."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr

from arno.ops.config import Settings
from arno.ops.redis_access import RedisAccessSettings


class KafkaAccessSettings(Settings):
    """Identity and encryption towards Kafka."""

    help_section = "Kafka"

    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="SSL encrypts, SASL names a user; as Kafka's own setting."
    )
    kafka_sasl_mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = Field(
        "SCRAM-SHA-512", description="How the user is proven with a SASL protocol."
    )
    kafka_username: str = Field("", description="User of Kafka with a SASL protocol.")
    kafka_password: SecretStr | None = Field(None, description="That user's password.")
    kafka_password_file: Path | None = Field(
        None,
        description="File with that user's password; ARNO_KAFKA_PASSWORD may hold it itself.",
    )
    kafka_ca: Path | None = Field(
        None, description="PEM file of authorities to trust; default: the system's."
    )
    kafka_client_cert: Path | None = Field(
        None, description="PEM file of our certificate, where Kafka asks for one."
    )
    kafka_client_key: Path | None = Field(None, description="PEM file of its key.")


class KafkaClientSettings(KafkaAccessSettings):
    """What a process needs that uses Kafka for its users' topics, not as Arno's bus."""

    help_section = "Kafka"

    kafka_bootstrap: str = Field(
        "127.0.0.1:9092", description="Kafka brokers to begin with: HOST:PORT, comma-separated."
    )

    def kafka(self, **changes: Any) -> BusSettings:
        """Return what the clients of Kafka take, with these changes."""
        shared = {name: getattr(self, name) for name in KafkaClientSettings.model_fields}
        return BusSettings(**{**shared, **changes})


class BusSettings(KafkaClientSettings, RedisAccessSettings):
    """Which bus, where it is, and the bounds that both of its ends must agree on."""

    help_section = "Bus"

    bus: Literal["kafka", "redis"] = Field(
        "kafka", description="kafka, or redis: Redis Streams, for one machine."
    )
    topic_prefix: str = Field(
        "arno.jobs",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="First part of the names of topics; the lane follows after a dot.",
    )
    group: str = Field(
        "arno-workers", min_length=1, description="Consumer group that the workers share."
    )
    partitions: int = Field(
        12,
        ge=1,
        le=10_000,
        description="Partitions of a topic that Arno creates: the most workers that share a lane.",
    )
    tenant_partition_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Part of a topic's partitions that one tenant's jobs keep to, where there are "
        "API keys; the rest is free of its floods.",
    )
    replication: int = Field(
        1, ge=1, le=10, description="Copies of a topic that Arno creates; 3 in production."
    )
    kafka_retention_s: int = Field(
        8 * 86_400,
        ge=3600,
        description="How long topics of Kafka keep a record, done or not, in seconds: longer than "
        "any job may take. Arno creates its topics so, and warns of those that keep less.",
    )
    record_bytes_max: int = Field(
        8 * 1024 * 1024,
        ge=1024,
        le=256 * 1024 * 1024,
        description="Largest value of a record, in bytes; producer, topic and consumer follow it.",
    )
    publish_buffer_bytes_max: int = Field(
        256 * 1024 * 1024,
        ge=1024 * 1024,
        description="Bytes that a publisher keeps for a bus that is away, before it refuses more.",
    )
    window: int = Field(
        64, ge=1, le=100_000, description="Records that a consumer holds unfinished at most."
    )
    claim_timeout_s: float = Field(
        15.0,
        ge=0.1,
        description="Silence after which a worker counts as dead and its records go to others.",
    )
