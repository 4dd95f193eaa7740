"""An image that kills its worker: its way to the dead letters, and back."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from arno.api.v1 import job_pb2
from arno.bus import DEAD_LETTERS, Record
from arno.bus.v1.records_pb2 import DeadJob
from arno.cli.main import root
from arno.worker.settings import WorkerSettings
from click.testing import CliRunner
from support import tied_process
from support.arno_up import Said, arno, start_arno
from support.builders import wire_task
from support.bus_load import publish_all
from support.eventually import eventually
from support.gated_engine import KILLING_PROMPT
from support.images import png
from support.job_client import JobClient, job_record
from support.workers import start_child

pytestmark = [pytest.mark.timeout(400), pytest.mark.slow]

# What differs between the buses is in the contract suite; the rest need not run twice.
one_bus = pytest.mark.parametrize("settings", ["redis"], indirect=True)


@pytest.fixture
def flags(settings: WorkerSettings) -> list[str]:
    """Say to a verb where the installation is."""
    names = ("bus", "kafka_bootstrap", "redis_url", "topic_prefix", "redis_key_prefix", "group")
    return [
        word
        for name in names
        for word in (f"--{name.replace('_', '-')}", str(getattr(settings, name)))
    ]


def dead(*words: str | Path) -> Said:
    """Run the verb, in this process: an interpreter for each time would show nothing more."""
    done = CliRunner().invoke(root, ["dead", *map(str, words)], standalone_mode=False)
    assert done.exception is None, done.stderr
    assert not done.return_value, done.stderr
    return Said(0, done.stdout, done.stderr)


def _listed(flags: list[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in dead("list", "--json", *flags).out.splitlines()]


def test_image_that_kills_its_worker_three_times_is_given_up_shown_replayed_and_purged(
    settings: WorkerSettings, tmp_path: Path, flags: list[str]
) -> None:
    gate, shown = tmp_path / "gate", tmp_path / "poison.png"
    gate.touch()
    with JobClient(settings) as client:
        neighbours = client.submit_all([job_record() for _ in range(5)])
        record = job_record(wire_task("PROMPT", id="0", text=KILLING_PROMPT), image=png(33, 21))
        poison = client.submit(record)
        neighbours += client.submit_all([job_record() for _ in range(5)])
        for name in ("first", "second", "third"):
            killed = start_child(settings, gate, tmp_path, name)
            assert killed.wait(120) == -signal.SIGKILL
            # A last attempt runs alone, so the others must be able to end before it.
            gate.unlink(missing_ok=True)
        survivor = start_child(settings, gate, tmp_path, "survivor")
        outcome = client.outcome(poison, timeout_s=120)
        states = {client.outcome(job_id, timeout_s=60).state for job_id in neighbours}
        tied_process.stop(survivor, timeout_s=15)
        assert states == {job_pb2.JOB_STATE_SUCCEEDED}
        assert (outcome.error.reason, outcome.error.metadata["attempt_count"]) == (
            "POISONED_JOB",
            "3",
        )

        (letter,) = _listed(flags)
        assert (letter["job_id"], letter["reason"], letter["attempts"], letter["lane"]) == (
            poison,
            "POISONED_JOB",
            3,
            "interactive",
        )
        body = json.loads(dead("show", poison, "--image", shown, *flags).out)
        assert body["letter"]["job"]["tasks"][0]["text"] == KILLING_PROMPT
        assert shown.read_bytes() == png(33, 21)

        replayed = dead("replay", letter["id"], *flags).out.split()[-1]
        assert replayed != poison
        # A worker that the image does not kill: the fault has been mended.
        mended = start_arno(
            *("worker", "--model", "null", "--metrics-port", "0", *flags),
            log=tmp_path / "mended.log",
        )
        assert client.outcome(replayed, timeout_s=120).state == job_pb2.JOB_STATE_SUCCEEDED
        assert client.look(poison).outcome == outcome
        tied_process.stop(mended, timeout_s=15)
    assert "removed 1 letter" in dead("purge", "--yes", *flags).out
    assert dead("list", *flags).out == "no dead letters\n"


@one_bus
def test_record_that_cannot_be_read_is_shown_and_put_back_as_it_was(
    settings: WorkerSettings, tmp_path: Path, flags: list[str]
) -> None:
    foreign = b"\xff\xff\xff of a newer release"
    with JobClient(settings) as client:
        worker = start_child(settings, tmp_path / "no-gate", tmp_path, "worker")
        client.publish(foreign)
        # The neighbour is behind the foreign record, and is not held up by it.
        job_id = client.submit(job_record())
        assert client.outcome(job_id, timeout_s=60).state == job_pb2.JOB_STATE_SUCCEEDED
        letters = eventually(lambda: _listed(flags), timeout_s=60)
        assert [letter["reason"] for letter in letters] == ["UNREADABLE_RECORD"]
        assert "interactive as it was" in dead("replay", "--all", *flags).out
        eventually(lambda: len(_listed(flags)) == 2, timeout_s=60)
        tied_process.stop(worker, timeout_s=15)


@one_bus
def test_large_image_of_a_letter_comes_from_the_store(
    settings: WorkerSettings, tmp_path: Path, flags: list[str]
) -> None:
    shown, image = tmp_path / "shown.png", png(40, 30)
    with JobClient(settings) as client:
        record = job_record()
        record.blob.sha256 = client.put_blob(image)
        record.blob.size_bytes = len(image)
        publish_all(settings, [Record(DEAD_LETTERS, DeadJob(job=record).SerializeToString())])
        dead("show", record.id, "--image", shown, *flags)
        assert shown.read_bytes() == image
        record.blob.sha256 = "0" * 64
        record.id = "lost"
        publish_all(settings, [Record(DEAD_LETTERS, DeadJob(job=record).SerializeToString())])
    said = arno("dead", "show", "lost", "--image", shown, *flags)
    assert said.exit_code == 2
    assert "neither the letter nor the store" in said.err


@one_bus
def test_job_that_left_two_letters_is_listed_and_runs_again_once(
    settings: WorkerSettings, flags: list[str]
) -> None:
    record = job_record()
    value = DeadJob(job=record, channel="interactive").SerializeToString()
    for _ in range(2):
        publish_all(settings, [Record(DEAD_LETTERS, value)])
    (letter,) = _listed(flags)
    assert letter["job_id"] == record.id
    (older,) = letter["copies"]
    (line,) = dead("replay", older, letter["id"], *flags).out.splitlines()
    assert f"{letter['id']}: {record.id} runs again as " in line
    (again,) = dead("replay", "--all", *flags).out.splitlines()
    assert f"{letter['id']}: {record.id} was replayed before, as {line.split()[-1]}" in again
    (more,) = dead("replay", "--all", "--again", *flags).out.splitlines()
    assert f"{letter['id']}: {record.id} runs again as " in more
    assert more.split()[-1] != line.split()[-1]
    assert "removed 2 letters" in dead("purge", "--yes", *flags).out


@one_bus
def test_letter_that_does_not_exist_is_named(flags: list[str]) -> None:
    said = arno("dead", "show", "no-such-letter", *flags)
    assert said.exit_code == 2
    assert "no-such-letter" in said.err
