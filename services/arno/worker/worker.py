"""Assemble a worker from its parts, and run it until it is asked to leave."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from arno.bus.ports import Consumer, Publisher
from arno.engine.engine_loop import EngineLoop
from arno.engine.interface import Engine
from arno.ops.clock import StoreClock
from arno.ops.process_limits import available_cpus
from arno.ops.signals import SignalEvent
from arno.results.worker_store import WorkerStore
from arno.worker.dead_letters import DeadLetterPublisher
from arno.worker.heartbeat import Heartbeat
from arno.worker.intake import Intake, PrepareClock
from arno.worker.job import model_to_wire
from arno.worker.job_table import CancellationPoll, JobTable, Messages
from arno.worker.metrics import Readings, WorkerMetrics
from arno.worker.pace import PaceReporter
from arno.worker.poll_loop import PollLoop
from arno.worker.prepare_queue import Pace, PreparePlan, PrepareQueue
from arno.worker.quarantine import Quarantine
from arno.worker.result_writer import EndEffects, ResultWriter
from arno.worker.retrying import AbandonedError, Backend
from arno.worker.settings import WorkerSettings
from arno.worker.threads import ThreadGroup

logger = logging.getLogger(__name__)

LEAVE_S: Final = 3.0
"""How long threads may take to end once they were asked to; none waits for more than one call."""

_PREPARE_THREADS_MAX: Final = 16
_SLOW_THREADS_MIN: Final = 2
"""So that one tenant's large images leave a thread to another's."""


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """The parts that a worker is made of.

    Attributes:
        engine: Loaded and warmed up.
        consumers: One a lane, by channel, so that no lane fills another's window; not started.
        writer: The result store.
        make_publisher: Makes the publisher of dead letters.
        metrics: Counts what happens.
    """

    engine: Engine
    consumers: Mapping[str, Consumer]
    writer: WorkerStore
    make_publisher: Callable[[], Publisher]
    metrics: WorkerMetrics


class Worker:
    """One engine and the threads around it. ``run`` once, on one thread; the rest from any.

    A job passes through: a poll thread (`PollLoop`), a prepare thread (`Intake`), the table's
    thread (`JobTable`), beside which the engine's thread steps (`EngineLoop`), and a store thread
    (`ResultWriter`). Between two of them stands a queue.
    """

    def __init__(
        self, parts: WorkerParts, settings: WorkerSettings, *, clock: StoreClock | None = None
    ) -> None:
        """Assemble; no thread runs and nothing is connected before ``run``."""
        self._settings = settings
        clock = clock or StoreClock()
        # The main thread waits for the first, and only its handler of signals sets it there.
        self._leave_asked = SignalEvent()
        self._stop, self._abandon = threading.Event(), threading.Event()
        self._engine, self._metrics = parts.engine, parts.metrics
        self._threads = ThreadGroup(self._fail)
        failures = parts.metrics.store_failures
        self._store = Backend("the result store", self._abandon, failures)
        self._quarantine = Quarantine(deaths_max=settings.attempts_max)
        self._heartbeat = Heartbeat(parts.writer, clock, claim_timeout_s=settings.claim_timeout_s)
        dead_letter_bus = Backend("the dead letters' bus", self._abandon)
        self._dead_letters = DeadLetterPublisher(
            parts.make_publisher, dead_letter_bus, parts.metrics, clock
        )
        self._prepare_plan = prepare_plan(settings)
        self._prepare_queue = PrepareQueue(clock, self._prepare_plan)
        self._pace = PaceReporter(
            parts.writer, clock, waiting=self._work_waits, model=model_to_wire(parts.engine.card)
        )
        effects = EndEffects(self._quarantine, self._pace, parts.metrics, self._dead_letters)
        self._results = ResultWriter(parts.writer, self._store, effects, clock)
        self._messages: Messages = queue.SimpleQueue()
        self._loop = EngineLoop(parts.engine, clock=clock, on_events=self._messages.put)
        self._table = JobTable(
            parts.engine,
            self._loop,
            self._results,
            self._messages,
            clock=clock,
            token_interval_s=settings.token_progress_s,
        )
        self._cancellations = CancellationPoll(
            parts.writer, self._table, self._messages, interval_s=settings.cancel_poll_s
        )
        self._preparing = PrepareClock(clock)
        self._intake = Intake(
            engine=parts.engine,
            writer=parts.writer,
            store=self._store,
            quarantine=self._quarantine,
            dead_letters=self._dead_letters,
            results=self._results,
            prepared=self._messages,
            clock=clock,
            metrics=parts.metrics,
            preparing=self._preparing,
        )
        self._polls = self._make_polls(parts.consumers)

    def run(self) -> bool:
        """Work until ``stop``, drain, leave; return whether every job in flight was finished.

        Raises:
            RuntimeError: A thread died; the process must end.
        """
        self._metrics.follow(self._readings())
        self._start_threads()
        polls = [
            self._threads.start(f"poll-{channel}", partial(self._poll, poll))
            for channel, poll in self._polls.items()
        ]
        logger.info("takes jobs from %s", ", ".join(self._polls))
        self._leave_asked.wait()
        logger.info("drains for at most %g s", self._settings.drain_s)
        for thread in polls:
            thread.join()
        self._leave()
        if self._threads.failure is not None:
            raise RuntimeError("a thread of the worker died") from self._threads.failure
        drained = all(poll.drained for poll in self._polls.values())
        logger.info("left; every job in flight was %s", "finished" if drained else "handed back")
        return drained

    def stop(self) -> None:
        """Take no more jobs, finish those in flight, leave. Safe in a signal handler."""
        # Its lock is free here: the main thread, which a signal interrupts, never waits for it.
        self._stop.set()
        self._leave_asked.set()

    def job_ids(self) -> list[str]:
        """Return the ids of the jobs that are with the engine."""
        return self._table.job_ids()

    def not_ready(self) -> list[str]:
        """Return the reasons why no work should come here."""
        reasons = [f"not joined: {channel}" for channel, p in self._polls.items() if not p.joined]
        if self._stop.is_set():
            reasons.append("draining")
        return reasons

    def problems(self) -> list[str]:
        """Return what keeps jobs from ending though work may come here."""
        return [] if self._store.available else ["the result store is away"]

    def not_alive(self) -> list[str]:
        """Return the reasons why this process must be restarted."""
        ages_s = {
            "the engine has been in one step": self._loop.step_age_s(),
            "an image has been in preparation": self._preparing.oldest_age_s(),
        }
        limit_s = self._settings.step_stall_s
        return [f"{what} for {age_s:.0f} s" for what, age_s in ages_s.items() if age_s > limit_s]

    def _readings(self) -> Readings:
        return Readings(
            busy_s=lambda: self._loop.busy_s,
            running_jobs=self._table.__len__,
            engine=self._engine.statistics,
            store_up=lambda: self._store.available,
            consumers={name: poll.consumer.statistics for name, poll in self._polls.items()},
        )

    def _make_polls(self, consumers: Mapping[str, Consumer]) -> Mapping[str, PollLoop]:
        # Joining ends with the stop; jobs in flight are kept until the drain is over.
        bus = Backend("the bus", self._stop)
        return {
            channel: PollLoop(
                consumer,
                bus,
                jobs=self._prepare_queue,
                stop=self._stop,
                drain_s=self._settings.drain_s,
            )
            for channel, consumer in consumers.items()
        }

    def _start_threads(self) -> None:
        self._heartbeat.start()
        self._dead_letters.start()
        self._threads.start("engine", self._loop.run)
        self._threads.start("table", self._table.run)
        self._threads.start("cancellations", self._cancellations.run)
        self._threads.start("pace", self._pace.run)
        for n in range(self._settings.store_threads):
            self._threads.start(f"store-{n}", self._results.run)
        for n in range(self._prepare_plan.quick_count):
            self._threads.start(f"prepare-{n}", partial(self._take_jobs, Pace.QUICK))
        for n in range(self._prepare_plan.slow_count):
            self._threads.start(f"prepare-slow-{n}", partial(self._take_jobs, Pace.SLOW))

    def _poll(self, poll: PollLoop) -> None:
        try:
            poll.run()
        finally:
            # Before others can get the jobs in flight: work that never ends is a death at them.
            # Handed back without that report, they would stall one worker after the other.
            if self.not_alive():
                self._heartbeat.report_stall_as_death()
            poll.close()

    def _take_jobs(self, pace: Pace) -> None:
        while (job := self._prepare_queue.get(pace)) is not None:
            # Of the processor: no tenant is charged for a store that is away.
            began_s = time.thread_time()
            try:
                self._intake.take(job)
            except AbandonedError:
                return
            self._prepare_queue.done(job, took_s=time.thread_time() - began_s)

    def _work_waits(self) -> bool:
        return len(self._prepare_queue) > 0 or self._engine.statistics().waiting_count > 0

    def _fail(self) -> None:
        # First, since the jobs in flight go to others as soon as the polls end.
        self._heartbeat.report_stall_as_death()
        for poll in self._polls.values():
            poll.hurry()
        self.stop()

    def _leave(self) -> None:
        self._abandon.set()
        self._dead_letters.abandon()
        self._quarantine.stop()
        self._prepare_queue.stop()
        self._cancellations.stop()
        self._pace.stop()
        self._loop.stop()
        self._messages.put(None)
        self._results.stop()
        stuck = self._threads.join(LEAVE_S)
        if stuck:
            logger.warning("threads that did not end in time: %s", ", ".join(stuck))
        self._heartbeat.leave()
        self._dead_letters.close()


def prepare_plan(settings: WorkerSettings) -> PreparePlan:
    """Return how the preparation of images is shared."""
    count = settings.prepare_threads or min(available_cpus(), _PREPARE_THREADS_MAX)
    return PreparePlan(
        quick_count=count,
        slow_count=max(_SLOW_THREADS_MIN, count),
        pixels_max=settings.image_pixels_in_flight_max,
        tenant_share=settings.tenant_prepare_share,
    )
