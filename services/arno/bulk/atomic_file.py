"""Write files that are there whole or not at all.

Stands alone: every file of an answer folder that readers may open is written through it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield the name of a new file, which takes the place of `path` when the block has ended.

    The content is on the disk before the name is, and the name before this returns. A block that
    raises leaves `path` as it was.
    """
    # One name for all tries: what a killed run has left is written over.
    written = path.with_name(f".{path.name}.part")
    try:
        yield written
        with written.open("rb") as file:
            os.fsync(file.fileno())
        written.replace(path)
    except BaseException:
        written.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
