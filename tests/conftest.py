"""Fixtures that every kind of test shares: real servers, and names that no other test uses."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import pytest_randomly
import pytest_timeout
from hypothesis import settings
from support import kafka_broker as kafka_support
from support.availability import require
from support.eventually import Patience
from support.kafka_broker import KafkaBroker
from support.redis_server import WAYS_TO_GET_IT, RedisServer, redis_executables
from support.warm_arno import WarmArno

# Suites assert too; they deserve the same messages as test modules.
pytest.register_assert_rewrite("contract")

# Many container images set PYTHONDONTWRITEBYTECODE. The suite starts hundreds of interpreters; to
# compile torch and transformers takes each of them 9 of 14 CPU seconds.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A busy machine is not a bug in the code under test, so no example has a deadline of its own.
settings.register_profile("arno", deadline=None)
settings.load_profile("arno")


def _seed_torch(seed: int) -> None:
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


# pytest-randomly seeds `random` and numpy for each test, and asks installed packages for more. One
# of them, spaCy's thinc, would import torch into every process of the suite only to seed it.
pytest_randomly.entrypoint_reseeds = [_seed_torch]


_SHARED = ("web_up", "warm_arno")
"""Fixtures of a whole run that take seconds of a core to start."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put first the files that share what takes long to start, then those that take long.

    So few processes of a run start it, and no long test begins when the others have ended.
    """
    places: dict[Path, int] = {}
    for item in items:
        places[item.path] = min(places.get(item.path, len(_SHARED) + 1), _place(item))
    items.sort(key=lambda item: places[item.path])


def _place(item: pytest.Item) -> int:
    for place, name in enumerate(_SHARED):
        if name in getattr(item, "fixturenames", ()):
            return place
    return len(_SHARED) + (item.get_closest_marker("slow") is None)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Keep what was imported out of garbage collections, of which it is a tenth of a run's time."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Give it back, so that extension modules find no object of theirs left at the end."""
    gc.unfreeze()


_LOOK_AT_LOAD_S = 10.0


def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool | None:
    """Count the time limit of a test in seconds of a machine with a free core."""
    if settings.method != "signal" or threading.current_thread() is not threading.main_thread():
        # pytest-timeout's own timer.
        return None
    patience = Patience(settings.timeout)

    def wait_on() -> None:
        signal.setitimer(signal.ITIMER_REAL, min(_LOOK_AT_LOAD_S, patience.left_s))

    def ring(number: int, frame: FrameType | None) -> None:
        __tracebackhide__ = True
        if patience.spend():
            wait_on()
        else:
            pytest_timeout.timeout_sigalrm(item, settings)

    def cancel() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    item.cancel_timeout = cancel  # type: ignore[attr-defined]  # what pytest-timeout calls
    signal.signal(signal.SIGALRM, ring)
    wait_on()
    return True


@pytest.fixture(scope="module", autouse=True)
def _no_kafka_client_left_open() -> Iterator[None]:
    """Fail a file that leaves a Kafka client open: its thread would disturb the files after it."""
    yield
    left = [one.name for one in threading.enumerate() if one.name.startswith("kafka-io-")]
    assert not left, f"Kafka clients that no test closed: {left}"


@pytest.fixture
def unique_prefix() -> str:
    """A name for topics, streams and keys that no other test has used."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def _redis_of_this_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    executables = redis_executables()
    require(executables, WAYS_TO_GET_IT)
    server = RedisServer(tmp_path_factory.mktemp("redis"), next(iter(executables.values())))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_server(_redis_of_this_worker: RedisServer) -> RedisServer:
    """A running redis-server of this xdist worker; a test may kill it, the next revives it."""
    _redis_of_this_worker.start()
    return _redis_of_this_worker


@pytest.fixture
def own_redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A running, empty redis-server for this test alone."""
    executables = redis_executables()
    require(executables, WAYS_TO_GET_IT)
    server = RedisServer(tmp_path / "redis", next(iter(executables.values())))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def _kafka_of_this_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    require(kafka_support.kafka_available(), kafka_support.WAYS_TO_GET_IT)
    broker = KafkaBroker(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def kafka_broker(_kafka_of_this_worker: KafkaBroker) -> KafkaBroker:
    """A running broker of this xdist worker; a test may kill it, the next revives it."""
    _kafka_of_this_worker.start()
    return _kafka_of_this_worker


@pytest.fixture(scope="session")
def warm_arno() -> Iterator[WarmArno]:
    """`arno` commands that need torch, each in a process that need not import it again."""
    warm = WarmArno()
    yield warm
    warm.close()
