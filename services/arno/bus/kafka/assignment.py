"""The partitions that this member of the group holds, and how they come and go.

Two threads meet here: the owner of the consumer and the client's input/output thread, which runs
the listener. One lock guards the ledger, and it is never held across a call to a broker.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from kafka import AsyncConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError

from arno.bus.kafka.patches import PatchedConsumer, settle
from arno.bus.kafka.settings import COMMIT_TIMEOUT_S, REVOKE_WAIT_S
from arno.bus.offsets import CommitPoint, OffsetLedger

logger = logging.getLogger(__name__)

Points = Mapping[TopicPartition, CommitPoint]


def offsets_of(points: Points) -> dict[TopicPartition, OffsetAndMetadata]:
    """Return commit points in the form that the client takes."""
    return {
        partition: OffsetAndMetadata(point.position, "", -1) for partition, point in points.items()
    }


class PartitionState:
    """The ledger behind its lock, with waiters for partitions without unfinished records."""

    def __init__(self) -> None:
        """Begin with nothing assigned."""
        self.lock = threading.Lock()
        self.ledger: OffsetLedger[TopicPartition] = OffsetLedger()
        self.assignment_count = 0
        self.stale_done_count = 0
        self._waiting: list[_Waiting] = []

    def finish(self, partition: TopicPartition, offset: int, epoch: int) -> None:
        """Note a record as finished, and wake a listener that waits for it."""
        with self.lock:
            if not self.ledger.finish(partition, offset, epoch):
                self.stale_done_count += 1
                return
            ready = [one for one in self._waiting if self._idle(one.partitions)]
            self._waiting = [one for one in self._waiting if one not in ready]
        for one in ready:
            one.wake()

    def when_idle(self, partitions: Collection[TopicPartition], wake: Callable[[], None]) -> bool:
        """Call ``wake`` once these partitions have no unfinished record; True if so already."""
        with self.lock:
            if self._idle(partitions):
                return True
            self._waiting.append(_Waiting(partitions, wake))
            return False

    def forget(self, partitions: Collection[TopicPartition]) -> int:
        """End assignments; return how many unfinished records went with them."""
        with self.lock:
            count = self.ledger.unfinished_count(partitions)
            self.ledger.revoke(partitions)
            self._waiting = [one for one in self._waiting if one.partitions is not partitions]
            return count

    def _idle(self, partitions: Collection[TopicPartition]) -> bool:
        return self.ledger.unfinished_count(partitions) == 0


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    partitions: Collection[TopicPartition]
    wake: Callable[[], None]


# The client has no types, so its base class is Any.
class RebalanceListener(AsyncConsumerRebalanceListener):  # type: ignore[misc]
    """Hands partitions over in order: wait for unfinished records, commit, release.

    Runs on the client's input/output thread, where only the client's futures may be awaited and
    nothing may block. Every wait has a bound, because the whole group waits with it.
    """

    def __init__(self, client: PatchedConsumer, state: PartitionState) -> None:
        """Take the client whose partitions these are."""
        self._client = client
        self._state = state
        self.paused = False
        self.closing = False

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Begin new assignments, paused where the window is full."""
        state = self._state
        with state.lock:
            state.ledger.assign(assigned)
            state.assignment_count += 1
        if self.paused and assigned:
            self._client.pause(*assigned)
        logger.info("partitions assigned", extra={"partition_count": len(assigned)})

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Wait a little for unfinished records, commit the finished ones, and release."""
        if not self.closing:
            await self._wait_until_idle(revoked)
        await self._commit(revoked)
        self._release(revoked)

    async def on_partitions_lost(self, lost: Collection[TopicPartition]) -> None:
        """Release at once: other members have these partitions already."""
        self._release(lost)

    async def _wait_until_idle(self, partitions: Collection[TopicPartition]) -> None:
        signal = self._client.signal_after(REVOKE_WAIT_S)
        if not self._state.when_idle(partitions, lambda: self._client.settle_threadsafe(signal)):
            await signal

    async def _commit(self, partitions: Collection[TopicPartition]) -> None:
        with self._state.lock:
            points = self._state.ledger.due(partitions)
        if not points:
            return
        signal = self._client.signal_after(COMMIT_TIMEOUT_S)
        committing = self._client.commit_async(offsets_of(points))
        committing.add_both(lambda _: settle(signal))
        await signal
        if not committing.succeeded():
            # The next owner begins at the last commit: work is repeated, never lost.
            fault = committing.exception or KafkaError("no answer in time")
            logger.warning("commit of leaving partitions failed", extra={"fault": str(fault)})

    def _release(self, partitions: Collection[TopicPartition]) -> None:
        count = self._state.forget(partitions)
        extra = {"partition_count": len(partitions), "unfinished_count": count}
        logger.log(
            logging.WARNING if count else logging.INFO, "partitions handed over", extra=extra
        )
