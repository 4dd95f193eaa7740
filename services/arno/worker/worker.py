"""Assemble a worker from its parts and run it until it is told to leave."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from arno.bus.ports import Consumer, ConsumerStatistics, Publisher
from arno.engine.engine_loop import EngineLoop
from arno.engine.interface import Engine, EngineStatistics
from arno.errors import StoredJobError
from arno.ops.cpus import available_cpus
from arno.results.worker_store import WorkerStore
from arno.vocabulary import JobState
from arno.vocabulary.wire import state_from_wire
from arno.worker.cancellations import Cancellations
from arno.worker.clock import Clock
from arno.worker.crew import Crew
from arno.worker.dead_letters import DeadLetters
from arno.worker.desk import Desk
from arno.worker.intake import Intake
from arno.worker.pace import PaceReporter
from arno.worker.poll_loop import PollLoop
from arno.worker.prepare_queue import PrepareQueue
from arno.worker.presence import Presence
from arno.worker.publication import EndedJob, Publication
from arno.worker.quarantine import Quarantine
from arno.worker.retrying import AbandonedError, Backend
from arno.worker.settings import WorkerSettings
from arno.worker.taken_job import TakenJob
from arno.worker.tally import Tally, TallyCounts

logger = logging.getLogger(__name__)

_LEAVE_S: Final = 3.0
"""How long threads that were told to end may take; none waits for more than one call."""

_PREPARE_THREADS_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What a worker is made of.

    Attributes:
        engine: Loaded and warmed up.
        consumers: One a lane, by channel, so that no lane fills another's window; not started.
        writer: The result store.
        make_publisher: For dead letters.
    """

    engine: Engine
    consumers: Mapping[str, Consumer]
    writer: WorkerStore
    make_publisher: Callable[[], Publisher]


@dataclass(frozen=True, slots=True)
class WorkerStatistics:
    """A worker at one moment.

    Attributes:
        in_hand_count: Jobs with the engine.
        busy_s: Seconds that the engine spent in steps.
        store_failure_count: Calls that did not reach the store.
        tally: What became of jobs.
        engine: The engine's own numbers.
        consumers: Each consumer's own numbers, by channel.
    """

    in_hand_count: int
    busy_s: float
    store_failure_count: int
    tally: TallyCounts
    engine: EngineStatistics
    consumers: Mapping[str, ConsumerStatistics]


