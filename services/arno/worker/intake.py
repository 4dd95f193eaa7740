"""Begin each delivered job: read it, note the attempt, prepare its image, or end it at once.

Runs on the prepare threads. No record may stop the partition that it came from: a job that cannot
run ends with the reason, and its delivery is done.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from opentelemetry.trace import SpanKind

from arno.engine.interface import Engine, PreparedImage
from arno.errors import (
    ArnoError,
    CancelledError,
    DeadlineExceededError,
    EngineError,
    ImageLostError,
    PoisonedJobError,
    StoredJobError,
)
from arno.ops.clock import Clock
from arno.ops.tracing import past_stage, start_span
from arno.results.worker_store import WorkerStore
from arno.vocabulary import JobState
from arno.worker.dead_letters import DeadLetterPublisher
from arno.worker.job import Job, JobStage
from arno.worker.job_table import Messages
from arno.worker.metrics import WorkerMetrics
from arno.worker.quarantine import Quarantine
from arno.worker.result_writer import ResultWriter
from arno.worker.retrying import Backend

logger = logging.getLogger(__name__)


class PrepareClock:
    """Measures how long images have been in preparation. Any thread."""

    def __init__(self, clock: Clock) -> None:
        """Take the time."""
        self._clock = clock
        self._began_s: dict[int, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def running(self, job: Job) -> Iterator[None]:
        """Count a job's image as being prepared while the block runs."""
        with self._lock:
            self._began_s[job.serial] = self._clock.monotonic_s()
        try:
            yield
        finally:
            with self._lock:
                del self._began_s[job.serial]

    def oldest_age_s(self) -> float:
        """Return the age of the oldest preparation that still runs; 0.0 without one."""
        with self._lock:
            began_s = min(self._began_s.values(), default=None)
        return 0.0 if began_s is None else self._clock.monotonic_s() - began_s


@dataclass(frozen=True, slots=True)
class Intake:
    """The first part of a job's way through the worker. Any thread.

    Attributes:
        engine: Prepares images.
        writer: Begins attempts and keeps large images.
        store: Repeats calls of the writer until the store answers.
        quarantine: Holds other jobs back while one has its last chance.
        dead_letters: Publishes records that are given up.
        results: Stores the ends of jobs that never run.
        prepared: Gets every prepared job.
        clock: The time.
        metrics: Of the process.
        preparing: Measures how long images have been in preparation.
    """

    engine: Engine
    writer: WorkerStore
    store: Backend
    quarantine: Quarantine
    dead_letters: DeadLetterPublisher
    results: ResultWriter
    prepared: Messages
    clock: Clock
    metrics: WorkerMetrics
    preparing: PrepareClock

    def take(self, job: Job) -> None:
        """Bring a job as far as it gets without the engine.

        Raises:
            AbandonedError: The process leaves; the delivery is not done.
        """
        if job.unreadable is not None:
            self.dead_letters.give_up_unreadable(job.delivery, job.unreadable)
            job.done()
            return
        try:
            self._begin(job)
        except StoredJobError as error:
            self.dead_letters.give_up(job.record, job.channel, error, attempt_count=0)
            job.done()
            return
        if job.attempt.state.ended:
            self._drop_repeat(job)
            return
        try:
            self._check_runnable(job)
            job.image = self._prepare(job)
        except ArnoError as error:
            self._end(job, error)
        else:
            self.prepared.put(job)

    def _begin(self, job: Job) -> None:
        record = job.record
        span = start_span("arno.job", kind=SpanKind.CONSUMER, carrier=job.delivery.record.headers)
        span.set_attributes({"arno.job_id": record.id, "arno.channel": job.channel})
        taken_at_ms = self.clock.wall_ms()
        try:
            job.attempt = self.quarantine.begin(
                lambda deaths_max: self.store.insist(
                    lambda: self.writer.begin(record, deaths_max=deaths_max)
                )
            )
        except BaseException:
            # A job without an attempt reaches no other place that would end its span.
            span.end()
            raise
        job.span = span
        job.queue_s = max(0, taken_at_ms - record.submitted_at_ms) / 1000
        # On the store's clock as the metric is; the time of the attempt itself comes after it.
        begun_s = max(0, self.clock.wall_ms() - taken_at_ms) / 1000
        past_stage(span, "queue", took_s=job.queue_s, ended_s_ago=begun_s)
        job.deadline_s = self.clock.monotonic_of(record.deadline_at_ms)
        job.stage = JobStage.BEGUN

    def _drop_repeat(self, job: Job) -> None:
        self.metrics.repeated_deliveries.inc()
        logger.info("the job has ended already", extra=job.log_fields)
        job.done()
        job.span.end()

    def _check_runnable(self, job: Job) -> None:
        if self.clock.wall_ms() >= job.record.deadline_at_ms:
            raise DeadlineExceededError("the deadline passed before a worker could begin")
        if job.attempt.cancel_requested:
            raise CancelledError("the job was cancelled before a worker had begun")
        if not job.attempt.begun:
            deaths = job.attempt.death_count
            raise PoisonedJobError(
                f"given up: {deaths} workers died with it in hand",
                attempt_count=str(job.attempt.number),
                death_count=str(deaths),
            )

    def _prepare(self, job: Job) -> PreparedImage:
        content = self._image(job)
        try:
            with self.preparing.running(job):
                image = self.engine.prepare(content)
        except ArnoError:
            raise
        except Exception as fault:
            # A decoder that fails on one image fails that job alone.
            logger.exception("preparing an image failed", extra=job.log_fields)
            raise EngineError("preparing the image failed") from fault
        past_stage(job.span, "prepare", took_s=image.prepare_s)
        return image

    def _image(self, job: Job) -> bytes:
        record = job.record
        if record.WhichOneof("image") == "inline_image":
            return record.inline_image
        sha256 = record.blob.sha256
        content = self.store.insist(lambda: self.writer.get_blob(sha256))
        if content is None:
            raise ImageLostError(sha256)
        return content

    def _end(self, job: Job, error: ArnoError) -> None:
        if isinstance(error, PoisonedJobError):
            self.dead_letters.give_up(
                job.record, job.channel, error, attempt_count=job.attempt.number
            )
        outcome = job.outcome(
            _STATES.get(type(error), JobState.FAILED),
            card=self.engine.card,
            ended_at_ms=self.clock.wall_ms(),
            error=error,
        )
        self.results.end(job, outcome)


_STATES: Final[dict[type[ArnoError], JobState]] = {
    DeadlineExceededError: JobState.EXPIRED,
    CancelledError: JobState.CANCELLED,
}
