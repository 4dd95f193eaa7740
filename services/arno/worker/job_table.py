"""Own the running jobs: plan their sequences, apply the engine's events, end the jobs."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from arno.batching import AnswerLengths
from arno.engine.engine_loop import EngineLoop
from arno.engine.interface import (
    DecodingOptions,
    Engine,
    Event,
    SequenceFinished,
    SequenceRequest,
)
from arno.errors import ArnoError, BackendUnavailableError, CancelledError, EngineError
from arno.ops.clock import Clock
from arno.ops.tracing import past_stage
from arno.results.worker_store import WorkerStore
from arno.vocabulary import EXPECTED_TOKENS, JobState
from arno.worker.job import Job, JobStage, split_sequence_id
from arno.worker.job_run import JobRun
from arno.worker.result_writer import ResultWriter

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Jobs that a caller cancelled or deleted."""

    job_ids: frozenset[str]


Message: TypeAlias = "Job | Sequence[Event] | Cancelled | None"
"""A prepared job, events of the engine, or a cancellation; None ends the table's thread."""

Messages: TypeAlias = "queue.SimpleQueue[Message]"


class JobTable:
    """The jobs that run, and the thread that owns them."""

    def __init__(
        self,
        engine: Engine,
        loop: EngineLoop,
        writer: ResultWriter,
        messages: Messages,
        *,
        clock: Clock,
        token_interval_s: float,
    ) -> None:
        """Take the parts around the table.

        Args:
            engine: For its card and its token table only; the loop runs it.
            loop: Runs the sequences, and puts its events into the messages.
            writer: Stores progress and ends.
            messages: The queue that the table's thread handles in order; any thread may put there.
            clock: The time.
            token_interval_s: Least time between two writes that change only a token count.
        """
        self._engine = engine
        self._loop = loop
        self._writer = writer
        self._messages = messages
        self._clock = clock
        self._token_interval_s = token_interval_s
        self._jobs: dict[int, Job] = {}
        self._lengths = AnswerLengths(EXPECTED_TOKENS)
        self._looking = threading.Lock()

    def job_ids(self) -> list[str]:
        """Return the ids of the jobs that run. Any thread."""
        with self._looking:
            return [job.id for job in self._jobs.values()]

    def __len__(self) -> int:
        return len(self._jobs)

    def run(self) -> None:
        """Handle messages until one is None: the body of a thread."""
        while (message := self._messages.get()) is not None:
            match message:
                case Job():
                    self._start(message)
                case Cancelled(job_ids):
                    self._cancel(job_ids)
                case events:
                    self._advance(events)

    def _start(self, job: Job) -> None:
        job.stage = JobStage.RUNNING
        job.run = JobRun(
            job.record.tasks,
            template=SequenceRequest(
                sequence_id=str(job.serial),
                image=job.image,
                prompt="",
                options=DecodingOptions(),
                deadline_s=job.deadline_s,
                lane=job.lane,
                tenant=job.record.tenant,
                expected_token_count=0,
            ),
            token_table=self._engine.token_table,
            queue_s=job.queue_s,
            lengths=self._lengths,
            calibration=self._engine.card.calibration,
        )
        with self._looking:
            self._jobs[job.serial] = job
        self._guarded(job, partial(self._go_on, job))

    def _advance(self, events: Sequence[Event]) -> None:
        moved: dict[int, Job] = {}
        for event in events:
            serial, result_id = split_sequence_id(event.sequence_id)
            # A job that failed as a whole leaves sequences behind, whose ends are ignored.
            job = self._jobs.get(serial)
            if job is not None:
                moved[serial] = job
                self._guarded(job, partial(self._apply, job, result_id, event))
        for job in moved.values():
            self._guarded(job, partial(self._go_on, job))

    def _apply(self, job: Job, result_id: str, event: Event) -> None:
        if isinstance(event, SequenceFinished):
            job.sequence_ids.discard(event.sequence_id)
            _trace(job, result_id, event)
            job.run.finished(result_id, event)
        else:
            job.run.progressed(result_id, encoded=event.encoded, token_count=event.token_count)

    def _cancel(self, job_ids: frozenset[str]) -> None:
        for job in self._jobs.values():
            if job.id in job_ids:
                job.run.stop(CancelledError("the job was cancelled before this task began"))
                self._loop.cancel(job.sequence_ids)

    def _go_on(self, job: Job) -> None:
        requests = job.run.plan()
        if requests:
            job.sequence_ids.update(request.sequence_id for request in requests)
            self._loop.submit(requests)
        if job.run.ended:
            self._end(job, job.run.state, job.run.error)
        else:
            self._write_progress(job)

    def _write_progress(self, job: Job) -> None:
        results = job.run.take_new_results()
        state, now_s = job.run.state, self._clock.monotonic_s()
        news = bool(results) or state is not job.published_state
        if not news and now_s - job.published_at_s < self._token_interval_s:
            return
        job.published_state, job.published_at_s = state, now_s
        self._writer.progress(
            job, state, decoded_token_count=job.run.decoded_token_count, task_results=results
        )

    def _end(self, job: Job, state: JobState, error: ArnoError | None) -> None:
        with self._looking:
            del self._jobs[job.serial]
        outcome = job.outcome(
            state,
            card=self._engine.card,
            ended_at_ms=self._clock.wall_ms(),
            results=job.run.results,
            error=error,
        )
        self._writer.end(job, outcome)

    def _guarded(self, job: Job, act: Callable[[], None]) -> None:
        if job.serial not in self._jobs:
            return
        try:
            act()
        except Exception:
            # An error of the worker in one job must not fail the jobs beside it.
            logger.exception("a job failed inside the worker", extra=job.log_fields)
            self._loop.cancel(job.sequence_ids)
            self._end(job, JobState.FAILED, EngineError("the worker failed on this job"))


def _trace(job: Job, result_id: str, end: SequenceFinished) -> None:
    if end.encode_s > 0:
        past_stage(job.span, "encode", took_s=end.encode_s, ended_s_ago=end.decode_s)
    if end.token_ids:
        past_stage(job.span, "decode", took_s=end.decode_s, result=result_id)


_AFTER_CANCELS: Final = 0.2
"""Part of the interval after which the store is asked again where jobs were cancelled: more are to
come. The ends of many at once hold up the decode steps of others."""


class CancellationPoll:
    """Asks the store which of the running jobs were cancelled; an outage only delays a cancel."""

    def __init__(
        self, store: WorkerStore, table: JobTable, messages: Messages, *, interval_s: float
    ) -> None:
        """Take the store, the running jobs, their queue, and the time between two questions."""
        self._store = store
        self._table = table
        self._messages = messages
        self._interval_s = interval_s
        self._stopped = threading.Event()

    def run(self) -> None:
        """Ask until stopped: the body of a thread."""
        pause_s = self._interval_s
        while not self._stopped.wait(pause_s):
            pause_s = self._interval_s * (_AFTER_CANCELS if self._look() else 1.0)

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()

    def _look(self) -> bool:
        """Cancel the jobs that are to be, and return whether there were any."""
        job_ids = self._table.job_ids()
        if not job_ids:
            return False
        try:
            found = self._store.cancelled(job_ids)
        except BackendUnavailableError:
            return False
        if found:
            self._messages.put(Cancelled(frozenset(found)))
        return bool(found)