class Worker:
    """One engine and the threads around it. ``run`` once, on one thread; the rest from any."""

    def __init__(
        self,
        parts: WorkerParts,
        settings: WorkerSettings,
        *,
        clock: Clock | None = None,
        on_ended: Callable[[EndedJob], None] = lambda ended: None,
    ) -> None:
        """Assemble; no thread runs and nothing is connected before ``run``.

        Args:
            parts: Engine, bus and store.
            settings: The worker's settings.
            clock: The time.
            on_ended: Is told of every stored end, on a store thread.
        """
        self._parts, self._settings = parts, settings
        self._clock = clock or Clock()
        self._on_ended = on_ended
        self._stop = threading.Event()
        self._abandon = threading.Event()
        self._store = Backend("the result store", self._abandon)
        self._tally = Tally()
        self._crew = Crew(self._fail)
        self._quarantine = Quarantine(deaths_max=settings.attempts_max)
        # Joining must end with the stop; what is in hand is kept until the drain is over.
        joining = Backend("the bus", self._stop)
        self._dead_letters = DeadLetters(
            parts.make_publisher, Backend("the dead letters' bus", self._abandon)
        )
        self._waiting = PrepareQueue(self._clock)
        self._prepare_thread_count = settings.prepare_threads or min(
            available_cpus(), _PREPARE_THREADS_MAX
        )
        self._publication = Publication(
            parts.writer, self._store, on_ended=self._ended, on_refused=self._refused
        )
        self._desk = Desk(
            parts.engine,
            self._publication,
            clock=self._clock,
            token_interval_s=settings.token_progress_s,
        )
        self._loop = EngineLoop(parts.engine, on_events=self._desk.note)
        self._desk.connect(self._loop)
        self._cancellations = Cancellations(
            parts.writer,
            interval_s=settings.cancel_poll_s,
            in_hand=self._desk.job_ids,
            cancel=self._desk.cancel,
        )
        self._presence = Presence(parts.writer, claim_timeout_s=settings.claim_timeout_s)
        self._pace = PaceReporter(parts.writer, self._clock, waiting=self._work_waits)
        self._intake = self._make_intake()
        self._polls = {
            channel: PollLoop(
                consumer,
                joining,
                take=self._waiting.put,
                stop=self._stop,
                drain_s=settings.drain_s,
                before_leaving=self._confess,
            )
            for channel, consumer in parts.consumers.items()
        }

    def run(self) -> bool:
        """Work until ``stop``, drain, leave; say whether everything in hand was finished.

        Raises:
            RuntimeError: A thread died; the process must end.
        """
        self._start_threads()
        polls = [
            self._crew.start(f"poll-{channel}", poll.run) for channel, poll in self._polls.items()
        ]
        logger.info("takes jobs from %s", ", ".join(self._polls))
        self._stop.wait()
        logger.info("drains for at most %g s", self._settings.drain_s)
        for poll in polls:
            poll.join()
        self._leave()
        if self._crew.failure is not None:
            raise RuntimeError("a thread of the worker died") from self._crew.failure
        drained = all(poll.drained for poll in self._polls.values())
        logger.info("left; everything in hand was %s", "finished" if drained else "handed back")
        return drained

    def stop(self) -> None:
        """Take no more jobs, finish what is in hand, leave. Safe in a signal handler."""
        self._stop.set()

    def not_ready(self) -> list[str]:
        """Return why no work should come here."""
        reasons = [f"not joined: {channel}" for channel, p in self._polls.items() if not p.joined]
        if self._stop.is_set():
            reasons.append("draining")
        if not self._store.available:
            reasons.append("the result store is away")
        return reasons

    def not_alive(self) -> list[str]:
        """Return why this process must be restarted."""
        age_s = self._loop.step_age_s()
        stalled = age_s > self._settings.step_stall_s
        return [f"the engine has been in one step for {age_s:.0f} s"] if stalled else []

    def statistics(self) -> WorkerStatistics:
        """Return the numbers of this moment."""
        return WorkerStatistics(
            in_hand_count=len(self._desk.job_ids()),
            busy_s=self._loop.busy_s,
            store_failure_count=self._store.failure_count,
            tally=self._tally.counts(),
            engine=self._parts.engine.statistics(),
            consumers={name: poll.consumer.statistics() for name, poll in self._polls.items()},
        )

    def _make_intake(self) -> Intake:
        return Intake(
            engine=self._parts.engine,
            writer=self._parts.writer,
            store=self._store,
            quarantine=self._quarantine,
            dead_letters=self._dead_letters,
            publication=self._publication,
            accept=self._desk.accept,
            clock=self._clock,
            tally=self._tally,
        )

    def _start_threads(self) -> None:
        self._presence.start()
        self._dead_letters.start()
        self._crew.start("engine", self._loop.run)
        self._crew.start("desk", self._desk.run)
        self._crew.start("cancellations", self._cancellations.run)
        self._crew.start("pace", self._pace.run)
        for n in range(self._settings.store_threads):
            self._crew.start(f"store-{n}", self._publication.run)
        for n in range(self._prepare_thread_count):
            self._crew.start(f"prepare-{n}", self._take_deliveries)

    def _take_deliveries(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            try:
                self._intake.take(waiting.delivery, waiting.done)
            except AbandonedError:
                return

    def _refused(self, job: TakenJob, error: StoredJobError) -> None:
        self._intake.bury(job.record, job.channel, error, attempt_count=job.attempt.number)

    def _ended(self, ended: EndedJob) -> None:
        self._quarantine.leave(ended.job.attempt)
        state = state_from_wire(ended.outcome.state)
        self._tally.count_ended(state, first=ended.first)
        if state is JobState.SUCCEEDED:
            self._pace.done(ended.job.record.predicted_cost)
        ended.job.span.set_attribute("arno.state", state.value)
        ended.job.span.end()
        self._on_ended(ended)

    def _work_waits(self) -> bool:
        return len(self._waiting) > 0 or self._parts.engine.statistics().waiting_count > 0

    def _confess(self) -> None:
        # A step that never ends is a death at what is in hand: handed back as if nothing were
        # wrong, it would stall one worker after the other.
        if self.not_alive():
            self._presence.die()

    def _fail(self) -> None:
        # First, since what was in hand goes to others as soon as the polls end.
        self._presence.die()
        for poll in self._polls.values():
            poll.hurry()
        self._stop.set()

    def _leave(self) -> None:
        self._abandon.set()
        self._dead_letters.abandon()
        self._quarantine.stop()
        self._waiting.stop(self._prepare_thread_count)
        self._cancellations.stop()
        self._pace.stop()
        self._loop.stop()
        self._desk.stop()
        self._publication.stop()
        stuck = self._crew.join(_LEAVE_S)
        if stuck:
            logger.warning("threads that did not end in time: %s", ", ".join(stuck))
        self._presence.leave()
        self._dead_letters.close()
