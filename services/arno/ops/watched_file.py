"""A value read from files, and read again once the files have changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

ValueT = TypeVar("ValueT")

_Version = tuple[tuple[int, int, int], ...] | None


class WatchedFile(Generic[ValueT]):
    """Holds what `read` made of one or several files that belong together.

    Changes are found by modification time, size and inode: a replaced file has another inode,
    however fast it was replaced. Not thread-safe.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[], ValueT]) -> None:
        """Read the files.

        Args:
            paths: The files that `read` depends on.
            read: Reads them all; what it raises is passed on and leaves the value unchanged.
        """
        self._paths = tuple(paths)
        self._read = read
        self._version = self._files_version()
        self._value = read()

    @property
    def value(self) -> ValueT:
        """What was read last without an error."""
        return self._value

    def refresh(self) -> bool:
        """Read the files again if they have changed; return whether there is a new value.

        After an error the next call reads again, whether or not the files changed once more.
        """
        version = self._files_version()
        if version is not None and version == self._version:
            return False
        value = self._read()
        if self._files_version() != version:
            # Written while being read; the next call reads them again.
            return False
        self._version, self._value = version, value
        return True

    def _files_version(self) -> _Version:
        try:
            statuses = [path.stat() for path in self._paths]
        except OSError:
            # `read` raises the error that names the file.
            return None
        return tuple((each.st_mtime_ns, each.st_size, each.st_ino) for each in statuses)
