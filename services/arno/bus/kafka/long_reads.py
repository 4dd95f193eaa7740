"""Read from brokers in pieces of a record's size.

kafka-python 3.0.12 asks its socket for 4 KiB at a time, and lets go of the interpreter each time:
for a record with an image of 100 kB, 26 times, with every other thread of a worker in line.
"""

from __future__ import annotations

import socket
import ssl
from functools import partial
from typing import Any, Final

from kafka.errors import KafkaConnectionError
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector

_READ_BYTES: Final = 128 * 1024

_NOTHING_LEFT: Final = (
    BlockingIOError,
    InterruptedError,
    ssl.SSLWantReadError,
    ssl.SSLWantWriteError,
)


# The client has no types, so its base classes are Any.
class LongReadsClient(KafkaNetClient):  # type: ignore[misc]
    """What a consumer or producer talks through."""

    def __init__(self, **configs: Any) -> None:
        """Take the client's own settings."""
        net = NetworkSelector(**configs)
        super().__init__(net, _Connections(net, **configs), **configs)


class _Connections(KafkaConnectionManager):  # type: ignore[misc]
    async def _build_transport(self, node: Any, timeout_at: float | None = None) -> Any:
        transport = await super()._build_transport(node, timeout_at=timeout_at)
        transport._sock_recv = partial(receive, transport._sock)
        return transport


def receive(connection: socket.socket) -> tuple[bytes, KafkaConnectionError | None]:
    """Return what a socket that does not block has received, and why it is at its end, if it is.

    In the words of the transport, which ends its connection for the latter.
    """
    received: list[bytes] = []
    try:
        while True:
            piece = connection.recv(_READ_BYTES)
            if not piece:
                return b"".join(received), KafkaConnectionError("the broker hung up")
            received.append(piece)
            # Under TLS more may lie decrypted already, of which no selector knows.
            if len(piece) < _READ_BYTES and not isinstance(connection, ssl.SSLSocket):
                break
    except _NOTHING_LEFT:
        pass
    except OSError as fault:
        return b"".join(received), KafkaConnectionError(str(fault))
    return b"".join(received), None
