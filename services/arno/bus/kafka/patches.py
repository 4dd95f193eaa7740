"""Everything that Arno changes in kafka-python from outside.

Written for kafka-python 3.0.12. Each patch names the defect that it works around, the test that
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
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import kafka
from kafka.consumer.fetcher import Fetcher
from kafka.coordinator.consumer import ConsumerCoordinator
from kafka.errors import KafkaConnectionError, KafkaError
from kafka.future import Future
from kafka.net.compat import KafkaNetClient
from kafka.net.inet import KafkaNetSocket
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector
from kafka.net.transport import KafkaTCPTransport
from kafka.producer.sender import Sender

from arno.errors import ConfigurationError

logger = logging.getLogger(__name__)

WRITTEN_FOR: Final = "3.0.12"
"""The release in which each patch was found necessary."""

NOT_READY_PAUSE_MS: Final = 50.0
"""How often a sender asks about a broker that is not ready. An answer, a new connection or a new
record ends the pause, so nothing waits for it."""

_READ_BYTES: Final = 128 * 1024
_ROUND_S: Final = 0.05
"""Shortest wait for records inside a poll; a record that arrives ends it."""

_NOTHING_LEFT: Final = (
    BlockingIOError,
    InterruptedError,
    ssl.SSLWantReadError,
    ssl.SSLWantWriteError,
)


def require_names(owner: object, *names: str, patch: str) -> None:
    """Check that the library still has the private names that a patch uses.

    Raises:
        ConfigurationError: One is missing.
    """
    missing = [name for name in names if not hasattr(owner, name)]
    if missing:
        kind = owner if isinstance(owner, type) else type(owner)
        raise ConfigurationError(
            f"kafka-python {kafka.__version__} has no {kind.__name__}.{missing[0]}, which the "
            f"patch {patch} of arno.bus.kafka.patches needs: install kafka-python {WRITTEN_FOR}"
        )


require_names(KafkaConnectionManager, "_build_transport", patch="LongReadsClient")
require_names(KafkaTCPTransport, "_sock_recv", patch="LongReadsClient")
require_names(KafkaNetClient, "connection_delay", patch="PacedClient")
require_names(ConsumerCoordinator, "time_to_next_poll", "request_rejoin", patch="PatchedConsumer")
require_names(Fetcher, "fetch_records", patch="PatchedConsumer")
require_names(NetworkSelector, "call_later", "call_soon_threadsafe", patch="PatchedConsumer")
require_names(NetworkSelector, "wakeup", "_process_events", patch="SparingSelector")
require_names(Sender, "force_close", patch="PatchedProducer")
require_names(KafkaNetSocket, "sock_connect", patch="close_failed_sockets")


# The library has no types, so its base classes are Any.
class SparingSelector(NetworkSelector):  # type: ignore[misc]
    """Wakes its loop once, however many threads ask for it before it has woken up.

    Defect: every wake-up writes a byte to a socket, although the loop has not read the last one.
    Each releases the interpreter's lock, so that a thread that sends a batch of records waits for
    the lock once a record.

    Test: ``test_unpatched_selector_writes_a_byte_for_every_wake_up``.

    Report: "NetworkSelector.wakeup() sends a byte for each call. A flag that is set until
    _process_events has drained the socket saves a system call for each record of a busy producer."
    """

    def __init__(self, **configs: Any) -> None:
        """Take the selector's own settings."""
        self._woken = False
        super().__init__(**configs)

    def wakeup(self) -> None:
        """End the wait of the loop. Any thread."""
        # What the caller has queued before is seen: the loop looks after it has cleared this.
        if not self._woken:
            self._woken = True
            super().wakeup()

    def _process_events(self, event_list: Any) -> None:
        try:
            super()._process_events(event_list)
        finally:
            # After the byte is read: one that was written since would be read with it.
            self._woken = False


