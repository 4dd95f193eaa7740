"""What Arno changes in the clients and records of kafka-python from outside.

With ``net_patches``, which holds the connections, this is all that Arno changes there. Written for
kafka-python 3.0.12. Each patch names the defect that it works around, the test that
shows the defect in the unpatched library (it fails once the patch can go), and the report for
upstream. The private names that a patch uses are checked when it is applied, so that another
release without them stops the process with a clear error and not with a silent change.

How much the library logs is limited in ``log_limit``. Defects that a setting avoids are not here
but in ``settings``: the idempotent producer that stops sending
(docs/decisions/0003-producer-without-idempotence.md). Tests also silence three warnings of the
library, in pyproject.toml.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import kafka
from kafka.consumer.fetcher import Fetcher
from kafka.coordinator.consumer import ConsumerCoordinator
from kafka.errors import KafkaError
from kafka.future import Future
from kafka.net.selector import NetworkSelector
from kafka.producer.sender import Sender
from kafka.record.default_records import DefaultRecordBatch

from arno.bus.kafka.net_patches import require_names

logger = logging.getLogger(__name__)

_ROUND_S: Final = 0.05
"""Shortest wait for records inside a poll; a record that arrives ends it."""

require_names(ConsumerCoordinator, "time_to_next_poll", "request_rejoin", patch="PatchedConsumer")
require_names(Fetcher, "fetch_records", patch="PatchedConsumer")
require_names(NetworkSelector, "call_later", "call_soon_threadsafe", patch="PatchedConsumer")
require_names(Sender, "force_close", patch="PatchedProducer")
require_names(DefaultRecordBatch, "_read_msg", patch="read_any_header_names")


@contextmanager
def _stopped_on_error(client: Any) -> Iterator[None]:
    """End the thread of a client whose constructor fails.

    Defect: the constructors of the consumer and the admin client start a thread and then ask for
    the brokers. Where that fails, the thread tries to connect for the rest of the process: each
    attempt to start while Kafka is away adds one.

    Test: ``test_client_without_a_broker_leaves_its_thread_unless_patched``.

    Report: "KafkaConsumer and KafkaAdminClient leave their IO thread when bootstrap() raises."
    """
    try:
        yield
    except BaseException:
        if hasattr(client, "_net"):
            client._client.close()
        raise


class PatchedAdmin(kafka.KafkaAdminClient):  # type: ignore[misc]
    """An admin client that ends its thread when no broker answers. See ``_stopped_on_error``."""

    def __init__(self, **configs: Any) -> None:
        """Take the client's own settings."""
        with _stopped_on_error(self):
            super().__init__(**configs)
        require_names(self, "_client", "_net", patch="PatchedAdmin")


class PatchedConsumer(kafka.KafkaConsumer):  # type: ignore[misc]
    """A consumer that rests, that completes its joins, and that delivers what it has set aside.

    See ``_stopped_on_error``, ``_rest_between_rounds``, ``_complete_join`` and
    ``_restore_parked_records``. It also gives rebalance listeners a clock and a way to be woken
    (``signal_after``, ``settle_threadsafe``).

    Defect: a listener may await nothing but the library's own futures, and the library offers no
    public timer and no public way to settle a future from another thread.

    Test: none can show what is missing; ``test_patches_are_read_again_for_another_release``.

    Report: "AsyncConsumerRebalanceListener needs a way to wait with a bound, and to be woken."
    """

    def __init__(self, **configs: Any) -> None:
        """Take the client's own settings."""
        with _stopped_on_error(self):
            super().__init__(**configs)
        require_names(self, "_client", "_coordinator", "_fetcher", "_net", patch="PatchedConsumer")
        require_names(self._coordinator, "rejoining", "coordinator_id", patch="PatchedConsumer")
        require_names(self._fetcher, "_next_partition_records", "config", patch="PatchedConsumer")
        _rest_between_rounds(self._coordinator)
        _ask_where_unknown(self._coordinator)

    def poll(self, *args: Any, **options: Any) -> Mapping[Any, Sequence[Any]]:
        """Do what the client's own poll does, without the defects."""
        _complete_join(self._coordinator)
        _restore_parked_records(self._fetcher)
        polled: Mapping[Any, Sequence[Any]] = super().poll(*args, **options)
        return polled

    def wait_for_records(self, wait_ms: int) -> None:
        """Set how long brokers keep fetches without records; the client fixes it at its start."""
        self._fetcher.config["fetch_max_wait_ms"] = wait_ms

    def signal_after(self, timeout_s: float) -> Future:
        """Return a future that a listener can await, settled after the timeout at the latest."""
        signal = Future()
        self._net.call_later(timeout_s, lambda: settle(signal))
        return signal

    def settle_threadsafe(self, signal: Future) -> None:
        """End the wait for a signal, from any thread."""
        self._net.call_soon_threadsafe(lambda: settle(signal))


def settle(signal: Any) -> None:
    """End the wait for a signal, on the thread that runs the listeners."""
    if not signal.is_done:
        signal.success(None)


