"""One subscription: take ends from the outbox, deliver their events, give up those that are old.

Deliveries of a subscription overlap and have no order. A receiver that does not answer holds up
its own subscription and no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import Final

from arno.api.v1.events_pb2 import ResultEvent
from arno.errors import BackendUnavailableError
from arno.notify.events import result_event
from arno.notify.metrics import NotifyMetrics
from arno.notify.settings import Subscription
from arno.notify.targets import Target, UndeliveredError
from arno.ops.cancellation import raise_if_cancelled
from arno.ops.clock import SYSTEM_CLOCK, Clock
from arno.results.outbox import Ended, Outbox

logger = logging.getLogger(__name__)

_BLOCK_S: Final = 1.0
_FAULT_PAUSE_S: Final = 1.0
_PAUSE_S_MIN: Final = 1.0


class Deliverer:
    """Delivers the events of one subscription. Lives in one asyncio loop."""

    def __init__(
        self,
        subscription: Subscription,
        outbox: Outbox,
        target: Target,
        metrics: NotifyMetrics,
        *,
        silence_s: float,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Take the parts.

        Args:
            subscription: The receiver, and the events that it gets.
            outbox: Of the store.
            target: Takes the events.
            metrics: Of the process.
            silence_s: After it an entry is taken from a process that has not renewed it.
            clock: Tells how old an event is.
        """
        self._subscription = subscription
        self._outbox = outbox
        self._target = target
        self._metrics = metrics
        self._silence_s = silence_s
        # The entry is renewed after each pause, so that no other process takes it over.
        self._pause_s_max = silence_s / 3
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._take_over_due_s = 0.0
        self.problem = "starts"
        """What keeps it from reading the outbox; empty where nothing does."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until stopped; what is in flight then is taken over by the next process."""
        try:
            while not stop.is_set():
                try:
                    await self._take_some()
                    self.problem = ""
                except BackendUnavailableError as error:
                    if self.problem != error.message:
                        logger.warning("%s: %s", self._subscription.name, error.message)
                    self.problem = error.message
                    await asyncio.sleep(_FAULT_PAUSE_S)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take_some(self) -> None:
        name = self._subscription.name
        if self.problem:
            # Also after an outage: a Redis that came back empty has no group.
            await self._outbox.subscribe(name)
        free = self._subscription.in_flight - len(self._tasks)
        if free <= 0:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED, timeout=_BLOCK_S)
            return
        now_s = self._clock.monotonic_s()
        entries: list[Ended] = []
        if now_s >= self._take_over_due_s:
            self._take_over_due_s = now_s + self._silence_s / 3
            entries = await self._outbox.take_over(name, free, silence_s=self._silence_s)
        if not entries:
            entries = await self._outbox.take(name, free, block_s=_BLOCK_S)
        for entry in entries:
            task = asyncio.create_task(self._handle(entry))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _handle(self, entry: Ended) -> None:
        name = self._subscription.name
        try:
            await self._finish(entry)
        except asyncio.CancelledError:
            # We leave: the next process need not wait until this one counts as silent.
            with contextlib.suppress(BackendUnavailableError):
                await self._outbox.release(name, entry, silence_s=self._silence_s)
            raise
        except BackendUnavailableError as error:
            # It stays in the outbox, and is taken over after the time of silence.
            logger.warning("%s: %s", name, error.message)
        except Exception as error:
            logger.exception("%s: the event of %s failed", name, entry.job_id)
            # Taken over after the time of silence, as others of its kind are, but not for ever.
            with contextlib.suppress(BackendUnavailableError):
                if await self._gives_up(entry, error):
                    await self._done(entry, "undelivered")

    async def _finish(self, entry: Ended) -> None:
        job = await self._outbox.job(entry)
        outcome = None
        if job is None:
            outcome = "gone"
        elif self._subscription.wants(job.tenant, job.state, job.notify):
            outcome = await self._deliver(entry, result_event(job))
        await self._done(entry, outcome)

    async def _done(self, entry: Ended, outcome: str | None) -> None:
        name = self._subscription.name
        if outcome is not None:
            self._metrics.events.labels(name, outcome).inc()
        await self._outbox.done(name, entry)

    async def _deliver(self, entry: Ended, event: ResultEvent) -> str:
        """Return ``delivered``, or ``undelivered`` once the event is given up."""
        subscription, pause_s = self._subscription, _PAUSE_S_MIN
        while True:
            raise_if_cancelled()
            try:
                await self._target.deliver(event)
            except UndeliveredError as error:
                if await self._gives_up(entry, error, final=error.final):
                    return "undelivered"
                logger.info("%s: job %s: %s", subscription.name, entry.job_id, error)
                delay_s = min(max(pause_s, error.retry_after_s), self._pause_s_max)
                await asyncio.sleep(delay_s * random.uniform(0.8, 1.0))  # noqa: S311
                pause_s *= 2
                await self._outbox.renew(subscription.name, entry)
            else:
                return "delivered"

    async def _gives_up(self, entry: Ended, error: Exception, *, final: bool = False) -> bool:
        """Count a failed attempt; return whether it was the last, and the event is kept apart."""
        subscription = self._subscription
        self._metrics.retries.labels(subscription.name).inc()
        age_s = self._clock.wall_ms() / 1000 - entry.ended_at_ms / 1000
        if not final and age_s < subscription.give_up_s:
            return False
        reason = str(error) or type(error).__name__
        logger.error(
            "%s: the event of job %s is given up after %.0f s: %s",
            *(subscription.name, entry.job_id, age_s, reason),
        )
        await self._outbox.give_up(subscription.name, entry, reason)
        return True
