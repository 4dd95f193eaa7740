"""Takes records from Redis Streams as a member of the workers' group.

The owner's thread talks to Redis; ``done`` only notes. Every poll removes finished entries, renews
the claims on unfinished ones, claims entries of dead members, and reads new ones.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import redis

from arno.bus.limits import Window
from arno.bus.ports import ConsumerStatistics, Delivery, Receipt
from arno.bus.redis_streams.admin import RedisStreamsAdmin
from arno.bus.redis_streams.connection import connect, group_missing, translate
from arno.bus.redis_streams.entries import Entry
from arno.bus.redis_streams.group import Group
from arno.bus.settings import BusSettings
from arno.errors import BackendUnavailableError, ConfigurationError
from arno.ops.redis_access import holds_foreign_type

logger = logging.getLogger(__name__)

# One reply of 8 MiB records must stay far below the socket's timeout.
_READ_COUNT_MAX: Final = 16
_BLOCK_S_MAX: Final = 1.0
_SWEEP_S_MAX: Final = 1.0
_DRAIN_POLL_S: Final = 0.05
_FAULT_PAUSE_S: Final = 0.1


class RedisStreamsConsumer:
    """Implements ``Consumer`` on Redis Streams."""

    def __init__(self, settings: BusSettings, channels: Sequence[str]) -> None:
        """Take the settings and the channels to read; nothing is connected yet."""
        self._settings = settings
        self._channels = list(channels)
        self._window = Window(settings.window)
        self._in_flight = InFlight()
        self._client: redis.Redis | None = None
        self._group: Group | None = None
        self._draining = False
        self._away = False
        self._turn = 0
        self._renew_due_s = 0.0
        self._sweep_due_s = 0.0
        self._redelivered_count = 0
        self._join_count = 0
        self._lag: Mapping[str, int] = {}

    def start(self) -> None:
        """Join the group under a name that no earlier process had."""
        admin = RedisStreamsAdmin(self._settings)
        try:
            admin.require(self._channels)
        finally:
            admin.close()
        member = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._client = connect(self._settings)
        self._group = Group(self._client, self._settings, member)
        try:
            self._create_group(self._group)
        except redis.RedisError as fault:
            raise translate(fault) from fault

    def poll(self, timeout_s: float) -> Sequence[Delivery]:
        """Do what is due; return new records, and records of dead members."""
        group = self._joined()
        try:
            self._keep_claims(group)
            free_slots = self._free_slots()
            entries = self._fetch(group, free_slots, timeout_s) if free_slots else []
        except redis.RedisError as fault:
            self._survive(group, fault, timeout_s)
            return []
        if self._away:
            self._away = False
            logger.info("redis is back")
        if not free_slots:
            self._in_flight.wait(timeout_s)
        # Taken only now: after a fault before this, the next sweep claims them.
        return self._deliver(entries)

    def done(self, receipt: Receipt) -> None:
        """Note a record as finished; the next poll removes it from Redis. Any thread."""
        self._in_flight.finish(receipt)

    def drain(self, timeout_s: float) -> bool:
        """Stop fetching for good; wait until all is finished and removed, or the time is up."""
        self._draining = True
        deadline_s = time.monotonic() + timeout_s
        while self._in_flight.unfinished_count or self._in_flight.finished_count:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return False
            self.poll(min(_DRAIN_POLL_S, left_s))
        return True

    def close(self) -> None:
        """Remove finished entries, hand the others back, and leave."""
        group, self._group = self._group, None
        client, self._client = self._client, None
        if group is None or client is None:
            return
        try:
            self._remove_finished(group)
            for channel, positions in self._in_flight.unfinished().items():
                group.release(channel, positions)
            for channel in self._channels:
                group.tidy(channel, leaving=True)
        except redis.RedisError:
            # Other members claim our entries when the claim timeout has passed.
            logger.warning("the group was not left in order", exc_info=True)
        finally:
            self._in_flight.drop_all()
            client.close()

    def statistics(self) -> ConsumerStatistics:
        """Return the numbers of this moment. Any thread."""
        return ConsumerStatistics(
            unfinished_count=self._in_flight.unfinished_count,
            paused=self._draining or self._window.paused,
            partition_count=0 if self._group is None else len(self._channels),
            stale_done_count=self._in_flight.stale_done_count,
            redelivered_count=self._redelivered_count,
            rebalance_count=self._join_count,
            lag=self._lag,
        )

    def _joined(self) -> Group:
        if self._group is None:
            raise BackendUnavailableError("redis: the consumer is not started, or closed")
        return self._group

    def _free_slots(self) -> int:
        free_slots = self._window.free_slots(self._in_flight.unfinished_count)
        return 0 if self._draining else free_slots

    def _keep_claims(self, group: Group) -> None:
        self._remove_finished(group)
        now_s = time.monotonic()
        if now_s < self._renew_due_s:
            return
        for channel, positions in self._in_flight.unfinished().items():
            lost = group.renew(channel, positions)
            if lost:
                logger.warning("entries went to others", extra={"entry_count": len(lost)})
                self._in_flight.drop(channel, lost)
        # Three chances before another member may claim them.
        self._renew_due_s = now_s + self._settings.claim_timeout_s / 3

    def _remove_finished(self, group: Group) -> None:
        for channel, positions in self._in_flight.finished().items():
            group.remove(channel, positions)
            self._in_flight.removed(channel, positions)

    def _fetch(self, group: Group, free_slots: int, timeout_s: float) -> list[Entry]:
        entries = self._sweep(group, free_slots) or group.read(self._shares(free_slots))
        if entries:
            return entries
        waiting = self._in_turn()[:free_slots]
        return group.wait(waiting, min(timeout_s, _BLOCK_S_MAX))

    def _sweep(self, group: Group, free_slots: int) -> list[Entry]:
        now_s = time.monotonic()
        if now_s < self._sweep_due_s:
            return []
        entries: list[Entry] = []
        for channel in self._in_turn():
            if len(entries) < free_slots:
                count = min(free_slots - len(entries), _READ_COUNT_MAX)
                entries += group.adopt(channel, count)
            group.tidy(channel)
        self._lag = {channel: group.length(channel) for channel in self._channels}
        # While there is something to take over, the next poll looks again.
        interval_s = min(_SWEEP_S_MAX, self._settings.claim_timeout_s / 3)
        self._sweep_due_s = now_s if entries else now_s + interval_s
        return entries

    def _shares(self, free_slots: int) -> dict[str, int]:
        """Divide the free slots among the channels; the first in turn get the remainder."""
        self._turn += 1
        channels = self._in_turn()
        each, rest = divmod(free_slots, len(channels))
        shares = {
            channel: min(each + (index < rest), _READ_COUNT_MAX)
            for index, channel in enumerate(channels)
        }
        return {channel: count for channel, count in shares.items() if count}

    def _in_turn(self) -> list[str]:
        first = self._turn % len(self._channels)
        return self._channels[first:] + self._channels[:first]

    def _deliver(self, entries: Sequence[Entry]) -> list[Delivery]:
        deliveries = []
        for entry in entries:
            receipt = self._in_flight.take(entry.channel, entry.position)
            if receipt is not None:
                self._redelivered_count += entry.repeated
                deliveries.append(Delivery(entry.record, receipt, entry.appended_at_ms))
        return deliveries

    def _create_group(self, group: Group) -> None:
        group.create(self._channels)
        self._join_count += 1

    def _survive(self, group: Group, fault: redis.RedisError, timeout_s: float) -> None:
        if group_missing(fault):
            # Redis came back without the group. It begins with the oldest entry again; ``InFlight``
            # knows those that this consumer has.
            logger.warning("the consumer group is gone; creating it again")
            try:
                self._create_group(group)
            except redis.RedisError as again:
                fault = again
            else:
                return
        error = translate(fault)
        if isinstance(error, ConfigurationError) and not holds_foreign_type(fault):
            raise error from fault
        if not self._away:
            self._away = True
            logger.warning("redis is away; jobs in flight go on: %s", fault)
        time.sleep(min(timeout_s, _FAULT_PAUSE_S))


@dataclass(frozen=True, slots=True)
class _Place:
    channel: str
    position: str


class InFlight:
    """The entries that were delivered and are not yet removed from Redis. Any thread."""

    def __init__(self) -> None:
        """Begin without entries."""
        self._changed = threading.Condition()
        self._unfinished: dict[_Place, int] = {}
        self._finished: set[_Place] = set()
        self._epoch = 0
        self.stale_done_count = 0

    @property
    def unfinished_count(self) -> int:
        """How many entries are unfinished."""
        return len(self._unfinished)

    @property
    def finished_count(self) -> int:
        """How many finished entries are not yet removed from Redis."""
        return len(self._finished)

    def take(self, channel: str, position: str) -> Receipt | None:
        """Add an entry; None where it is in flight already and must not be delivered again."""
        place = _Place(channel, position)
        with self._changed:
            if place in self._unfinished or place in self._finished:
                return None
            self._epoch += 1
            self._unfinished[place] = self._epoch
            return Receipt(channel, 0, position, self._epoch)

    def finish(self, receipt: Receipt) -> None:
        """Note an entry as finished; a receipt of an earlier delivery is stale and ignored."""
        place = _Place(receipt.channel, receipt.position)
        with self._changed:
            if self._unfinished.get(place) != receipt.epoch:
                self.stale_done_count += 1
                return
            del self._unfinished[place]
            self._finished.add(place)
            self._changed.notify_all()

    def drop(self, channel: str, positions: Collection[str]) -> None:
        """Remove entries that another consumer has now; their receipts become stale."""
        with self._changed:
            for position in positions:
                self._unfinished.pop(_Place(channel, position), None)
            self._changed.notify_all()

    def drop_all(self) -> None:
        """Remove all unfinished entries."""
        with self._changed:
            self._unfinished.clear()

    def removed(self, channel: str, positions: Collection[str]) -> None:
        """Note that finished entries are removed from Redis."""
        with self._changed:
            self._finished -= {_Place(channel, position) for position in positions}

    def unfinished(self) -> Mapping[str, list[str]]:
        """Return the unfinished entries, by channel."""
        with self._changed:
            return _by_channel(self._unfinished)

    def finished(self) -> Mapping[str, list[str]]:
        """Return the entries to remove from Redis, by channel."""
        with self._changed:
            return _by_channel(self._finished)

    def wait(self, timeout_s: float) -> None:
        """Return when there is a finished entry, or after the timeout."""
        with self._changed:
            if not self._finished:
                self._changed.wait(timeout_s)


def _by_channel(places: Collection[_Place]) -> dict[str, list[str]]:
    positions: dict[str, list[str]] = {}
    for place in places:
        positions.setdefault(place.channel, []).append(place.position)
    return positions
