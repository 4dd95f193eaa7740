"""Dead letters: read the jobs that were given up, and put them on their lanes again.

Workers write them (``arno.worker.dead_letters``); operators read and replay them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from arno.bus.ports import DeadLetterQueue, Publisher, Record
from arno.bus.v1.records_pb2 import DeadJob, JobRecord
from arno.errors import BackendUnavailableError
from arno.vocabulary import JobState
from arno.vocabulary.job_id import new_job_id
from arno.vocabulary.wire import lane_of_record

if TYPE_CHECKING:
    # The verb that replays composes bus and store; neither package needs the other to run.
    from arno.results.gateway_store import GatewayStore

_PUBLISH_TIMEOUT_S: Final = 10.0
_TURN_S: Final = _PUBLISH_TIMEOUT_S + 1.0
_KEY_PREFIX: Final = "dead."
"""Begins the idempotency key of a replay; with a full stop, which no caller's key has."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record of the dead-letter channel and the job that it holds.

    Attributes:
        id: The record's id on the bus.
        dead: The job and why it was given up; empty where this release cannot read it.
        size_bytes: Size of the record.
        appended_at_ms: When the bus stored it, Unix milliseconds.
        copies: The ids of older letters about the same job.
    """

    id: str
    dead: DeadJob
    size_bytes: int
    appended_at_ms: int
    copies: tuple[str, ...] = ()

    def named(self, name: str) -> bool:
        """Return whether a name is its id, the id of a copy, or the id of its job."""
        return name in (self.id, self.dead.job.id, *self.copies)

    @property
    def channel(self) -> str:
        """The channel that it came from, and that it is replayed on."""
        if self.dead.channel:
            return self.dead.channel
        return lane_of_record(self.dead.job.lane).value

    def facts(self) -> dict[str, object]:
        """Return what a list shows of it."""
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
class ReplayTerms:
    """How letters are replayed.

    Attributes:
        time_to_live_s: How long each job may take from now.
        image_time_to_live_s: How long its large image is kept from now, at least.
        again: Whether a letter that was replayed before is replayed once more.
    """

    time_to_live_s: int
    image_time_to_live_s: int
    again: bool = False


@dataclass(frozen=True, slots=True)
class Replayed:
    """The outcome of one replay.

    Attributes:
        line: The outcome in words.
        replayed: Whether the job is on the bus again.
    """

    line: str
    replayed: bool


def read_dead_letters(queue: DeadLetterQueue) -> Iterator[DeadLetter]:
    """Yield the letters of a queue; a foreign record becomes a letter without a job."""
    for record in queue.read():
        try:
            dead = DeadJob.FromString(record.value)
        except DecodeError:
            dead = DeadJob(unreadable_value=record.value)
        yield DeadLetter(record.id, dead, len(record.value), record.appended_at_ms)


def newest_per_job(letters: Iterable[DeadLetter]) -> list[DeadLetter]:
    """Return the newest letter of each job, oldest first; the others become its copies.

    A job that dies once may leave two letters: a letter whose acknowledgement was lost is sent
    again, and where a worker dies between the letter and the job's end, the next worker writes
    another. Of records that cannot be read it is unknown whether they are about one job.
    """
    newest: dict[str, DeadLetter] = {}
    for letter in sorted(letters, key=lambda one: one.appended_at_ms):
        name = letter.dead.job.id or f"letter {letter.id}"
        older = newest.pop(name, None)
        copies = () if older is None else (*older.copies, older.id)
        newest[name] = replace(letter, copies=copies)
    return list(newest.values())


def image_of(letter: DeadLetter, get_blob: Callable[[str], bytes | None]) -> bytes | None:
    """Return the image of a letter's job, or None where it is gone.

    Args:
        letter: The letter.
        get_blob: Returns a large image by its SHA-256, or None where it is not stored.
    """
    job = letter.dead.job
    if job.WhichOneof("image") != "blob":
        return job.inline_image or None
    return get_blob(job.blob.sha256)


async def replay(
    letter: DeadLetter, publisher: Publisher, store: GatewayStore, terms: ReplayTerms
) -> Replayed:
    """Put the job of a letter on its lane under a new id; publisher and store are started.

    It may be called again, after a failure too: the job of a letter holds an idempotency key of its
    own, so that it runs once for as long as the store knows the new job.

    Raises:
        BackendUnavailableError: The bus or the store does not answer.
    """
    if not letter.dead.HasField("job"):
        return await _put_back(publisher, letter)
    if letter.dead.job.WhichOneof("image") is None:
        return Replayed(f"{letter.id}: not replayed, the letter was too large for its image", False)
    record = _new_job(letter.dead.job, terms.time_to_live_s)
    if not await _image_is_kept(store, record, terms):
        return Replayed(f"{letter.id}: not replayed, the store no longer has its image", False)
    by, key = record.id, "" if terms.again else _KEY_PREFIX + letter.dead.job.id
    holder = await store.claim(record, idempotency_key=key, publishing_s=_TURN_S)
    if holder != by:
        before = await _replayed_before(letter, store, record, holder)
        if before is not None:
            return before
    await _publish(letter, publisher, store, record, by=by)
    return Replayed(f"{letter.id}: {letter.dead.job.id} runs again as {record.id}", True)


async def _image_is_kept(store: GatewayStore, record: JobRecord, terms: ReplayTerms) -> bool:
    if record.WhichOneof("image") != "blob":
        return True
    return await store.blobs.keep(
        record.blob, time_to_live_s=terms.image_time_to_live_s, tenant=record.tenant
    )


async def _replayed_before(
    letter: DeadLetter, store: GatewayStore, record: JobRecord, holder: str
) -> Replayed | None:
    """Return the outcome of an earlier replay; None where it is to be published, as `record`."""
    found = await store.get(holder)
    if found is not None and (
        found.published or found.attempt_count or found.state is not JobState.QUEUED
    ):
        return Replayed(
            f"{letter.id}: {letter.dead.job.id} was replayed before, as {holder} ({found.state}); "
            "--again runs it once more",
            True,
        )
    if found is None or not await store.take_publication(holder, by=record.id, for_s=_TURN_S):
        return Replayed(f"{letter.id}: not replayed, another call does so at this moment", False)
    # An earlier replay ended between its claim and its publication.
    record.id = holder
    record.submitted_at_ms, record.deadline_at_ms = found.submitted_at_ms, found.deadline_at_ms
    return None


async def _publish(
    letter: DeadLetter, publisher: Publisher, store: GatewayStore, record: JobRecord, *, by: str
) -> None:
    value = record.SerializeToString()
    try:
        await publisher.publish(Record(letter.channel, value), timeout_s=_PUBLISH_TIMEOUT_S)
    except BaseException:
        # The next call need not wait for the end of the turn.
        with contextlib.suppress(BackendUnavailableError):
            await store.give_up_publication(record.id, by=by)
        raise
    await store.note_published(record.id)


async def _put_back(publisher: Publisher, letter: DeadLetter) -> Replayed:
    record = Record(letter.channel, letter.dead.unreadable_value)
    await publisher.publish(record, timeout_s=_PUBLISH_TIMEOUT_S)
    return Replayed(f"{letter.id}: put back on {letter.channel} as it was", True)


def _new_job(old: JobRecord, time_to_live_s: int) -> JobRecord:
    # Under a new id: the old job has ended, and only the first end counts.
    record = JobRecord()
    record.CopyFrom(old)
    record.submitted_at_ms = time.time_ns() // 1_000_000
    record.id = new_job_id(record.submitted_at_ms)
    record.deadline_at_ms = record.submitted_at_ms + 1000 * time_to_live_s
    return record
