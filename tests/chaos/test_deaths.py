"""A healthy job among workers that come and go is answered; one at which they die is given up."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from arno.api.v1 import job_pb2
from arno.bus.v1.records_pb2 import DeadJob
from arno.worker.settings import WorkerSettings
from support import tied_process
from support.eventually import eventually
from support.job_client import JobClient, job_record
from support.polled_consumer import PolledConsumer
from support.workers import RunningWorker, start_child

pytestmark = pytest.mark.timeout(400)


def _begun(client: JobClient, job_id: str, count: int) -> None:
    eventually(
        lambda: client.look(job_id).attempt_count >= count, timeout_s=120, what=f"begun {count}x"
    )


def test_job_that_drain_after_drain_hands_back_is_answered(
    settings: WorkerSettings, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    hasty = settings.model_copy(update={"drain_s": 0.1})
    with JobClient(settings) as client:
        job_id = client.submit(job_record())
        for count in (1, 2, 3, 4, 5):
            with RunningWorker(hasty, gate) as running:
                _begun(client, job_id, count)
            assert not running.drained
        gate.unlink()
        with RunningWorker(settings, gate):
            outcome = client.outcome(job_id, timeout_s=60)
        assert outcome.state == job_pb2.JOB_STATE_SUCCEEDED
        assert client.look(job_id).attempt_count == 6


def test_job_that_workers_lose_to_one_another_while_they_live_is_answered(
    settings: WorkerSettings, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    with JobClient(settings) as client, PolledConsumer(settings, ["dead"]) as dead:
        job_id = client.submit(job_record())
        holder = start_child(settings, gate, tmp_path, "first")
        _begun(client, job_id, 1)
        other = start_child(settings, gate, tmp_path, "second")
        for count in (2, 3, 4, 5):
            # Out of the group, and back with its work in hand when others have it.
            holder.send_signal(signal.SIGSTOP)
            _begun(client, job_id, count)
            holder.send_signal(signal.SIGCONT)
            holder, other = other, holder
        gate.unlink()
        outcome = client.outcome(job_id, timeout_s=60)
        for child in (holder, other):
            tied_process.stop(child, timeout_s=30)
        assert outcome.state == job_pb2.JOB_STATE_SUCCEEDED
        assert dead.values == []


def test_job_whose_worker_is_killed_three_times_is_given_up_before_a_fourth(
    settings: WorkerSettings, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    with JobClient(settings) as client, PolledConsumer(settings, ["dead"]) as dead:
        job_id = client.submit(job_record())
        for count in (1, 2, 3):
            child = start_child(settings, gate, tmp_path, f"killed-{count}")
            _begun(client, job_id, count)
            tied_process.kill(child)
        gate.unlink()
        with RunningWorker(settings, gate):
            outcome = client.outcome(job_id, timeout_s=60)
            eventually(lambda: dead.values, what="the dead letter")
        assert (outcome.error.reason, outcome.error.metadata["death_count"]) == (
            "POISONED_JOB",
            "3",
        )
        assert client.look(job_id).attempt_count == 3
        letters = [DeadJob.FromString(value) for value in dead.values]
        assert [(one.job.id, one.attempt_count) for one in letters] == [(job_id, 3)]
