"""A name server on loopback: one name with the addresses that a test says, as headless Services."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

from support.background import Background

_A, _IN = 1, 1
_ANSWER_NO_ERROR = 0x8400
_HEADER = struct.Struct("!6H")
_TIME_TO_LIVE_S = 1


class NameServer(Background):
    """Answers every question for addresses with `addresses`, and others with nothing."""

    def __init__(self, addresses: Sequence[str]) -> None:
        """Bind a free port of 127.0.0.1."""
        super().__init__("name server")
        self.addresses = addresses
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.05)
        self.port: int = self._socket.getsockname()[1]

    def work(self) -> None:
        """Answer until told to stop."""
        while not self.stopping.is_set():
            try:
                query, caller = self._socket.recvfrom(512)
            except TimeoutError:
                continue
            self._socket.sendto(self._answer(query), caller)

    def close(self) -> None:
        """Stop, and free the port."""
        try:
            super().close()
        finally:
            self._socket.close()

    def _answer(self, query: bytes) -> bytes:
        (number, *_) = _HEADER.unpack_from(query)
        end = query.index(b"\0", _HEADER.size) + 5
        (kind,) = struct.unpack_from("!H", query, end - 4)
        question = query[_HEADER.size : end]
        addresses = self.addresses if kind == _A else ()
        # The name of a record is a pointer to that of the question.
        records = b"".join(
            struct.pack("!HHHIH", 0xC000 | _HEADER.size, _A, _IN, _TIME_TO_LIVE_S, 4)
            + socket.inet_aton(address)
            for address in addresses
        )
        header = _HEADER.pack(number, _ANSWER_NO_ERROR, 1, len(addresses), 0, 0)
        return header + question + records
