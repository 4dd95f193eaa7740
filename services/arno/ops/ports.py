"""Choose a TCP port for a server that another process will be.

Stands alone: `arno up`, the tests and the benchmarks start servers.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_LOWEST: Final = 20_000
_KERNELS_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_KERNELS_LOWEST: Final = 32_768
"""Of Linux, where it does not say; other systems begin higher."""

_given: Final[set[int]] = set()


def free_port() -> int:
    """Return a port of the loopback interface that is free now, and no other call's.

    It lies below the kernel's own range, where there is room. From that range every socket gets a
    port that asks for any: one of them could get this one before the server has bound it.
    """
    for port in _candidates():
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found: int = probe.getsockname()[1]
            _given.add(found)
            return found
    raise OSError("no port of the loopback interface is free")


def _candidates() -> Iterator[int]:
    """Yield ports in random order, since other processes choose as well; then any of the kernel."""
    try:
        end = int(_KERNELS_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        end = _KERNELS_LOWEST
    ports = range(_LOWEST, max(_LOWEST, end))
    yield from (one for one in random.SystemRandom().sample(ports, len(ports)) if one not in _given)
    yield 0
