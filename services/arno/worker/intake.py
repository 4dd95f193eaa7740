"""Decide what becomes of a delivery: a prepared job for the engine, or an end at once.

Runs on the prepare threads. Nothing that a record holds may stop the partition it came from:
whatever cannot be run ends, with its reason, and is done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from opentelemetry.trace import SpanKind

from arno.bus.ports import Delivery
from arno.bus.v1.records_pb2 import DeadJob, JobRecord
from arno.engine.interface import Engine, PreparedImage
from arno.errors import (
    ArnoError,
    CancelledError,
    DeadlineExceededError,
    EngineError,
    InvalidImageError,
    PoisonedJobError,
    StoredJobError,
)
from arno.ops.tracing import start_span
from arno.results.worker_store import WorkerStore
from arno.vocabulary import JobState
from arno.vocabulary.wire_results import error_to_wire
from arno.worker.clock import Clock
from arno.worker.dead_letters import DeadLetters
from arno.worker.outcomes import build_outcome
from arno.worker.publication import Publication
from arno.worker.quarantine import Quarantine
from arno.worker.records import UnreadableRecordError, read_job
from arno.worker.retrying import Backend
from arno.worker.taken_job import PreparedJob, TakenJob
from arno.worker.tally import Tally

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Intake:
    """The first part of a job's way through the worker. Any thread.

    Attributes:
        engine: Prepares images.
        writer: Begins attempts and keeps large images.
        store: For insisting on the writer.
        quarantine: Holds back other jobs while one has its last chance.
        dead_letters: Where jobs go that were given up.
        publication: Where ends go.
        accept: Gets every prepared job.
        clock: The time.
        tally: Counts what happened.
    """

    engine: Engine
    writer: WorkerStore
    store: Backend
    quarantine: Quarantine
    dead_letters: DeadLetters
    publication: Publication
    accept: Callable[[PreparedJob], None]
    clock: Clock
    tally: Tally

    def take(self, delivery: Delivery, done: Callable[[], None]) -> None:
        """Bring a delivery as far as it gets without the engine.

        Raises:
            AbandonedError: The process leaves; the delivery is not done.
        """
        try:
            record = read_job(delivery.record.value)
        except UnreadableRecordError as error:
            self._bury_unreadable(delivery, error)
            done()
            return
        try:
            job = self._begin(record, delivery, done)
        except StoredJobError as error:
            self.bury(record, delivery.record.channel, error, attempt_count=0)
            done()
            return
        if job.attempt.state.ended:
            self._leave(job)
            return
        reason = self._reason_to_end(job)
        if reason is not None:
            self._end(job, reason)
            return
        try:
            image = self._prepare(job)
        except ArnoError as error:
            self._end(job, error)
            return
        self.accept(PreparedJob(job, image))

    def _begin(self, record: JobRecord, delivery: Delivery, done: Callable[[], None]) -> TakenJob:
        span = start_span("arno.job", kind=SpanKind.CONSUMER, carrier=delivery.record.headers)
        span.set_attributes({"arno.job_id": record.id, "arno.channel": delivery.record.channel})
        taken_at_ms = self.clock.wall_ms()
        try:
            attempt = self.quarantine.begin(
                lambda deaths_max: self.store.insist(
                    lambda: self.writer.begin(record, deaths_max=deaths_max)
                )
            )
        except BaseException:
            # Nobody else will: there is no job to end it with.
            span.end()
            raise
        return TakenJob(
            record=record,
            channel=delivery.record.channel,
            attempt=attempt,
            done=done,
            queue_s=max(0, taken_at_ms - record.submitted_at_ms) / 1000,
            deadline_s=self.clock.monotonic_of(record.deadline_at_ms),
            span=span,
        )

    def _leave(self, job: TakenJob) -> None:
        self.tally.count_repeated_delivery()
        logger.info("the job has ended already", extra=job.log_fields)
        job.done()
        job.span.end()

    def _reason_to_end(self, job: TakenJob) -> ArnoError | None:
        if self.clock.wall_ms() >= job.record.deadline_at_ms:
            return DeadlineExceededError("the deadline passed before a worker could begin")
        if job.attempt.cancel_requested:
            return CancelledError("the job was cancelled before a worker had begun")
        if not job.attempt.begun:
            deaths = job.attempt.death_count
            return PoisonedJobError(
                f"given up: {deaths} workers died with it in hand",
                attempt_count=str(job.attempt.number),
                death_count=str(deaths),
            )
        return None

    def _prepare(self, job: TakenJob) -> PreparedImage:
        try:
            return self.engine.prepare(self._image(job))
        except ArnoError:
            raise
        except Exception as error:
            # A decoder's fault on one image is that job's alone.
            logger.exception("preparing an image failed", extra=job.log_fields)
            raise EngineError("preparing the image failed") from error

    def _image(self, job: TakenJob) -> bytes:
        record = job.record
        if record.WhichOneof("image") == "inline_image":
            return record.inline_image
        sha256 = record.blob.sha256
        content = self.store.insist(lambda: self.writer.get_blob(sha256))
        if content is None:
            raise InvalidImageError(
                field="image", problem="no longer in the blob store", sent=sha256
            )
        return content

    def _end(self, job: TakenJob, error: ArnoError) -> None:
        if isinstance(error, PoisonedJobError):
            self.bury(job.record, job.channel, error, attempt_count=job.attempt.number)
        outcome = build_outcome(
            job.record,
            _STATES.get(type(error), JobState.FAILED),
            card=self.engine.card,
            ended_at_ms=self.clock.wall_ms(),
            error=error,
        )
        self.publication.end(job, outcome)

    def bury(
        self, record: JobRecord, channel: str, error: ArnoError, *, attempt_count: int
    ) -> None:
        """Publish the dead letter of a job.

        Before its end is stored and its delivery done: a crash between the two costs a second
        letter, the other order would lose the only one.
        """
        logger.error("a job was given up: %s", error, extra={"job_id": record.id})
        self.dead_letters.publish(
            DeadJob(
                job=record,
                error=error_to_wire(error),
                attempt_count=attempt_count,
                died_at_ms=self.clock.wall_ms(),
                channel=channel,
            )
        )
        self.tally.count_dead_letter(error.reason)

    def _bury_unreadable(self, delivery: Delivery, error: UnreadableRecordError) -> None:
        logger.error(
            "a record was given up: %s",
            error,
            extra={
                "channel": delivery.record.channel,
                "partition": delivery.receipt.partition,
                "offset": delivery.receipt.position,
            },
        )
        self.dead_letters.publish(
            DeadJob(
                unreadable_value=delivery.record.value,
                error=error_to_wire(error),
                died_at_ms=self.clock.wall_ms(),
                channel=delivery.record.channel,
            )
        )
        self.tally.count_dead_letter(error.reason)


_STATES: Final[dict[type[ArnoError], JobState]] = {
    DeadlineExceededError: JobState.EXPIRED,
    CancelledError: JobState.CANCELLED,
}
