"""Write files that are there whole or not at all.

Answer folders and data sets write every file through it that readers may open.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

UNFINISHED: Final = ".tmp"
"""Ends the name of a file while it is written; a killed process leaves it behind."""


def unfinished(path: Path) -> Path:
    """Return the name that a file has while it is written: one for all tries."""
    return path.with_name(path.name + UNFINISHED)


@contextlib.contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield the name of a new file, which takes the place of `path` when the block has ended.

    The content is on the disk before the name is, and the name before this returns. A block that
    raises leaves `path` as it was.
    """
    written = unfinished(path)
    try:
        yield written
        with written.open("rb") as file:
            os.fsync(file.fileno())
        written.replace(path)
    except BaseException as error:
        written.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            # A full disk is told by the open file, which does not say its name.
            error.filename = str(path)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
