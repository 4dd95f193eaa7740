"""The rules of delivery, and the proof that a test finds each one broken.

Every test here runs twice: with the product as it is, where the rule holds, and with the rule
broken on purpose (``mutations.py``), where the same question must have the other answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from arno.api.v1 import job_pb2
from arno.bus.v1.records_pb2 import JobOutcome, JobRecord
from arno.results.gateway_store import GatewayStore
from arno.results.settings import ResultSettings
from arno.results.worker_store import WorkerStore
from arno.vocabulary import JobState
from arno.worker.settings import WorkerSettings
from chaos.mutations import COMMIT_BEFORE_STORE, NO_FENCING, NONE, WAKE_UPS_ONLY, apply
from support import tied_process
from support.builders import new_job
from support.eventually import eventually, eventually_async
from support.job_client import JobClient, job_record
from support.redis_server import RedisServer
from support.tcp_proxy import TcpProxy

_TESTS = Path(__file__).parents[1]
_FORGOTTEN_S = 1.0
_TAKEN_OVER_S = 5.0
_DROPPED = "this end is dropped"

pytestmark = pytest.mark.slow

StartWorker = Callable[[str, Path], subprocess.Popen[bytes]]


@pytest.fixture
def start_worker(settings: WorkerSettings, tmp_path: Path, mutation: str) -> Iterator[StartWorker]:
    children: list[subprocess.Popen[bytes]] = []
    file = tmp_path / "worker.json"
    file.write_text(settings.model_dump_json())
    paths = [str(_TESTS), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}

    def start(name: str, gate: Path) -> subprocess.Popen[bytes]:
        child = tied_process.start_tied(
            [sys.executable, "-m", "chaos.mutations", mutation, file, gate],
            log=tmp_path / f"{name}.log",
            environment=environment,
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.send_signal(signal.SIGCONT)
        tied_process.stop(child, timeout_s=15)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("mutation", [NONE, COMMIT_BEFORE_STORE])
def test_record_is_done_only_when_its_result_is_stored(
    settings: WorkerSettings, start_worker: StartWorker, tmp_path: Path, mutation: str
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    with JobClient(settings) as client:
        first = start_worker("first", gate)
        ids = client.submit_all([job_record() for _ in range(5)])
        eventually(lambda: all(_begun(client, job_id) for job_id in ids), timeout_s=60)
        # A bus that was told too early forgets within a moment, so a moment has to pass.
        asyncio.run(asyncio.sleep(_FORGOTTEN_S))
        tied_process.kill(first)
        gate.unlink()
        start_worker("second", gate)
        client.outcome(client.submit(job_record()), timeout_s=60)
        lost = _never_ended(client, ids)
    assert lost == (set() if mutation == NONE else set(ids))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("mutation", [NONE, NO_FENCING])
def test_end_of_an_older_attempt_changes_nothing(
    settings: WorkerSettings, start_worker: StartWorker, tmp_path: Path, mutation: str
) -> None:
    gate, open_gate, slow_log = (tmp_path / name for name in ("gate", "no-gate", "slow.log"))
    gate.touch()
    with JobClient(settings) as client:
        slow = start_worker("slow", gate)
        job_id = client.submit(job_record())
        eventually(lambda: _begun(client, job_id), timeout_s=60, what="the slow worker has it")
        slow.send_signal(signal.SIGSTOP)
        start_worker("quick", open_gate)
        first = client.outcome(job_id, timeout_s=60)
        gate.unlink()
        slow.send_signal(signal.SIGCONT)
        eventually(
            lambda: _DROPPED in slow_log.read_text() or client.look(job_id).outcome != first,
            timeout_s=60,
            what="the slow worker has brought its end",
        )
        second = client.look(job_id).outcome
    assert (first == second) == (mutation == NONE)


@pytest.mark.parametrize("mutation", [NONE, WAKE_UPS_ONLY])
async def test_end_that_comes_while_the_gateway_is_cut_off_is_seen(
    redis_server: RedisServer,
    unique_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    mutation: str,
) -> None:
    apply(mutation, monkeypatch)
    direct = ResultSettings(redis_url=redis_server.url, redis_key_prefix=unique_prefix)
    writer = WorkerStore(direct)
    async with TcpProxy(redis_server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        store = GatewayStore(direct.model_copy(update={"redis_url": url}), gateway="g1")
        await store.start()
        record = new_job()
        await store.claim(record, waited_for=True)
        waiting = asyncio.create_task(store.wait(record.id, timeout_s=8))
        await eventually_async(
            lambda: asyncio.to_thread(_watched, redis_server, unique_prefix, record)
        )
        proxy.refusing = True
        proxy.cut()
        attempt = await asyncio.to_thread(writer.begin, record)
        done = JobOutcome(state=job_pb2.JOB_STATE_SUCCEEDED, ended_at_ms=1)
        assert await asyncio.to_thread(writer.finish, attempt, done)
        proxy.refusing = False
        (end,) = await asyncio.gather(waiting, return_exceptions=True)
        await store.close()
    writer.close()
    seen = not isinstance(end, BaseException) and end.state is JobState.SUCCEEDED
    assert seen == (mutation == NONE), end


def _begun(client: JobClient, job_id: str) -> bool:
    return client.look(job_id).attempt_count > 0


def _never_ended(client: JobClient, job_ids: list[str]) -> set[str]:
    """Return the jobs that have no end, long after they should have been taken over."""
    left = set(job_ids)

    def all_ended() -> bool:
        left.difference_update([job_id for job_id in left if client.look(job_id).outcome])
        return not left

    with contextlib.suppress(AssertionError):
        eventually(all_ended, timeout_s=_TAKEN_OVER_S, interval_s=0.1)
    return left


def _watched(server: RedisServer, prefix: str, record: JobRecord) -> bool:
    with redis.Redis.from_url(server.url) as client:
        return bool(client.exists(f"{prefix}:watchers:{record.id}"))
