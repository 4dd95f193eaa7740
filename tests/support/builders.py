"""Build what many tests need: settings of an installation of their own, regions, task specs."""

from __future__ import annotations

import time
import uuid
from typing import Any, TypeVar

from arno.api.v1 import types_pb2
from arno.bus import BusSettings, make_admin
from arno.bus.v1.records_pb2 import JobRecord
from arno.results.settings import ResultSettings
from arno.vocabulary import Box, Region
from support.kafka_broker import KafkaBroker
from support.redis_server import RedisServer

BusSettingsT = TypeVar("BusSettingsT", bound=BusSettings)


def kafka_bus(broker: KafkaBroker, prefix: str, **changes: Any) -> BusSettings:
    """Return settings of topics and of a group that only this test uses; the topics exist."""
    given = {"kafka_bootstrap": broker.bootstrap, "topic_prefix": prefix, "group": prefix}
    return with_topics(BusSettings(**{**given, **changes}))


def redis_bus(server: RedisServer, prefix: str, **changes: Any) -> BusSettings:
    """Return settings of streams and of a group that only this test uses; the streams exist."""
    given = {"bus": "redis", "redis_url": server.url, "topic_prefix": prefix, "group": prefix}
    return with_topics(BusSettings(**{**given, **changes}))


def with_topics(settings: BusSettingsT) -> BusSettingsT:
    """Create the topics of the settings, and return the settings."""
    admin = make_admin(settings)
    admin.ensure_topics()
    admin.close()
    return settings


def result_store(server: RedisServer, prefix: str, **changes: Any) -> ResultSettings:
    """Return settings of a result store whose keys only this test uses."""
    return ResultSettings(**{"redis_url": server.url, "redis_key_prefix": prefix, **changes})


def new_job(**changes: Any) -> JobRecord:
    """Return the record of a job with an id of its own and a minute until its deadline."""
    now_ms = time.time_ns() // 1_000_000
    given = {
        "id": uuid.uuid4().hex,
        "tenant": "acme",
        "lane": types_pb2.LANE_INTERACTIVE,
        "submitted_at_ms": now_ms,
        "deadline_at_ms": now_ms + 60_000,
    }
    return JobRecord(**{**given, **changes})


def box(label: str, *sides: float, score: float | None = 0.5) -> Region:
    """Return a region from x0, y0, x1, y1, in pixels."""
    x0, y0, x1, y1 = sides
    return Region(label, Box(x0, y0, x1, y1), score=score)


def wire_box(*sides: float) -> types_pb2.Box:
    """Return a box of the API from x0, y0, x1, y1, in pixels."""
    x0, y0, x1, y1 = sides
    return types_pb2.Box(x0=x0, y0=y0, x1=x1, y1=y1)


def wire_task(name: str, **fields: Any) -> types_pb2.TaskSpec:
    """Return a task of the API by its name, such as ``OD``."""
    return types_pb2.TaskSpec(task=types_pb2.Task.Value(f"TASK_{name}"), **fields)