def _rest_between_rounds(coordinator: Any) -> None:
    """Let a poll wait for records although a heartbeat is late.

    Defect: with a late heartbeat ``time_to_next_poll`` is 0, and the poll goes round and round
    without a wait, adding a callback to the open fetch each time. With a broker that never answers,
    all poll threads of a worker spin for 10 s, its engine waits for the interpreter's lock, and
    half a million objects pile up.

    Test: ``test_poll_spins_on_a_broker_that_never_answers_unless_patched``.

    Report: "KafkaConsumer._poll_once caps the fetch timeout by time_to_next_poll(), which stays 0
    while a heartbeat is in flight past its interval. poll() then busy-loops, and each round hangs
    another callback on the pending fetch."
    """
    next_poll_s = coordinator.time_to_next_poll
    coordinator.time_to_next_poll = lambda: max(_ROUND_S, next_poll_s())


def _ask_where_unknown(coordinator: Any) -> None:
    """Ask for the group's coordinator only where it is not known.

    Defect: every poll hands this question to the client's thread, and waits for the answer.

    Test: ``test_every_poll_asks_for_a_coordinator_that_is_known_unless_patched``.

    Report: "ensure_coordinator_ready() calls net.run(), two changes of threads, in each poll."
    """
    ask = coordinator.ensure_coordinator_ready

    def ensure_coordinator_ready(timeout_ms: float | None = None) -> bool:
        node = coordinator.coordinator_id
        known = node is not None and coordinator._client.connected(node)
        return known or bool(ask(timeout_ms=timeout_ms))

    coordinator.ensure_coordinator_ready = ensure_coordinator_ready


def _complete_join(coordinator: Any) -> None:
    """See a join through that outlasts a poll.

    Defect: the library forgets a join that began because topics changed: as soon as this member, as
    the leader, has assigned the partitions, ``need_rejoin`` is False. The answer is then never
    read, and the member gets no records until its session ends.

    Test: ``test_join_that_outlasts_a_poll_is_forgotten_unless_patched``.

    Report: "ConsumerCoordinator.need_rejoin compares metadata snapshots that _perform_assignment
    makes equal while SyncGroup is still under way. A poll that times out in between never awaits
    the join again. The Java client requests the rejoin persistently since KAFKA-9815."
    """
    if coordinator.rejoining:
        coordinator.request_rejoin()


def _restore_parked_records(fetcher: Any) -> None:
    """Deliver records that were set aside when their partition was paused.

    Defect: the fetcher takes such records back only while it has no partition in line, and a
    partition that is drained stays in line: the records are neither delivered nor fetched again.

    Test: ``test_records_of_a_paused_partition_are_lost_unless_patched``.

    Report: "Fetcher.fetch_records restores _paused_partition_records only if
    _next_partition_records is None, but a drained PartitionRecords is falsy and not None. Records
    parked by pause() are not delivered after resume() until another fetch replaces it."
    """
    if not fetcher._next_partition_records:
        fetcher._next_partition_records = None


class PatchedProducer(kafka.KafkaProducer):  # type: ignore[misc]
    """A producer whose close ends its thread although records are left.

    Defect: ``close`` flushes first, and where that times out it raises before it ends the sender's
    thread. Callers that wait for a record then wait until its delivery timeout.

    Test: ``test_close_leaves_the_sender_running_unless_patched``.

    Report: "KafkaProducer.close(timeout) calls flush(timeout), whose KafkaTimeoutError skips
    initiate_close() and force_close(): the documented 'proceeding to force close' is unreachable."
    """

    def close(self, timeout: float | None = None, **options: Any) -> None:
        """Send what is buffered, fail what could not be sent in time, and end the thread."""
        if timeout is not None and not getattr(self, "_closed", True):
            try:
                self.flush(timeout)
            except KafkaError:
                logger.warning("records that Kafka did not take in time are given up")
                self._sender.force_close()
                self._sender.join(timeout)
        super().close(timeout, **options)


UNPATCHED_READ_MSG: Final = DefaultRecordBatch._read_msg
"""The library's own method, for the test that shows its defect."""


class _AnyText(bytes):
    def decode(self, *_: str) -> str:
        return super().decode("utf-8", "replace")


class _AnyTexts(bytes):
    """Bytes whose parts are texts of any kind."""

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return _AnyText(found) if isinstance(found, bytes) else found


def read_any_header_names() -> None:
    """Read records whose headers have names that are not UTF-8; with U+FFFD, as Java's client.

    Idempotent.

    Defect: the broker takes any bytes as a name. The library calls the record corrupt, in this poll
    and in every later one, and the group never gets past it: one record of a foreign writer ends
    the reading of its partition.

    Test: ``test_record_with_a_header_name_that_is_no_utf8_ends_a_partition_unless_patched``.

    Report: "DefaultRecordBatch._read_msg decodes header keys strictly. A record with any other
    bytes, which brokers accept and the Java client reads, raises CorruptRecordError for ever."
    """

    def read_msg(self: Any, *args: Any) -> Any:
        try:
            return UNPATCHED_READ_MSG(self, *args)
        except UnicodeDecodeError:
            # The place in the buffer moves at the end of a record only. For the rest of the batch,
            # as the copy costs more than the names.
            self._buffer = _AnyTexts(self._buffer)
            return UNPATCHED_READ_MSG(self, *args)

    DefaultRecordBatch._read_msg = read_msg


read_any_header_names()
