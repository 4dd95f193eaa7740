"""Address of the result store, and how long it keeps jobs and images."""

from __future__ import annotations

from pydantic import Field

from arno.ops.redis_access import RedisAccessSettings


class ResultSettings(RedisAccessSettings):
    """Settings of every process that reads or writes results."""

    help_section = "Redis"

    redis_key_prefix: str = Field(
        "arno",
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="First part of every key, so that several installations can share a Redis.",
    )
    redis_connect_timeout_s: float = Field(
        2.0, gt=0, le=60, description="How long connecting to Redis may take, in seconds."
    )
    redis_timeout_s: float = Field(
        5.0, ge=1.5, le=60, description="How long Redis may take to answer, in seconds."
    )
    redis_connection_count_max: int = Field(
        16,
        ge=1,
        le=1024,
        description="Most connections of one process; callers beyond it wait for a free one.",
    )
    result_time_to_live_s: int = Field(
        86_400,
        ge=60,
        le=30 * 86_400,
        description="How long a job and its results are kept after its deadline, in seconds.",
    )
    blob_time_to_live_s: int = Field(
        3_600,
        ge=60,
        le=30 * 86_400,
        description="How long a large image is kept after its job's deadline, in seconds.",
    )
