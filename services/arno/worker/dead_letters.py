"""Publish records that were given up to the dead channel, where operators read and replay them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Final

from arno.bus.ports import DEAD_LETTERS, Delivery, Publisher, Record
from arno.bus.v1.records_pb2 import DeadJob, JobRecord
from arno.errors import (
    ArnoError,
    BackendUnavailableError,
    ConfigurationError,
    LimitExceededError,
    OverloadedError,
)
from arno.ops.clock import Clock
from arno.vocabulary.wire_results import error_to_wire
from arno.worker.metrics import WorkerMetrics
from arno.worker.retrying import AbandonedError, Backend

logger = logging.getLogger(__name__)

_PUBLISH_TIMEOUT_S: Final = 45.0
"""Longer than any bus keeps a record that it could not send (Kafka's client: 30 s). A dead
letter that is sent again while its first copy still waits is there twice when the bus is back."""


class DeadLetterPublisher:
    """The channel of dead letters, for any thread: its own event loop runs the publisher."""

    def __init__(
        self,
        make_publisher: Callable[[], Publisher],
        bus: Backend,
        metrics: WorkerMetrics,
        clock: Clock,
    ) -> None:
        """Take the parts around it.

        Args:
            make_publisher: Called in the loop, since a publisher lives in the loop that made it.
            bus: Repeats a publication until the bus answers.
            metrics: Counts dead letters.
            clock: The time.
        """
        self._make_publisher = make_publisher
        self._bus = bus
        self._metrics = metrics
        self._clock = clock
        self._publisher: Publisher | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="dead-letters", daemon=True
        )
        self._starting = threading.Lock()
        self._sending: Future[None] | None = None
        self._abandoned = False

    def start(self) -> None:
        """Run the loop; the bus is asked only when there is something to publish."""
        self._thread.start()

    def give_up(
        self, record: JobRecord, channel: str, error: ArnoError, *, attempt_count: int
    ) -> None:
        """Publish the dead letter of a job.

        Call it before the job's end is stored and its delivery done: a crash between the two costs
        a second dead letter, the other order would lose the only one.

        Raises:
            AbandonedError: The process leaves; the job is still on the bus, and will come again.
        """
        logger.error("a job was given up: %s", error, extra={"job_id": record.id})
        self._give_up(DeadJob(job=record, attempt_count=attempt_count, channel=channel), error)

    def give_up_unreadable(self, delivery: Delivery, error: ArnoError) -> None:
        """Publish the dead letter of a record that is no job.

        Raises:
            AbandonedError: The process leaves; the record is still on the bus.
        """
        receipt, channel = delivery.receipt, delivery.record.channel
        place = {
            "channel": channel,
            "partition": receipt.partition,
            "offset": receipt.position,
        }
        logger.error("a record was given up: %s", error, extra=place)
        self._give_up(DeadJob(unreadable_value=delivery.record.value, channel=channel), error)

    def _give_up(self, dead: DeadJob, error: ArnoError) -> None:
        dead.error.CopyFrom(error_to_wire(error))
        dead.died_at_ms = self._clock.wall_ms()
        self.publish(dead)
        self._metrics.dead_letters.labels(error.reason).inc()

    def publish(self, dead: DeadJob) -> None:
        """Return once the bus has the record, however long that takes.

        Raises:
            AbandonedError: The process leaves; the job is still on the bus, and will come again.
        """
        try:
            self._bus.insist(lambda: self._publish_once(dead))
        except LimitExceededError:
            # A dead letter is larger than its record, and can be larger than the bus takes. The
            # reason is worth more than the image.
            logger.exception("a dead letter is too large; its payload is left out")
            slim = DeadJob()
            slim.CopyFrom(dead)
            slim.ClearField("unreadable_value")
            slim.job.ClearField("image")
            self._bus.insist(lambda: self._publish_once(slim))

    def abandon(self) -> None:
        """Make every wait for the bus end with AbandonedError: the process leaves."""
        self._abandoned = True
        if self._sending is not None:
            self._sending.cancel()

    def close(self) -> None:
        """Disconnect and stop the loop. Idempotent."""
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._wind_up(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _wind_up(self) -> None:
        # A task that was abandoned a moment ago is still being cancelled.
        sending = asyncio.all_tasks() - {asyncio.current_task()}
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        if self._publisher is not None:
            await self._publisher.close()

    def _publish_once(self, dead: DeadJob) -> None:
        record = Record(DEAD_LETTERS, dead.SerializeToString())
        with self._starting:
            sending = asyncio.run_coroutine_threadsafe(self._send(record), self._loop)
            self._sending = sending
            # Asked once `abandon` can cancel it, so that no moment is left between the two.
            if self._abandoned:
                sending.cancel()
            try:
                sending.result()
            except CancelledError as error:
                raise AbandonedError("dead letters") from error
            except (ConfigurationError, OverloadedError) as error:
                # Waited out like an outage: a process that died of it would die again of the same
                # record, and each death would count against every job in flight.
                raise BackendUnavailableError(error.message) from error

    async def _send(self, record: Record) -> None:
        if self._publisher is None:
            publisher = self._make_publisher()
            try:
                await publisher.start()
            except BaseException:
                await publisher.close()
                raise
            self._publisher = publisher
        await self._publisher.publish(record, timeout_s=_PUBLISH_TIMEOUT_S)
