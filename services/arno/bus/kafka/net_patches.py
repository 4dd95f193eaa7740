"""What Arno changes in the connections of kafka-python from outside.

The rules are those of ``patches``: each patch names the defect, the test that shows it in the
unpatched library, and the report for upstream.
"""

from __future__ import annotations

import socket
import ssl
from functools import partial
from typing import Any, Final

import kafka
from kafka.errors import KafkaConnectionError
from kafka.net.compat import KafkaNetClient
from kafka.net.inet import KafkaNetSocket
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector
from kafka.net.transport import KafkaTCPTransport

from arno.errors import ConfigurationError

WRITTEN_FOR: Final = "3.0.12"
"""The release in which each patch was found necessary."""

NOT_READY_PAUSE_MS: Final = 50.0
"""How often a sender asks about a broker that is not ready. An answer, a new connection or a new
record ends the pause, so nothing waits for it."""

_READ_BYTES: Final = 128 * 1024

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
require_names(NetworkSelector, "wakeup", "_process_events", patch="SparingSelector")
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
