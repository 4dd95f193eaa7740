"""Real worker processes, and what the signals of an operator or of a crash do to their jobs."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from arno.api.v1 import job_pb2
from arno.bus.v1.records_pb2 import DeadJob
from arno.vocabulary import JobState
from arno.worker.settings import WorkerSettings
from support import tied_process
from support.builders import wire_task
from support.eventually import eventually
from support.gated_engine import KILLING_PROMPT
from support.job_client import JobClient, job_record
from support.polled_consumer import PolledConsumer
from support.workers import start_child

# A process takes some seconds of CPU to start, and a busy machine has few to give.
pytestmark = pytest.mark.timeout(240)

StartWorker = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def start_worker(
    worker_settings: WorkerSettings, gate: Path, tmp_path: Path
) -> Iterator[StartWorker]:
    children: list[subprocess.Popen[bytes]] = []

    def start(name: str) -> subprocess.Popen[bytes]:
        children.append(start_child(worker_settings, gate, tmp_path, name))
        return children[-1]

    yield start
    for child in children:
        tied_process.stop(child, timeout_s=15)


def _log(folder: Path, name: str) -> list[dict[str, object]]:
    lines = (folder / f"{name}.log").read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def test_killed_workers_job_is_finished_by_another_with_one_visible_outcome(
    start_worker: StartWorker, client: JobClient, gate: Path
) -> None:
    gate.touch()
    first = start_worker("first")
    ids = client.submit_all([job_record() for _ in range(5)])
    eventually(lambda: all(client.look(i).state is JobState.ENCODING for i in ids), timeout_s=60)
    tied_process.kill(first)
    gate.unlink()
    start_worker("second")
    outcomes = [client.outcome(job_id, timeout_s=60) for job_id in ids]
    assert {outcome.state for outcome in outcomes} == {job_pb2.JOB_STATE_SUCCEEDED}
    assert {client.look(job_id).attempt_count for job_id in ids} == {2}


def test_job_that_kills_its_worker_is_given_up_and_its_neighbours_are_not(
    client: JobClient, gate: Path, worker_settings: WorkerSettings, tmp_path: Path
) -> None:
    gate.touch()
    settings = worker_settings.model_copy(update={"attempts_max": 2})
    neighbours = client.submit_all([job_record() for _ in range(6)])
    poison = client.submit(job_record(wire_task("PROMPT", id="0", text=KILLING_PROMPT)))
    neighbours += client.submit_all([job_record() for _ in range(6)])
    with PolledConsumer(settings, ["dead"]) as dead:
        assert start_child(settings, gate, tmp_path, "first").wait(60) == -signal.SIGKILL
        # A last attempt runs alone, so the others must be able to end before it.
        gate.unlink()
        assert start_child(settings, gate, tmp_path, "second").wait(60) == -signal.SIGKILL
        survivor = start_child(settings, gate, tmp_path, "survivor")
        outcome = client.outcome(poison, timeout_s=60)
        states = {client.outcome(job_id, timeout_s=60).state for job_id in neighbours}
        eventually(lambda: dead.values, what="the dead letter")
        tied_process.stop(survivor, timeout_s=15)
    assert states == {job_pb2.JOB_STATE_SUCCEEDED}
    assert outcome.state == job_pb2.JOB_STATE_FAILED
    assert outcome.error.reason == "POISONED_JOB"
    dead_jobs = [DeadJob.FromString(value) for value in dead.values]
    assert [(dead_job.job.id, dead_job.attempt_count) for dead_job in dead_jobs] == [(poison, 2)]


def test_sigterm_under_load_finishes_what_is_in_hand_and_nothing_is_delivered_again(
    start_worker: StartWorker,
    client: JobClient,
    gate: Path,
    worker_settings: WorkerSettings,
    tmp_path: Path,
) -> None:
    gate.touch()
    child = start_worker("leaving")
    ids = client.submit_all([job_record() for _ in range(150)])
    window = worker_settings.window
    eventually(
        lambda: sum(client.look(i).state is JobState.ENCODING for i in ids) == window,
        timeout_s=60,
        what="the window is full",
    )
    child.send_signal(signal.SIGTERM)
    eventually(lambda: any("drains" in str(e["message"]) for e in _log(tmp_path, "leaving")))
    gate.unlink()
    assert child.wait(60) == 0
    ended = [job_id for job_id in ids if client.look(job_id).outcome is not None]
    assert len(ended) == window
    start_worker("next")
    states = {client.outcome(job_id, timeout_s=60).state for job_id in ids}
    assert states == {job_pb2.JOB_STATE_SUCCEEDED}
    assert {client.look(job_id).attempt_count for job_id in ids} == {1}


def test_drain_that_takes_too_long_hands_the_work_back(
    start_worker: StartWorker,
    client: JobClient,
    gate: Path,
    worker_settings: WorkerSettings,
    tmp_path: Path,
) -> None:
    gate.touch()
    hasty = worker_settings.model_copy(update={"drain_s": 0.3})
    child = start_child(hasty, gate, tmp_path, "hasty")
    job_id = client.submit(job_record())
    eventually(lambda: client.look(job_id).state is JobState.ENCODING, timeout_s=60)
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 0
    assert client.look(job_id).outcome is None
    gate.unlink()
    start_worker("next")
    assert client.outcome(job_id, timeout_s=60).state == job_pb2.JOB_STATE_SUCCEEDED


def test_second_signal_ends_the_process_at_once(
    start_worker: StartWorker, client: JobClient, gate: Path, tmp_path: Path
) -> None:
    gate.touch()
    child = start_worker("stubborn")
    job_id = client.submit(job_record())
    eventually(lambda: client.look(job_id).state is JobState.ENCODING, timeout_s=60)
    child.send_signal(signal.SIGTERM)
    eventually(lambda: any("drains" in str(e["message"]) for e in _log(tmp_path, "stubborn")))
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == 128 + signal.SIGTERM


def test_log_lines_of_a_job_carry_its_id_and_the_clients_trace(
    start_worker: StartWorker, client: JobClient, tmp_path: Path
) -> None:
    start_worker("logging")
    record = job_record()
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01".encode()}
    client.submit(record, headers=headers)
    client.outcome(record.id, timeout_s=60)
    client.publish(record.SerializeToString(), headers=headers)
    line = eventually(
        lambda: next((e for e in _log(tmp_path, "logging") if "job_id" in e), None),
        what="a line about the repeated job",
    )
    assert line["job_id"] == record.id
    assert line["trace_id"] == trace_id
