"""Puts records on Arno's topics of Kafka, from an asyncio loop.

A record with a key goes to one of its tenant's partitions, others to any.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import lru_cache
from typing import Final, TypeAlias, TypeVar

from arno.bus.kafka.admin import KafkaTopicAdmin
from arno.bus.kafka.sender import KafkaSender, Outgoing
from arno.bus.kafka.settings import require_crc32c
from arno.bus.limits import record_size
from arno.bus.ports import DEAD_LETTERS, Record, topic_name
from arno.bus.settings import BusSettings
from arno.errors import BackendUnavailableError
from arno.vocabulary import Lane

Answer = TypeVar("Answer")

_Unfinished: TypeAlias = Mapping[str, Mapping[int, int]]
"""Numbers of unfinished records, by channel and partition."""

_CHANNELS: Final = [*(lane.value for lane in Lane), DEAD_LETTERS]
PING_TIMEOUT_S: Final = 3.0
_TENANTS_REMEMBERED: Final = 4096


class KafkaPublisher:
    """Implements ``Publisher`` on Kafka. Lives in one asyncio loop."""

    def __init__(self, settings: BusSettings) -> None:
        """Take the settings; nothing is connected yet."""
        self._settings = settings
        self._admin = KafkaTopicAdmin(settings)
        self._sender = KafkaSender(settings)
        self._partitioners: dict[str, TenantPartitioner] = {}
        # A broker that never answers keeps a thread for up to 30 s. Pools of their own, so that
        # neither question takes the threads of the process or of the other question; several
        # threads for the ping, since another broker may answer the next one.
        self._pinging = ThreadPoolExecutor(4, thread_name_prefix="kafka-ping")
        self._counting = ThreadPoolExecutor(1, thread_name_prefix="kafka-unfinished")

    async def start(self) -> None:
        """Connect, check the topics, and learn their partitions."""
        require_crc32c()
        try:
            # Both constructors block until a broker answers, hence the thread.
            await asyncio.to_thread(self._connect)
        except BaseException:
            await asyncio.to_thread(self._admin.close)
            raise

    async def publish(self, record: Record, *, timeout_s: float) -> None:
        """Return once Kafka has the record on all in-sync replicas."""
        record_size(record, self._settings.record_bytes_max)
        key = record.spread_key
        message = Outgoing(
            topic_name(self._settings.topic_prefix, record.channel),
            record.value,
            headers=list(record.headers.items()),
            partition=self._partitioners[record.channel].choose(key) if key else None,
        )
        await self._sender.send(message, timeout_s=timeout_s)

    async def ping(self) -> None:
        """Raise BackendUnavailableError unless a broker answers."""
        await self._ask(self._pinging, self._admin.ping)

    async def unfinished(self) -> Mapping[str, int]:
        """Return how many records of each lane are not committed."""
        found, open_to_us = await self._ask(self._counting, self._count)
        for channel, lengths in open_to_us.items():
            if lengths:
                self._partitioners[channel].update(lengths)
        return {channel: sum(lengths.values()) for channel, lengths in found.items()}

    def share_ahead(self, channel: str, spread_key: str) -> float:
        """Return how full the emptiest partition for the key is, beside the mean of all."""
        partitioner = self._partitioners.get(channel)
        return partitioner.share_ahead(spread_key) if spread_key and partitioner else 1.0

    async def close(self) -> None:
        """Send what is buffered and disconnect. Idempotent."""
        await self._sender.close()
        for threads in (self._pinging, self._counting):
            threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._admin.close)

    async def _ask(self, threads: Executor, question: Callable[[], Answer]) -> Answer:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                return await loop.run_in_executor(threads, question)
        except TimeoutError as fault:
            raise BackendUnavailableError("kafka: no broker answers") from fault

    def _count(self) -> tuple[_Unfinished, _Unfinished]:
        """Return the unfinished records, and those of partitions that the producer knows.

        The admin client hears of added partitions at once, the producer a while later; a record for
        a partition that it does not know is an error.
        """
        found, prefix = self._admin.unfinished(list(Lane)), self._settings.topic_prefix
        known: dict[str, dict[int, int]] = {}
        for channel, lengths in found.items():
            ours = self._sender.partitions(topic_name(prefix, channel)) if lengths else ()
            known[channel] = {one: length for one, length in lengths.items() if one in ours}
        return found, known

    def _connect(self) -> None:
        self._admin.require(_CHANNELS)
        self._admin.warn_of_retention()
        topics = {topic_name(self._settings.topic_prefix, one): one for one in _CHANNELS}
        for topic, partitions in self._sender.connect(topics).items():
            self._partitioners[topics[topic]] = TenantPartitioner(
                partitions, self._settings.tenant_partition_share
            )


class TenantPartitioner:
    """Chooses partitions of one topic so that the flood of one tenant leaves room for others.

    A record waits for all records before it in its partition. So each tenant uses only some of the
    partitions, which its name alone decides, and among these the one with the fewest unfinished
    records. Two tenants seldom share all of theirs. Not thread-safe; uses neither clock nor Kafka.
    """

    def __init__(self, partitions: Collection[int], share: float) -> None:
        """Take the partitions, and the part of them that one tenant may use."""
        self._partitions = tuple(sorted(partitions))
        self._share = share
        self._lengths: Counter[int] = Counter()

    def choose(self, tenant: str) -> int:
        """Return the partition for a record, and count it there."""
        chosen = self._emptiest(tenant)
        self._lengths[chosen] += 1
        return chosen

    def share_ahead(self, tenant: str) -> float:
        """Return the part of all unfinished records for which the tenant's next one waits.

        Partitions are read alike, so a record behind as many as the mean waits for all of them.
        """
        total = self._lengths.total()
        if not total:
            return 1.0
        ahead = self._lengths[self._emptiest(tenant)]
        return min(1.0, ahead * len(self._partitions) / total)

    def _emptiest(self, tenant: str) -> int:
        count = max(1, round(self._share * len(self._partitions)))
        return min(_preferred(tenant, self._partitions)[:count], key=self._lengths.__getitem__)

    def update(self, lengths: Mapping[int, int]) -> None:
        """Take the number of unfinished records of each partition; there may be new partitions."""
        self._lengths = Counter(lengths)
        self._partitions = tuple(sorted(lengths))


@lru_cache(maxsize=_TENANTS_REMEMBERED)
def _preferred(tenant: str, partitions: tuple[int, ...]) -> tuple[int, ...]:
    # Rendezvous hashing: an added partition takes its place, and the order of the others stays.
    def rank(partition: int) -> bytes:
        return hashlib.sha256(f"{tenant}/{partition}".encode()).digest()

    return tuple(sorted(partitions, key=rank))
