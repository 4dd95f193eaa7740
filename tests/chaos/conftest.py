"""Settings of an installation of its own, on each bus in turn."""

from __future__ import annotations

import pytest
from arno.worker.settings import WorkerSettings
from support import builders
from support.kafka_broker import KafkaBroker
from support.redis_server import RedisServer

_CLAIM_TIMEOUT_S = 1.5


@pytest.fixture(params=["kafka", "redis"])
def settings(
    request: pytest.FixtureRequest, redis_server: RedisServer, unique_prefix: str
) -> WorkerSettings:
    where = {}
    if request.param == "kafka":
        broker: KafkaBroker = request.getfixturevalue("kafka_broker")
        where = {"kafka_bootstrap": broker.bootstrap, "partitions": 1}
    made = WorkerSettings(
        bus=request.param,
        redis_url=redis_server.url,
        topic_prefix=unique_prefix,
        group=unique_prefix,
        redis_key_prefix=unique_prefix,
        model="null",
        lanes=("interactive",),
        claim_timeout_s=_CLAIM_TIMEOUT_S,
        **where,
    )
    return builders.with_topics(made)
