"""A server whose disk takes no more: what it had acknowledged is there when it has room again.

A limit on the size of its files stands for the full disk: the next write past it fails.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from arno.bus import BusSettings, make_admin
from arno.vocabulary import Lane
from support.availability import require
from support.bus_load import BackgroundLoad
from support.eventually import eventually
from support.kafka_broker import WAYS_TO_GET_IT, KafkaBroker, kafka_available
from support.polled_consumer import PolledConsumer
from support.redis_server import WAYS_TO_GET_IT as REDIS_WAYS
from support.redis_server import RedisServer, redis_executables

_ROOM_BYTES = 20_000


class Server(Protocol):
    """What the test needs of a server: a process that can be limited, and started again."""

    @property
    def pid(self) -> int: ...
    @property
    def running(self) -> bool: ...
    def start(self) -> None: ...


@pytest.fixture
def kafka(tmp_path: Path, unique_prefix: str) -> Iterator[tuple[BusSettings, Server, Path]]:
    require(kafka_available(), WAYS_TO_GET_IT)
    broker = KafkaBroker(tmp_path / "broker")
    broker.start()
    settings = BusSettings(
        kafka_bootstrap=broker.bootstrap,
        topic_prefix=unique_prefix,
        group=unique_prefix,
        partitions=1,
    )
    log = f"{unique_prefix}.batch-0/00000000000000000000.log"
    yield settings, broker, broker.folder / "data" / log
    broker.stop()


def _redis(
    folder: Path, prefix: str, appendfsync: str
) -> Iterator[tuple[BusSettings, Server, Path]]:
    executables = redis_executables()
    require(executables, REDIS_WAYS)
    executable = next(iter(executables.values()))
    server = RedisServer(folder / "redis", executable, appendfsync=appendfsync)
    server.start()
    settings = BusSettings(bus="redis", redis_url=server.url, topic_prefix=prefix, group=prefix)
    yield settings, server, server.folder
    server.stop()


@pytest.fixture
def redis_that_syncs(
    tmp_path: Path, unique_prefix: str
) -> Iterator[tuple[BusSettings, Server, Path]]:
    """Ends itself when it cannot write."""
    yield from _redis(tmp_path, unique_prefix, "always")


@pytest.fixture
def redis_that_does_not_sync(
    tmp_path: Path, unique_prefix: str
) -> Iterator[tuple[BusSettings, Server, Path]]:
    """Refuses writes when it cannot write."""
    yield from _redis(tmp_path, unique_prefix, "everysec")


@pytest.mark.parametrize("bus", ["kafka", "redis_that_syncs", "redis_that_does_not_sync"])
def test_full_disk_takes_back_nothing_that_was_acknowledged(
    request: pytest.FixtureRequest, bus: str
) -> None:
    settings, server, data = request.getfixturevalue(bus)
    admin = make_admin(settings)
    admin.ensure_topics()
    admin.close()
    with PolledConsumer(settings, [Lane.BATCH]) as one, BackgroundLoad(settings) as load:
        eventually(lambda: len(one.deliveries) > 20)
        _limit(server, _largest(data) + _ROOM_BYTES)
        eventually(
            lambda: not server.running or load.refused_count > 0,
            timeout_s=90,
            what="the server gives up, or refuses",
        )
        accepted = len(load.acknowledged)
        if server.running:
            _limit(server, resource.RLIM_INFINITY)
        else:
            server.start()
        eventually(lambda: len(load.acknowledged) > accepted + 20, timeout_s=60)
        load.close()
        eventually(lambda: load.acknowledged <= set(one.values), timeout_s=60)


def _limit(server: Server, size_bytes: int) -> None:
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


def _largest(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return max(file.stat().st_size for file in files)
