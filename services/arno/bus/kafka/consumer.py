"""Takes records from Kafka as a member of the workers' group.

The owner's thread polls; it never waits for the model. Records finish in any order on other
threads, and each poll commits how far every partition is finished without a hole.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from kafka import TopicPartition
from kafka.errors import IllegalStateError, KafkaError

from arno.bus.kafka.admin import KafkaTopicAdmin
from arno.bus.kafka.assignment import PartitionState, Points, RebalanceListener, offsets_of
from arno.bus.kafka.faults import translate
from arno.bus.kafka.patches import PatchedConsumer
from arno.bus.kafka.settings import (
    COMMIT_INTERVAL_S,
    COMMIT_TIMEOUT_S,
    FETCH_WAIT_MS,
    consumer_config,
    require_crc32c,
)
from arno.bus.limits import Window
from arno.bus.ports import ConsumerStatistics, Delivery, Receipt, Record, topic_name
from arno.bus.settings import BusSettings
from arno.errors import BackendUnavailableError, ConfigurationError

logger = logging.getLogger(__name__)

_DRAIN_POLL_S: Final = 0.05
_FAULT_PAUSE_S: Final = 0.1
_FULL_POLL_INTERVAL_S: Final = 0.1
"""How often the client is polled for the group's sake while nothing may be fetched."""

_TURN_POLL_S: Final = 0.01
"""While partitions are paused in turn, polls must be short so that each gets its turn."""

_TURN_FETCH_MS: Final = 10
CLOSE_TIMEOUT_MS: Final = 5000


@dataclass(frozen=True, slots=True)
class _Member:
    client: PatchedConsumer
    listener: RebalanceListener


