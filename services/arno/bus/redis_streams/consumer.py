"""Takes records from Redis Streams as a member of the workers' group.

The owner's thread talks to Redis; ``done`` only notes. Every poll removes what is finished, renews
the claims on what is in work, takes over what a dead member left, and reads new entries.
"""

from __future__ import annotations

import logging
import os
import socket
import time
import uuid
from collections.abc import Mapping, Sequence

import redis

from arno.bus.ports import ConsumerStatistics, Delivery, Receipt
from arno.bus.redis_streams.admin import RedisStreamsAdmin
from arno.bus.redis_streams.connection import connect, foreign_key, group_missing, translate
from arno.bus.redis_streams.entries import Entry
from arno.bus.redis_streams.group import Group
from arno.bus.redis_streams.hand import Hand
from arno.bus.settings import BusSettings
from arno.bus.window import Window
from arno.errors import BackendUnavailableError, ConfigurationError

logger = logging.getLogger(__name__)

# One reply of 8 MiB records must stay far below the socket's timeout.
_READ_COUNT_MAX = 16
_BLOCK_S_MAX = 1.0
_SWEEP_S_MAX = 1.0
_DRAIN_POLL_S = 0.05
_FAULT_PAUSE_S = 0.1


class RedisStreamsConsumer:
    """Implements ``Consumer`` on Redis Streams."""

    def __init__(self, settings: BusSettings, channels: Sequence[str]) -> None:
        """Take the settings and the channels to read; nothing is connected yet."""
        self._settings = settings
        self._channels = list(channels)
        self._window = Window(settings.window)
        self._hand = Hand()
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
        except redis.RedisError as error:
            raise translate(error) from error

    def poll(self, timeout_s: float) -> Sequence[Delivery]:
        """Do what is due, and return new records and those that a dead member left."""
        group = self._joined()
        try:
            self._keep_claims(group)
            room = self._room()
            entries = self._fetch(group, room, timeout_s) if room else []
        except redis.RedisError as error:
            self._survive(group, error, timeout_s)
            return []
        if self._away:
            self._away = False
            logger.info("redis is back")
        if not room:
            self._hand.wait(timeout_s)
        # Only now are they in hand: a fault before this leaves them to the next sweep.
        return self._deliver(entries)

    def done(self, receipt: Receipt) -> None:
        """Note a record as finished; the next poll removes it from Redis. Any thread."""
        self._hand.finish(receipt)

    def drain(self, timeout_s: float) -> bool:
        """Stop fetching for good; wait until all is finished and removed, or the time is up."""
        self._draining = True
        deadline_s = time.monotonic() + timeout_s
        while self._hand.unfinished_count or self._hand.finished_count:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return False
            self.poll(min(_DRAIN_POLL_S, left_s))
        return True

    def close(self) -> None:
        """Remove what is finished, hand the rest back, and leave."""
        group, self._group = self._group, None
        client, self._client = self._client, None
        if group is None or client is None:
            return
        try:
            self._remove_finished(group)
            for channel, positions in self._hand.working().items():
                group.release(channel, positions)
            for channel in self._channels:
                group.tidy(channel, leaving=True)
        except redis.RedisError:
            # Others take our entries when the claim timeout has passed.
            logger.warning("the group was not left in order", exc_info=True)
        finally:
            self._hand.drop_all()
            client.close()

    def statistics(self) -> ConsumerStatistics:
        """Return the numbers of this moment. Any thread."""
        return ConsumerStatistics(
            unfinished_count=self._hand.unfinished_count,
            paused=self._draining or self._window.paused,
            partition_count=0 if self._group is None else len(self._channels),
            stale_done_count=self._hand.stale_done_count,
            redelivered_count=self._redelivered_count,
            rebalance_count=self._join_count,
            lag=self._lag,
        )

    def _joined(self) -> Group:
        if self._group is None:
            raise BackendUnavailableError("redis: the consumer is not started, or closed")
        return self._group

    def _room(self) -> int:
        room = self._window.room(self._hand.unfinished_count)
        return 0 if self._draining else room

    def _keep_claims(self, group: Group) -> None:
        self._remove_finished(group)
        now_s = time.monotonic()
        if now_s < self._renew_due_s:
            return
        for channel, positions in self._hand.working().items():
            lost = group.renew(channel, positions)
            if lost:
                logger.warning("entries went to others", extra={"entry_count": len(lost)})
                self._hand.drop(channel, lost)
        # Three chances before anybody may take them.
        self._renew_due_s = now_s + self._settings.claim_timeout_s / 3

    def _remove_finished(self, group: Group) -> None:
        for channel, positions in self._hand.finished().items():
            group.remove(channel, positions)
            self._hand.removed(channel, positions)

    def _fetch(self, group: Group, room: int, timeout_s: float) -> list[Entry]:
        entries = self._sweep(group, room) or group.read(self._shares(room))
        if entries:
            return entries
        waiting = self._in_turn()[:room]
        return group.wait(waiting, min(timeout_s, _BLOCK_S_MAX))

    def _sweep(self, group: Group, room: int) -> list[Entry]:
        now_s = time.monotonic()
        if now_s < self._sweep_due_s:
            return []
        entries: list[Entry] = []
        for channel in self._in_turn():
            if len(entries) < room:
                count = min(room - len(entries), _READ_COUNT_MAX)
                entries += group.adopt(channel, count)
            group.tidy(channel)
        self._lag = {channel: group.length(channel) for channel in self._channels}
        # While there is something to take over, the next poll looks again.
        interval_s = min(_SWEEP_S_MAX, self._settings.claim_timeout_s / 3)
        self._sweep_due_s = now_s if entries else now_s + interval_s
        return entries

    def _shares(self, room: int) -> dict[str, int]:
        """Divide the room among the channels; whose turn it is gets what does not divide."""
        self._turn += 1
        channels = self._in_turn()
        each, rest = divmod(room, len(channels))
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
            receipt = self._hand.take(entry.channel, entry.position)
            if receipt is not None:
                self._redelivered_count += entry.repeated
                deliveries.append(Delivery(entry.record, receipt, entry.appended_at_ms))
        return deliveries

    def _create_group(self, group: Group) -> None:
        group.create(self._channels)
        self._join_count += 1

    def _survive(self, group: Group, error: redis.RedisError, timeout_s: float) -> None:
        if group_missing(error):
            # Redis came back without the group. From the beginning: what is in hand is known.
            logger.warning("the consumer group is gone; creating it again")
            try:
                self._create_group(group)
            except redis.RedisError as again:
                error = again
            else:
                return
        fault = translate(error)
        if isinstance(fault, ConfigurationError) and not foreign_key(error):
            raise fault from error
        if not self._away:
            self._away = True
            logger.warning("redis is away; work in hand goes on: %s", error)
        time.sleep(min(timeout_s, _FAULT_PAUSE_S))
