"""Own the jobs in hand: what may run next, what each event of the engine means, when a job ends."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from arno.batching import AnswerLengths
from arno.engine.engine_loop import EngineLoop
from arno.engine.interface import Engine, Event, PreparedImage, SequenceFinished, SequenceRequest
from arno.errors import ArnoError, CancelledError, EngineError
from arno.vocabulary import EXPECTED_TOKENS, JobState
from arno.worker.clock import Clock
from arno.worker.job_run import JobRun
from arno.worker.outcomes import build_outcome
from arno.worker.publication import Publication
from arno.worker.taken_job import PreparedJob, TakenJob
from arno.worker.task_run import PlannedSequence
from arno.worker.timings import StageTimes

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _JobInHand:
    job: TakenJob
    image: PreparedImage
    run: JobRun
    published_state: JobState | None = None
    published_at_s: float = 0.0
    owned: set[str] = field(default_factory=set)

    def sequence_id(self, result_id: str) -> str:
        return f"{self.job.key}/{result_id}"

    def result_id(self, sequence_id: str) -> str:
        return sequence_id.removeprefix(f"{self.job.key}/")


@dataclass(frozen=True, slots=True)
class _Cancelled:
    job_ids: frozenset[str]


_Message: TypeAlias = "PreparedJob | Sequence[Event] | _Cancelled | None"


class Desk:
    """The table of jobs in hand, and the thread that owns it. Messages come from any thread."""

    def __init__(
        self, engine: Engine, publication: Publication, *, clock: Clock, token_interval_s: float
    ) -> None:
        """Take the parts around the desk.

        Args:
            engine: For its card and vocabulary only; ``connect`` gives the loop that runs it.
            publication: Where progress and ends go.
            clock: The time.
            token_interval_s: How often token counts are published; everything else goes at once.
        """
        self._engine = engine
        self._publication = publication
        self._clock = clock
        self._token_interval_s = token_interval_s
        self._messages: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._jobs: dict[str, _JobInHand] = {}
        self._owners: dict[str, _JobInHand] = {}
        self._lengths = AnswerLengths(EXPECTED_TOKENS)
        self._looking = threading.Lock()
        self._loop: EngineLoop | None = None

    def connect(self, loop: EngineLoop) -> None:
        """Take the loop that runs the sequences; before ``run``."""
        self._loop = loop

    def accept(self, prepared: PreparedJob) -> None:
        """Put a job in hand."""
        self._messages.put(prepared)

    def note(self, events: Sequence[Event]) -> None:
        """Take what the engine told."""
        self._messages.put(events)

    def cancel(self, job_ids: set[str]) -> None:
        """Stop these jobs, as far as they are in hand."""
        self._messages.put(_Cancelled(frozenset(job_ids)))

    def stop(self) -> None:
        """Let the thread end."""
        self._messages.put(None)

    def job_ids(self) -> list[str]:
        """Return the ids of the jobs in hand."""
        with self._looking:
            return [in_hand.job.record.id for in_hand in self._jobs.values()]

    def run(self) -> None:
        """Handle messages until stopped: the body of a thread."""
        while (message := self._messages.get()) is not None:
            match message:
                case PreparedJob():
                    self._start(message)
                case _Cancelled(job_ids):
                    self._cancel(job_ids)
                case events:
                    self._advance(events)

    def _start(self, prepared: PreparedJob) -> None:
        job, image = prepared.job, prepared.image
        run = JobRun(
            job.record.tasks,
            size=image.size,
            token_table=self._engine.token_table,
            times=StageTimes(job.queue_s, image.prepare_s),
            lengths=self._lengths,
        )
        in_hand = _JobInHand(job, image, run)
        with self._looking:
            self._jobs[job.key] = in_hand
        self._guarded(in_hand, partial(self._go_on, in_hand))

    def _advance(self, events: Sequence[Event]) -> None:
        touched: dict[str, _JobInHand] = {}
        for event in events:
            # A job that has failed as a whole leaves sequences behind, which end unheard.
            in_hand = self._owners.get(event.sequence_id)
            if in_hand is not None:
                touched[in_hand.job.key] = in_hand
                self._guarded(in_hand, partial(self._apply, in_hand, event))
        for in_hand in touched.values():
            self._guarded(in_hand, partial(self._go_on, in_hand))

    def _apply(self, in_hand: _JobInHand, event: Event) -> None:
        result_id = in_hand.result_id(event.sequence_id)
        if isinstance(event, SequenceFinished):
            self._disown(event.sequence_id)
            in_hand.run.finished(result_id, event)
        else:
            in_hand.run.progressed(result_id, encoded=event.encoded, token_count=event.token_count)

    def _cancel(self, job_ids: frozenset[str]) -> None:
        for in_hand in list(self._jobs.values()):
            if in_hand.job.record.id in job_ids:
                in_hand.run.stop(CancelledError("the job was cancelled before this task began"))
                self._engines_loop.cancel(in_hand.owned)

    def _go_on(self, in_hand: _JobInHand) -> None:
        planned = in_hand.run.plan()
        self._submit(in_hand, planned)
        if in_hand.run.ended:
            self._end(in_hand, in_hand.run.state, in_hand.run.error)
        else:
            self._publish_progress(in_hand)

    def _submit(self, in_hand: _JobInHand, planned: Sequence[PlannedSequence]) -> None:
        requests = [self._request(in_hand, sequence) for sequence in planned]
        for request in requests:
            self._owners[request.sequence_id] = in_hand
            in_hand.owned.add(request.sequence_id)
        if requests:
            self._engines_loop.submit(requests)

    def _request(self, in_hand: _JobInHand, planned: PlannedSequence) -> SequenceRequest:
        record = in_hand.job.record
        return SequenceRequest(
            sequence_id=in_hand.sequence_id(planned.result_id),
            image=in_hand.image,
            prompt=planned.prompt,
            options=planned.options,
            deadline_s=in_hand.job.deadline_s,
            lane=in_hand.job.lane,
            tenant=record.tenant,
            expected_token_count=planned.expected_token_count,
            constraint=planned.constraint,
        )

    def _publish_progress(self, in_hand: _JobInHand) -> None:
        results = in_hand.run.take_new_results()
        state, now_s = in_hand.run.state, self._clock.monotonic_s()
        news = bool(results) or state is not in_hand.published_state
        if not news and now_s - in_hand.published_at_s < self._token_interval_s:
            return
        in_hand.published_state, in_hand.published_at_s = state, now_s
        self._publication.progress(
            in_hand.job,
            state,
            decoded_token_count=in_hand.run.decoded_token_count,
            task_results=results,
        )

    def _end(self, in_hand: _JobInHand, state: JobState, error: ArnoError | None) -> None:
        for sequence_id in list(in_hand.owned):
            self._disown(sequence_id)
        with self._looking:
            del self._jobs[in_hand.job.key]
        outcome = build_outcome(
            in_hand.job.record,
            state,
            card=self._engine.card,
            ended_at_ms=self._clock.wall_ms(),
            results=in_hand.run.results,
            error=error,
        )
        self._publication.end(in_hand.job, outcome)

    def _guarded(self, in_hand: _JobInHand, act: Callable[[], None]) -> None:
        if in_hand.job.key not in self._jobs:
            return
        try:
            act()
        except Exception:
            # A fault of ours in one job must not take its neighbours along.
            logger.exception("a job failed inside the worker", extra=in_hand.job.log_fields)
            self._engines_loop.cancel(list(in_hand.owned))
            self._end(in_hand, JobState.FAILED, EngineError("the worker failed on this job"))

    def _disown(self, sequence_id: str) -> None:
        in_hand = self._owners.pop(sequence_id)
        in_hand.owned.discard(sequence_id)

    @property
    def _engines_loop(self) -> EngineLoop:
        if self._loop is None:
            raise RuntimeError("the desk is not connected to an engine loop")
        return self._loop
