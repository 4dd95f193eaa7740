from collections.abc import Iterator
from pathlib import Path

import pytest
from arno.bus import make_admin
from arno.worker.settings import WorkerSettings
from support.job_client import JobClient
from support.redis_server import RedisServer
from support.workers import RunningWorker


@pytest.fixture
def worker_settings(own_redis_server: RedisServer, unique_prefix: str) -> WorkerSettings:
    settings = WorkerSettings(
        bus="redis",
        redis_url=own_redis_server.url,
        topic_prefix=unique_prefix,
        redis_key_prefix=unique_prefix,
        model="null",
        lanes=("interactive",),
        claim_timeout_s=1.0,
        cancel_poll_s=0.05,
        drain_s=10.0,
    )
    admin = make_admin(settings)
    admin.ensure_topics()
    admin.close()
    return settings


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """While this file exists, the engine holds everything back."""
    return tmp_path / "gate"


@pytest.fixture
def client(worker_settings: WorkerSettings) -> Iterator[JobClient]:
    with JobClient(worker_settings) as client:
        yield client


@pytest.fixture
def running(worker_settings: WorkerSettings, gate: Path) -> Iterator[RunningWorker]:
    with RunningWorker(worker_settings, gate) as running:
        yield running
        running.leave()
        assert running.failure is None