class KafkaConsumer:
    """Implements ``Consumer`` on Kafka."""

    def __init__(self, settings: BusSettings, channels: Sequence[str]) -> None:
        """Take the settings and the channels to read; nothing is connected yet."""
        self._settings = settings
        self._channels = {self._topic(one): one for one in channels}
        self._window = Window(settings.window)
        self._state = PartitionState()
        self._draining = False
        self.unfinished_max = settings.window
        """How many records may be unfinished now, within the window. Set from any thread."""

        self._records_left = False
        """Whether the client may have fetched more than its last poll was allowed to return."""

        self._full = False
        self._room = threading.Event()
        self._full_poll_due_s = 0.0
        self._away = False
        self._member: _Member | None = None
        self._commit_sent_s: float | None = None
        self._commit_due_s = 0.0
        self._lag: Mapping[str, int] = {}

    def start(self) -> None:
        """Join the group; partitions arrive with the first polls."""
        require_crc32c()
        admin = KafkaTopicAdmin(self._settings)
        try:
            self._require_topics(admin)
            client = PatchedConsumer(**self._config())
        except KafkaError as fault:
            raise translate(fault) from fault
        finally:
            admin.close()
        self._member = _Member(client, RebalanceListener(client, self._state))
        client.subscribe(list(self._channels), listener=self._member.listener)

    def poll(self, timeout_s: float) -> Sequence[Delivery]:
        """Commit what is finished, and return new records."""
        member = self._joined()
        try:
            free_slots = self._apply_window(member)
            self._commit(member)
            if self._awaits_room(timeout_s):
                return []
            newcomers_first = self._records_left and self._crowded()
            # Partitions are paused in turn: a fetch without some of them must be over soon.
            in_turn = newcomers_first or bool(member.client.paused())
            member.client.wait_for_records(_TURN_FETCH_MS if in_turn else FETCH_WAIT_MS)
            # A poll also drives the group, so it happens even when nothing may be fetched. It
            # comes last: once records count as received, no error may keep them from the caller.
            polled = self._poll_newcomers(member, free_slots) if newcomers_first else {}
            if not polled:
                wait_s = min(timeout_s, _TURN_POLL_S) if in_turn else timeout_s
                most = max(1, free_slots)
                polled = member.client.poll(int(wait_s * 1000), max_records=most)
                self._records_left = sum(map(len, polled.values())) >= most
        except KafkaError as fault:
            self._survive(fault, timeout_s)
            return []
        if self._away:
            self._away = False
            logger.info("kafka is back")
        return self._receive(polled)

    def done(self, receipt: Receipt) -> None:
        """Note a record as finished. Any thread."""
        partition = TopicPartition(self._topic(receipt.channel), receipt.partition)
        self._state.finish(partition, int(receipt.position), receipt.epoch)
        if self._full:
            counts = self._counts()
            # A partition without unfinished records has slots of its own.
            if partition not in counts or sum(counts.values()) <= self._window.opens_at():
                self._room.set()

    def holds(self, receipt: Receipt) -> bool:
        """Return whether a record's partition has not moved since it was delivered. Any thread."""
        partition = TopicPartition(self._topic(receipt.channel), receipt.partition)
        with self._state.lock:
            return self._state.ledger.holds(partition, receipt.epoch)

    def drain(self, timeout_s: float) -> bool:
        """Stop fetching for good; wait until all is finished and committed, or the time is up."""
        self._draining = True
        deadline_s = time.monotonic() + timeout_s
        while not self._settled():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return False
            self._commit_due_s = 0.0
            self.poll(min(_DRAIN_POLL_S, left_s))
        return True

    def close(self) -> None:
        """Commit what is finished and leave; the rest goes to other members."""
        member, self._member = self._member, None
        if member is None:
            return
        # The client calls the listener once more: it commits, and no longer waits for work.
        member.listener.closing = True
        try:
            member.client.close(timeout_ms=CLOSE_TIMEOUT_MS)
        except KafkaError:
            logger.warning("the group was not left in order", exc_info=True)

    def statistics(self) -> ConsumerStatistics:
        """Return the numbers of this moment. Any thread."""
        state = self._state
        with state.lock:
            return ConsumerStatistics(
                unfinished_count=state.ledger.unfinished_count(),
                paused=self._draining or self._window.paused,
                partition_count=len(state.ledger.partitions),
                stale_done_count=state.stale_done_count,
                redelivered_count=0,
                rebalance_count=state.assignment_count,
                lag=self._lag,
            )

    def _topic(self, channel: str) -> str:
        return topic_name(self._settings.topic_prefix, channel)

    def _require_topics(self, admin: KafkaTopicAdmin) -> None:
        admin.require(list(self._channels.values()))

    def _config(self) -> dict[str, Any]:
        return consumer_config(self._settings)

    def _joined(self) -> _Member:
        if self._member is None:
            raise BackendUnavailableError("kafka: the consumer is not started, or closed")
        return self._member

    def _apply_window(self, member: _Member) -> int:
        """Pause full partitions; return how many records the next poll may bring."""
        client, window = member.client, self._window
        # Before anything is counted: what ends later sets it again.
        self._room.clear()
        window.limit = min(self.unfinished_max, self._settings.window)
        counts = self._counts()
        total = sum(counts.values())
        free_slots = 0 if self._draining else window.free_slots(total)
        # Partitions with unfinished records share what is not reserved for the others, so that a
        # flood in one of them leaves slots for partitions without any.
        share = window.share(len(counts))
        unreserved = window.unreserved(total)
        # Set before the partitions are listed, so that one that arrives now is paused either way.
        member.listener.paused = free_slots == 0
        assigned, paused = client.assignment(), client.paused()
        full = {one for one in assigned if counts.get(one, 0) >= (share if unreserved else 1)}
        full = full if free_slots else set(assigned)
        self._full = bool(full) and full == assigned
        if full - paused:
            _change(client.pause, full - paused)
        if paused - full:
            _change(client.resume, paused - full)
        return min(free_slots, share, unreserved) if unreserved else free_slots

    def _awaits_room(self, timeout_s: float) -> bool:
        """Wait until records have ended, instead of a poll that could bring none.

        The client's own poll would sleep, whatever ends meanwhile. It is polled now and then all
        the same: it drives the group.
        """
        now_s = time.monotonic()
        if not self._full or self._draining or now_s >= self._full_poll_due_s:
            self._full_poll_due_s = now_s + _FULL_POLL_INTERVAL_S
            return False
        self._room.wait(min(timeout_s, self._full_poll_due_s - now_s))
        return True

    def _poll_newcomers(
        self, member: _Member, free_slots: int
    ) -> Mapping[TopicPartition, Sequence[Any]]:
        """Return records of partitions without unfinished ones, while others crowd the window.

        The client returns all records that it has fetched of one partition before those of the
        next, and of a flood it may have fetched hundreds. Where it has returned all, this must not
        be asked: the fetch that goes out meanwhile leaves the other partitions out, and what comes
        for them waits for the next one.
        """
        if not free_slots:
            return {}
        client = member.client
        open_now = client.assignment() - client.paused()
        held = self._counts().keys() & open_now
        if not held or held == open_now:
            return {}
        _change(client.pause, held)
        try:
            return client.poll(0, max_records=free_slots)
        finally:
            _change(client.resume, held)

    def _crowded(self) -> bool:
        counts = self._counts()
        return self._window.crowded(sum(counts.values())) and not self._window.paused

    def _counts(self) -> dict[TopicPartition, int]:
        """Return how many records are unfinished in each partition that has any."""
        with self._state.lock:
            ledger = self._state.ledger
            counts = {one: ledger.unfinished_count([one]) for one in ledger.partitions}
        return {one: count for one, count in counts.items() if count}

    def _receive(self, polled: Mapping[TopicPartition, Sequence[Any]]) -> list[Delivery]:
        deliveries = []
        with self._state.lock:
            for partition, records in polled.items():
                for record in records:
                    epoch = self._state.ledger.receive(partition, record.offset)
                    if epoch is not None:
                        deliveries.append(self._delivery(record, epoch))
        return deliveries

    def _delivery(self, record: Any, epoch: int) -> Delivery:
        channel = self._channels[record.topic]
        # A foreign record may have no value at all, and headers without one.
        headers = {name: value or b"" for name, value in record.headers}
        return Delivery(
            record=Record(channel, record.value or b"", headers),
            receipt=Receipt(channel, record.partition, str(record.offset), epoch),
            appended_at_ms=record.timestamp,
        )

    def _commit(self, member: _Member) -> None:
        now_s = time.monotonic()
        if now_s < self._commit_due_s or self._committing(now_s):
            return
        self._commit_due_s = now_s + COMMIT_INTERVAL_S
        self._measure_lag(member.client)
        with self._state.lock:
            points = self._state.ledger.due()
        if not points:
            return
        self._commit_sent_s = now_s

        def answered(_: object, answer: object) -> None:
            self._answered(points, answer)

        member.client.commit_async(offsets_of(points), callback=answered)

    def _committing(self, now_s: float) -> bool:
        # One commit at a time keeps them in order; a lost answer must not stop all later ones.
        sent_s = self._commit_sent_s
        return sent_s is not None and now_s - sent_s < 2 * COMMIT_TIMEOUT_S

    def _answered(self, points: Points, answer: object) -> None:
        self._commit_sent_s = None
        if isinstance(answer, Exception):
            # The positions stay due, so the next poll tries again.
            logger.info("commit failed", extra={"fault": str(answer)})
            return
        with self._state.lock:
            self._state.ledger.committed(points)

    def _settled(self) -> bool:
        with self._state.lock:
            ledger = self._state.ledger
            return ledger.unfinished_count() == 0 and not ledger.due()

    def _measure_lag(self, client: PatchedConsumer) -> None:
        lag = dict.fromkeys(self._channels.values(), 0)
        for partition in client.assignment():
            with self._state.lock:
                position = self._state.ledger.position(partition)
            try:
                end = client.highwater(partition)
            except (IllegalStateError, KeyError):
                # It has left since the assignment was listed, or inside the call.
                continue
            if end is not None and position is not None:
                lag[self._channels[partition.topic]] += max(0, end - position)
        self._lag = lag

    def _survive(self, fault: KafkaError, timeout_s: float) -> None:
        error = translate(fault)
        if isinstance(error, ConfigurationError):
            raise error from fault
        if not self._away:
            self._away = True
            logger.warning("kafka is away; jobs in flight go on", extra={"fault": str(fault)})
        # A fault that is raised at once must not make the owner's loop spin.
        time.sleep(min(timeout_s, _FAULT_PAUSE_S))


def _change(
    change: Callable[[TopicPartition], None], partitions: Collection[TopicPartition]
) -> None:
    """Pause or resume partitions, but for those that have left.

    The client's own thread takes partitions away at any moment, and the client then raises KeyError
    (seen with kafka-python 3.0.12), which would end the thread that polls, and the worker with it.
    """
    for partition in partitions:
        with suppress(KeyError):
            change(partition)
