"""What the asyncio client and the blocking client share: neither threads nor loops play a part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from arno.client.channel import Tls
from arno.client.faults import from_rpc


class ClientBase:
    """The address of a gateway, the default time limit of a call, and its translated errors."""

    def __init__(self, address: str, timeout_s: float, tls: Tls | None) -> None:
        """Keep the gateway's HOST:PORT, the default time limit of a call in seconds, and TLS."""
        self.address = address
        self.tls = tls
        self._timeout_s = timeout_s

    def _limit(self, timeout_s: float | None) -> float:
        return self._timeout_s if timeout_s is None else timeout_s

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise gRPC's errors as classes of `arno.errors`."""
        try:
            yield
        except grpc.RpcError as error:
            raise from_rpc(error, self.address) from None
