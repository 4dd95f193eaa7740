"""Read dead letters as what they are, and put their jobs on the bus again."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from google.protobuf.message import DecodeError
from rich.table import Table

from arno.api.v1 import types_pb2
from arno.bus.factory import make_publisher
from arno.bus.ports import Lane, LetterBox, Publisher, Record
from arno.bus.settings import BusSettings
from arno.bus.v1.records_pb2 import DeadJob, JobRecord
from arno.results.gateway_store import GatewayStore
from arno.results.jobs import new_job_id
from arno.results.settings import ResultSettings
from arno.results.worker_store import WorkerStore

_PUBLISH_TIMEOUT_S = 10.0


class DeadSettings(BusSettings, ResultSettings):
    """Where the bus is, and the store in which a replayed job is known."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A letter and what is in it.

    Attributes:
        id: Its name on the bus.
        dead: The job and why it was given up; empty where this release cannot read it.
        size_bytes: Of the letter.
        appended_at_ms: When the bus stored it, Unix milliseconds.
        copies: The names of older letters about the same job.
    """

    id: str
    dead: DeadJob
    size_bytes: int
    appended_at_ms: int
    copies: tuple[str, ...] = ()

    def named(self, name: str) -> bool:
        """Say whether this is its name: its own, that of a copy, or that of its job."""
        return name in (self.id, self.dead.job.id, *self.copies)

    @property
    def channel(self) -> str:
        """Where it came from, and goes when it is replayed."""
        if self.dead.channel:
            return self.dead.channel
        name = types_pb2.Lane.Name(self.dead.job.lane) if self.dead.job.lane else ""
        return name.removeprefix("LANE_").lower() or Lane.BATCH.value

    def facts(self) -> dict[str, object]:
        """Return what a list says about it."""
        return {
            "id": self.id,
            "died": datetime.fromtimestamp(
                (self.dead.died_at_ms or self.appended_at_ms) / 1000, UTC
            ).isoformat(timespec="seconds"),
            "reason": self.dead.error.reason or "UNKNOWN",
            "attempts": self.dead.attempt_count,
            "job_id": self.dead.job.id,
            "tenant": self.dead.job.tenant,
            "lane": self.channel,
            "size_bytes": self.size_bytes,
            "message": self.dead.error.message,
            "copies": list(self.copies),
        }


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of one letter.

    Attributes:
        line: In words.
        replayed: Whether it is on the bus again.
    """

    line: str
    replayed: bool


def read_letters(box: LetterBox) -> Iterator[DeadLetter]:
    """Yield the letters of a box; one that holds something else is shown as unknown."""
    for letter in box.read():
        try:
            dead = DeadJob.FromString(letter.value)
        except DecodeError:
            dead = DeadJob(unreadable_value=letter.value)
        yield DeadLetter(letter.id, dead, len(letter.value), letter.appended_at_ms)


def one_a_job(letters: Iterable[DeadLetter]) -> list[DeadLetter]:
    """Return the newest letter of each job, in their order; others become its copies.

    A job that dies once may leave two letters: one whose acknowledgement was lost is sent again,
    and a worker that dies between a letter and the job's end leaves the job to one that writes
    another. Of records that could not be read nobody knows whether they were the same.
    """
    newest: dict[str, DeadLetter] = {}
    for letter in sorted(letters, key=lambda one: one.appended_at_ms):
        name = letter.dead.job.id or f"letter {letter.id}"
        older = newest.pop(name, None)
        copies = () if older is None else (*older.copies, older.id)
        newest[name] = replace(letter, copies=copies)
    return list(newest.values())


def letter_table(letters: Sequence[DeadLetter]) -> Table:
    """Return the letters for a terminal."""
    table = Table("letter", "died", "reason", "attempts", "job", "lane", "bytes")
    for letter in letters:
        facts = letter.facts()
        names = ("id", "died", "reason", "attempts", "job_id", "lane", "size_bytes")
        table.add_row(*(str(facts[name]) for name in names))
    return table


def letter_image(settings: DeadSettings, letter: DeadLetter) -> bytes | None:
    """Return the image of a letter's job, large ones from the store; None where it is gone."""
    job = letter.dead.job
    if job.WhichOneof("image") != "blob":
        return job.inline_image or None
    writer = WorkerStore(settings)
    try:
        return writer.get_blob(job.blob.sha256)
    finally:
        writer.close()


async def replay_letters(
    settings: DeadSettings, letters: Sequence[DeadLetter], *, time_to_live_s: int
) -> list[Replayed]:
    """Put the jobs of letters on their lanes, each as a new job.

    Raises:
        BackendUnavailableError: The bus or the store does not answer.
    """
    publisher = make_publisher(settings)
    store = GatewayStore(settings, gateway=f"dead-{secrets.token_hex(8)}")
    try:
        await publisher.start()
        await store.start()
        return [await _replay(publisher, store, letter, time_to_live_s) for letter in letters]
    finally:
        await publisher.close()
        await store.close()


async def _replay(
    publisher: Publisher,
    store: GatewayStore,
    letter: DeadLetter,
    time_to_live_s: int,
) -> Replayed:
    if not letter.dead.HasField("job"):
        return await _put_back(publisher, letter)
    if letter.dead.job.WhichOneof("image") is None:
        return Replayed(f"{letter.id}: not replayed, the letter was too large for its image", False)
    record = _new_job(letter.dead.job, time_to_live_s)
    await store.claim(record)
    value = record.SerializeToString()
    await publisher.publish(Record(letter.channel, value), timeout_s=_PUBLISH_TIMEOUT_S)
    return Replayed(f"{letter.id}: {letter.dead.job.id} runs again as {record.id}", True)


async def _put_back(publisher: Publisher, letter: DeadLetter) -> Replayed:
    record = Record(letter.channel, letter.dead.unreadable_value)
    await publisher.publish(record, timeout_s=_PUBLISH_TIMEOUT_S)
    return Replayed(f"{letter.id}: put back on {letter.channel} as it was", True)


def _new_job(old: JobRecord, time_to_live_s: int) -> JobRecord:
    # A new id: the old job has its end, and the first end counts.
    record = JobRecord()
    record.CopyFrom(old)
    record.submitted_at_ms = time.time_ns() // 1_000_000
    record.id = new_job_id(record.submitted_at_ms)
    record.deadline_at_ms = record.submitted_at_ms + 1000 * time_to_live_s
    return record
