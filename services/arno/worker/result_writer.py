"""Write progress and ends of jobs to the store; only then is a delivery done.

At most one write of a job waits: newer progress replaces older, an end replaces both. So a store
that is slow or away costs memory for the jobs in flight and no more, and gets the newest state.
What waits goes to the store in one round trip: a store that syncs before it answers, or that is
far, would else allow one job for each of its answers.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from arno.bus.v1.records_pb2 import JobOutcome
from arno.errors import StoredJobError
from arno.ops.clock import Clock
from arno.ops.tracing import past_stage
from arno.results.worker_store import Update, WorkerStore
from arno.vocabulary import JobState
from arno.vocabulary.wire import state_from_wire
from arno.worker.dead_letters import DeadLetterPublisher
from arno.worker.job import Job, JobStage, Unwritten
from arno.worker.metrics import WorkerMetrics
from arno.worker.pace import PaceReporter
from arno.worker.quarantine import Quarantine
from arno.worker.retrying import AbandonedError, Backend

logger = logging.getLogger(__name__)

PROGRESS_PAUSE_S: Final = 0.02
"""How long progress without a result waits for what comes next. On a fast engine that is the end,
which makes the write of the progress needless. Results of tasks never wait."""


_BATCH_MAX: Final = 64
"""Jobs that are written in one round trip; the store serves no other caller meanwhile."""


@dataclass(frozen=True, slots=True)
class EndEffects:
    """The parts that take the end of a job once it is stored.

    Attributes:
        quarantine: Lets the next last chance begin when an attempt has ended.
        pace: Measures the work that got done.
        metrics: Counts ends.
        dead_letters: Gets jobs whose end cannot be stored.
    """

    quarantine: Quarantine
    pace: PaceReporter
    metrics: WorkerMetrics
    dead_letters: DeadLetterPublisher


class ResultWriter:
    """The jobs whose entry in the store is behind: any thread adds one, store threads write."""

    def __init__(
        self, writer: WorkerStore, store: Backend, effects: EndEffects, clock: Clock
    ) -> None:
        """Take the parts around it.

        Args:
            writer: Of the store.
            store: Repeats calls of the writer until the store answers.
            effects: The parts that take ends.
            clock: The time.
        """
        self._writer = writer
        self._store = store
        self._effects = effects
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: dict[int, Job] = {}
        self._writing: set[int] = set()
        self._stopped = False

    def progress(
        self,
        job: Job,
        state: JobState,
        *,
        decoded_token_count: int,
        task_results: dict[int, bytes],
    ) -> None:
        """Write how far a job is, soon."""
        with self._changed:
            update = job.unwritten
            update.state = state
            update.decoded_token_count = decoded_token_count
            update.task_results.update(task_results)
            self._enqueue(job, 0.0 if task_results else PROGRESS_PAUSE_S)

    def end(self, job: Job, outcome: JobOutcome) -> None:
        """Store the end of a job, then declare its delivery done."""
        with self._changed:
            job.stage = JobStage.ENDED
            job.unwritten.outcome = outcome
            self._enqueue(job, 0.0)

    def run(self) -> None:
        """Write updates until stopped: the body of each store thread."""
        while batch := self._next():
            try:
                self._write(batch)
            except AbandonedError:
                return
            finally:
                with self._changed:
                    self._writing.difference_update(job.serial for job, _ in batch)
                    self._changed.notify_all()

    def stop(self) -> None:
        """End the store threads; what they have not written is not done, and comes again."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _enqueue(self, job: Job, pause_s: float) -> None:
        self._waiting[job.serial] = job
        job.unwritten.due_s = min(job.unwritten.due_s, self._clock.monotonic_s() + pause_s)
        self._changed.notify()

    def _next(self) -> Sequence[tuple[Job, Unwritten]]:
        """Wait for updates that are due, and return them, the oldest first; none once stopped."""
        with self._changed:
            while not self._stopped:
                now_s = self._clock.monotonic_s()
                # One thread a job, so that its states arrive in order.
                free = sorted(
                    (job.unwritten.due_s, serial)
                    for serial, job in self._waiting.items()
                    if serial not in self._writing
                )
                due = [serial for due_s, serial in free[:_BATCH_MAX] if due_s <= now_s]
                if due:
                    return [self._take(serial) for serial in due]
                self._changed.wait(free[0][0] - now_s if free else None)
            return ()

    def _take(self, serial: int) -> tuple[Job, Unwritten]:
        self._writing.add(serial)
        job = self._waiting.pop(serial)
        update, job.unwritten = job.unwritten, Unwritten()
        return job, update

    def _write(self, batch: Sequence[tuple[Job, Unwritten]]) -> None:
        began_s = self._clock.monotonic_s()
        updates = [
            Update(job.attempt, one.state, one.decoded_token_count, one.task_results, one.outcome)
            for job, one in batch
        ]
        answers = self._store.insist(lambda: self._writer.write(updates))
        took_s = self._clock.monotonic_s() - began_s
        for (job, update), answer in zip(batch, answers, strict=True):
            if update.outcome is not None:
                self._after_end(job, update.outcome, answer, took_s)
            elif isinstance(answer, StoredJobError):
                # The end of the job meets the same error and deals with it.
                logger.debug("the progress of a job cannot be stored", extra=job.log_fields)
            # Whether to go on is ignored: the end of an old attempt is as good as that of the new
            # one and may come first, and stopping it would be an end as well. `CancellationPoll`
            # finds the jobs that a caller cancelled.

    def _after_end(
        self, job: Job, outcome: JobOutcome, answer: bool | StoredJobError, took_s: float
    ) -> None:
        if isinstance(answer, StoredJobError):
            self._effects.dead_letters.give_up(
                job.record, job.channel, answer, attempt_count=job.attempt.number
            )
        first = answer is True
        # The order of what follows matters. Done only after the outcome, or the dead letter, is
        # stored: a crash between the two costs a repeat, the other order would lose the job.
        job.done()
        past_stage(job.span, "store", took_s=took_s)
        # Then others may begin: a last chance waits until every attempt has left.
        self._effects.quarantine.leave(job.attempt)
        state = state_from_wire(outcome.state)
        if first:
            # DEBUG, because a line for each job costs as much as a small job.
            logger.debug("the job ended", extra={**job.log_fields, "state": state})
        else:
            logger.info("the job had ended before; this end is dropped", extra=job.log_fields)
        self._effects.metrics.count_end(job, outcome, state, first=first)
        if state is JobState.SUCCEEDED:
            self._effects.pace.done(job.record.predicted_cost)
        # Last, so that the span covers all of it.
        job.span.set_attribute("arno.state", state.value)
        job.span.end()
