"""Settings of the bus, the same for the processes that publish and those that consume."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from arno.ops.config import Settings


class BusSettings(Settings):
    """Which bus, where it is, and the bounds that both of its ends must agree on."""

    bus: Literal["kafka", "redis"] = Field(
        "kafka", description="kafka, or redis: Redis Streams, for one machine."
    )
    kafka_bootstrap: str = Field(
        "127.0.0.1:9092", description="Kafka brokers to begin with: HOST:PORT, comma-separated."
    )
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        description="Redis server that holds results, and the streams when bus is redis.",
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
    replication: int = Field(
        1, ge=1, le=10, description="Copies of a topic that Arno creates; 3 in production."
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
