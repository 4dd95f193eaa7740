"""What every bus can do: carry records from gateways to workers, at least once.

Two adapters stand behind these ports: ``arno.bus.kafka`` and ``arno.bus.redis_streams``; one
contract suite runs on both. To a bus a record is bytes with headers, on a lane.
There is one topic (or stream) for each lane and one for dead letters: records that were given up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

DEAD_LETTERS: Final = "dead"
"""The channel of dead letters; also the last part of its topic's name."""


def topic_name(prefix: str, channel: str) -> str:
    """Return the topic (or the stream's key) of a channel: ``arno.jobs.batch``."""
    return f"{prefix}.{channel}"


@dataclass(frozen=True, slots=True)
class Record:
    """A message on the bus: opaque bytes, and headers such as the trace context.

    Attributes:
        channel: A lane's value, or ``DEAD_LETTERS``.
        value: The payload; at most the bus's configured maximum.
        headers: Short ASCII names to bytes.
        spread_key: Records with one key use only a part of a channel's partitions, so that a flood
            of them leaves the others free; empty: all partitions. Does not travel.
    """

    channel: str
    value: bytes
    headers: Mapping[str, bytes] = field(default_factory=dict)
    spread_key: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Receipt:
    """Names one delivery of one record, so that it can be declared done.

    A receipt of a partition that has moved to another worker is stale: declaring it done has no
    effect.

    Attributes:
        channel: Where the record came from.
        partition: Kafka's partition; 0 on Redis Streams.
        position: Kafka's offset; the entry id on Redis Streams.
        epoch: Which assignment of the partition delivered it.
    """

    channel: str
    partition: int
    position: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """A record that a worker holds until its receipt is declared done.

    Attributes:
        record: The record.
        receipt: What to give to ``Consumer.done``.
        appended_at_ms: When the bus stored it, Unix milliseconds.
    """

    record: Record
    receipt: Receipt
    appended_at_ms: int


@dataclass(frozen=True, slots=True)
class ConsumerStatistics:
    """The numbers of a consumer at one moment.

    Attributes:
        unfinished_count: Records delivered and not done.
        paused: Whether the window is full, so that nothing more is fetched.
        partition_count: Partitions assigned (streams read, on Redis).
        stale_done_count: Completions that came after their partition had moved.
        redelivered_count: Deliveries known to be repeats (Redis Streams only; Kafka does not tell).
        rebalance_count: Assignments so far.
        lag: Records not yet committed, by channel, as far as known.
    """

    unfinished_count: int
    paused: bool
    partition_count: int
    stale_done_count: int
    redelivered_count: int
    rebalance_count: int
    lag: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DeadRecord:
    """A record on the dead-letter channel.

    Attributes:
        id: Its place: PARTITION-OFFSET on Kafka, the entry id on Redis Streams.
        value: What was published.
        appended_at_ms: When the bus stored it, Unix milliseconds.
    """

    id: str
    value: bytes
    appended_at_ms: int


class Publisher(Protocol):
    """Puts records on the bus. Lives in one asyncio loop."""

    async def start(self) -> None:
        """Connect and check that the topics are there.

        Raises:
            BackendUnavailableError: The bus cannot be reached, or a topic is missing.
        """

    async def publish(self, record: Record, *, timeout_s: float) -> None:
        """Return once the bus has the record safely.

        Raises:
            LimitExceededError: The record is larger than the bus takes.
            OverloadedError: Too many bytes wait for the bus already.
            BackendUnavailableError: Not acknowledged in time; the record may arrive all the same.
        """

    async def ping(self) -> None:
        """Raise BackendUnavailableError unless the bus answers."""

    async def unfinished(self) -> Mapping[str, int]:
        """Return how many records of each lane are not finished: waiting, or held by a worker.

        Raises:
            BackendUnavailableError: The bus does not answer.
        """

    def share_ahead(self, channel: str, spread_key: str) -> float:
        """Return the part of a channel's unfinished records that a new record waits for, 0 to 1.

        As `unfinished` last counted them: 1 where all records of the channel stand in one line.
        """

    async def close(self) -> None:
        """Send what is buffered and disconnect. Idempotent."""


class Consumer(Protocol):
    """Takes records from the bus as a member of a group.

    Owned by one thread: ``poll``, ``drain`` and ``close`` are called only there, and ``poll`` at
    least once a second. ``done`` and ``statistics`` may be called from any thread.
    """

    def start(self) -> None:
        """Join the group. Call it once the worker is ready: a member that does not poll stalls it.

        Raises:
            BackendUnavailableError: The bus cannot be reached, or a topic is missing.
        """

    def poll(self, timeout_s: float) -> Sequence[Delivery]:
        """Wait for records, commit what is done, pause when the window is full, renew claims.

        Delivers nothing while the window is full, nor while the bus is away, which it survives.
        """

    def done(self, receipt: Receipt) -> None:
        """Declare a delivery finished: its result is stored.

        Any thread, any order; a stale receipt is ignored.
        """

    def drain(self, timeout_s: float) -> bool:
        """Fetch nothing more, and wait until every delivery is finished and committed.

        Returns:
            Whether all were in time.
        """

    def close(self) -> None:
        """Commit what is done, leave the group and disconnect. Idempotent.

        Unfinished records go to other members.
        """

    def statistics(self) -> ConsumerStatistics:
        """Return the numbers of this moment."""


class DeadLetterQueue(Protocol):
    """Reads the dead-letter channel without taking anything from it; blocking, for operators.

    Every method may raise BackendUnavailableError.
    """

    def read(self) -> Iterator[DeadRecord]:
        """Yield the records that are there now, each partition from its oldest on."""

    def purge(self, before_ms: int) -> int:
        """Remove the records that were stored before a moment, Unix ms; return how many."""

    def close(self) -> None:
        """Disconnect."""


class TopicAdmin(Protocol):
    """Creates and inspects topics; blocking, for the command line and for start-up."""

    def ensure_topics(self) -> list[str]:
        """Create the missing ones; return the names of those that were created."""

    def describe(self) -> Mapping[str, int]:
        """Return the partition count of every topic of Arno that exists, by channel.

        Raises:
            BackendUnavailableError: The bus cannot be reached.
        """

    def retention_faults(self) -> list[str]:
        """Return, in sentences, how the bus can drop jobs that wait; empty: it cannot.

        Raises:
            BackendUnavailableError: The bus cannot be reached, or does not say.
        """

    def close(self) -> None:
        """Disconnect."""
