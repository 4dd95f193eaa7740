"""Write progress and ends of jobs to the store; only then is a delivery done.

What waits is one update a job: newer progress replaces older, an end replaces both. So a store that
is slow or away costs memory for the jobs in hand and no more, and the newest truth is what it gets.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from arno.bus.v1.records_pb2 import JobOutcome
from arno.errors import StoredJobError
from arno.results.worker_store import WorkerStore
from arno.vocabulary import JobState
from arno.vocabulary.wire import state_from_wire
from arno.worker.retrying import AbandonedError, Backend
from arno.worker.taken_job import TakenJob

logger = logging.getLogger(__name__)

PROGRESS_PAUSE_S: Final = 0.02
"""How long mere progress waits for what comes next: on a quick engine that is the end, and nobody
missed anything. Results of tasks never wait."""


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job whose end is stored.

    Attributes:
        job: The job.
        outcome: How it ended.
        first: Whether this end is the one that counts.
    """

    job: TakenJob
    outcome: JobOutcome
    first: bool


@dataclass(slots=True)
class _Update:
    job: TakenJob
    state: JobState
    decoded_token_count: int = 0
    task_results: dict[int, bytes] = field(default_factory=dict)
    outcome: JobOutcome | None = None
    due_s: float = math.inf


class Publication:
    """The jobs whose store entry is behind. Any thread fills it, the store threads empty it."""

    def __init__(
        self,
        writer: WorkerStore,
        store: Backend,
        *,
        on_ended: Callable[[EndedJob], None],
        on_refused: Callable[[TakenJob, StoredJobError], None] = lambda job, error: None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the store and whom to tell.

        Args:
            writer: Of the store.
            store: For insisting on it.
            on_ended: Is told that an end is stored and its delivery done.
            on_refused: Is told, before its delivery is done, of a job whose end cannot be stored.
            monotonic_s: A clock.
        """
        self._on_refused = on_refused
        self._monotonic_s = monotonic_s
        self._writer = writer
        self._store = store
        self._on_ended = on_ended
        self._changed = threading.Condition()
        self._waiting: dict[str, _Update] = {}
        self._writing: set[str] = set()
        self._stopped = False

    def progress(
        self,
        job: TakenJob,
        state: JobState,
        *,
        decoded_token_count: int,
        task_results: dict[int, bytes],
    ) -> None:
        """Let the store know how a job stands, soon."""
        with self._changed:
            update = self._waiting.setdefault(job.key, _Update(job, state))
            update.state = state
            update.decoded_token_count = decoded_token_count
            update.task_results.update(task_results)
            pause_s = 0.0 if task_results else PROGRESS_PAUSE_S
            self._let_go(update, pause_s)

    def end(self, job: TakenJob, outcome: JobOutcome) -> None:
        """Store the end of a job, then declare its delivery done."""
        with self._changed:
            update = self._waiting.setdefault(job.key, _Update(job, JobState.DECODING))
            update.outcome = outcome
            self._let_go(update, 0.0)

    def run(self) -> None:
        """Write updates until stopped: the body of each store thread."""
        while (update := self._next()) is not None:
            try:
                self._write(update)
            except AbandonedError:
                return
            finally:
                with self._changed:
                    self._writing.discard(update.job.key)
                    self._changed.notify_all()

    def stop(self) -> None:
        """Let the store threads end; what they have not written is not done and comes again."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _let_go(self, update: _Update, pause_s: float) -> None:
        update.due_s = min(update.due_s, self._monotonic_s() + pause_s)
        self._changed.notify()

    def _next(self) -> _Update | None:
        with self._changed:
            while not self._stopped:
                now_s = self._monotonic_s()
                # One thread a job, so that its states arrive in order.
                free = {
                    key: update.due_s
                    for key, update in self._waiting.items()
                    if key not in self._writing
                }
                key = min(free, key=lambda name: free[name], default=None)
                if key is not None and free[key] <= now_s:
                    self._writing.add(key)
                    return self._waiting.pop(key)
                self._changed.wait(None if key is None else free[key] - now_s)
            return None

    def _write(self, update: _Update) -> None:
        if update.outcome is None:
            self._write_progress(update)
        else:
            self._write_end(update.job, update.outcome)

    def _write_progress(self, update: _Update) -> None:
        # Whether to go on is not asked here: the end of an old attempt is as good as that of the
        # new one and may come first, and stopping it would be an end as well. For those whom
        # somebody asked to stop, `Cancellations` looks.
        try:
            self._store.insist(
                lambda: self._writer.progress(
                    update.job.attempt,
                    update.state,
                    decoded_token_count=update.decoded_token_count,
                    task_results=update.task_results,
                )
            )
        except StoredJobError:
            # Its end will tell.
            logger.debug("the progress of a job cannot be stored", extra=update.job.log_fields)

    def _write_end(self, job: TakenJob, outcome: JobOutcome) -> None:
        try:
            first = self._store.insist(lambda: self._writer.finish(job.attempt, outcome))
        except StoredJobError as error:
            self._on_refused(job, error)
            first = False
        # Done only after the outcome is stored: a crash between the two costs a repeat, the other
        # order would lose the job.
        job.done()
        if first:
            # One line a job is for who looks for one: it costs what a small job costs.
            state = state_from_wire(outcome.state)
            logger.debug("the job ended", extra={**job.log_fields, "state": state})
        else:
            logger.info("the job had ended before; this end is dropped", extra=job.log_fields)
        self._on_ended(EndedJob(job, outcome, first))