class LongReadsClient(KafkaNetClient):  # type: ignore[misc]
    """Reads from brokers in pieces of a record's size.

    Defect: the transport asks its socket for 4 KiB at a time, and releases the interpreter's lock
    each time: for a record with an image of 100 kB, 26 times, while every other thread of a worker
    queues for the lock.

    Test: ``test_unpatched_transport_reads_four_kilobytes_at_a_time``.

    Report: "KafkaTCPTransport._sock_recv calls recv(4096) until the socket is empty. With fetches
    of hundreds of kilobytes that is dozens of system calls and releases of the GIL per fetch. A
    buffer of 64 KiB or more (a setting, or receive_buffer_bytes) halved the CPU time of our
    consumers."
    """

    def __init__(self, **configs: Any) -> None:
        """Take the client's own settings."""
        net = SparingSelector(**configs)
        super().__init__(net, _LongReadsConnections(net, **configs), **configs)


class _LongReadsConnections(KafkaConnectionManager):  # type: ignore[misc]
    async def _build_transport(self, node: Any, timeout_at: float | None = None) -> Any:
        transport = await super()._build_transport(node, timeout_at=timeout_at)
        require_names(transport, "_sock", "_sock_recv", patch="LongReadsClient")
        transport._sock_recv = partial(receive, transport._sock)
        return transport


def receive(connection: socket.socket) -> tuple[bytes, KafkaConnectionError | None]:
    """Return what a non-blocking socket has received, and the error that ended it, if any.

    The error is the transport's own, which closes the connection with it.
    """
    received: list[bytes] = []
    try:
        while True:
            piece = connection.recv(_READ_BYTES)
            if not piece:
                return b"".join(received), KafkaConnectionError("the broker hung up")
            received.append(piece)
            # Under TLS more may be decrypted already, of which no selector knows.
            if len(piece) < _READ_BYTES and not isinstance(connection, ssl.SSLSocket):
                break
    except _NOTHING_LEFT:
        pass
    except OSError as fault:
        return b"".join(received), KafkaConnectionError(str(fault))
    return b"".join(received), None


class PacedClient(LongReadsClient):
    """Keeps the producer's thread from asking without a pause whether a broker is ready.

    Defect: while a connection is being made, or has as many requests open as it may, the sender
    asks again at once, and takes the seconds of a backoff for milliseconds. With a broker that
    accepts connections and never answers, its thread spins as long as the outage lasts, and all
    other threads wait for the interpreter's lock: a gateway's refusals took up to a second.

    Test: ``test_unpatched_client_gives_the_sender_seconds_for_milliseconds``.

    Report: "Sender._send_producer_data passes KafkaNetClient.connection_delay(node), in seconds and
    0 for a node that is connecting or has max_in_flight requests, on as poll_timeout_ms. run_once()
    then spins until the node is ready."
    """

    def connection_delay(self, node_id: int) -> float:
        """Return in how many milliseconds a sender asks again about a broker that is not ready."""
        return max(NOT_READY_PAUSE_MS, 1000.0 * float(super().connection_delay(node_id)))


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


UNPATCHED_SOCK_CONNECT: Final = KafkaNetSocket.sock_connect
"""The library's own method, for the test that shows its defect."""


def close_failed_sockets() -> None:
    """Close the socket of a connection that is refused, times out, or is given up. Idempotent.

    Defect: the socket is left to the garbage collector. While a broker is away, each attempt to
    reconnect leaks a file descriptor until then.

    Test: ``test_unpatched_connect_leaves_the_socket_of_a_refused_connection_open``.

    Report: "KafkaNetSocket.connect does not close its socket when sock_connect raises, or when the
    coroutine is closed while it waits."
    """

    async def sock_connect(
        self: Any, net: Any, sock: socket.socket, sockaddr: Any, timeout_at: float | None = None
    ) -> socket.socket:
        try:
            connected: socket.socket = await UNPATCHED_SOCK_CONNECT(
                self, net, sock, sockaddr, timeout_at=timeout_at
            )
        except BaseException:
            sock.close()
            raise
        return connected

    KafkaNetSocket.sock_connect = sock_connect


close_failed_sockets()
