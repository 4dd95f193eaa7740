"""WebDataset shards: tar files in which neighbours of one name, up to the first dot, are a sample.

`0017.jpg`, `0017.txt` and `0017.json` are one sample: the picture is the image, the others are
fields of the item (`txt`, `json`).
"""

from __future__ import annotations

import itertools
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

from arno.bulk.item import IMAGE_BYTES_MAX, Item, Place, require_image_size
from arno.bulk.sources.source import Source
from arno.errors import InvalidFieldError
from arno.images.file_types import FILE_SUFFIXES

_FIELD_BYTES_MAX: Final = 1 << 20
"""Longer texts beside an image are left out: they are no captions or labels."""

_TEXT_SUFFIXES: Final = frozenset({"txt", "text", "cls", "json"})


class TarSource(Source):
    """The samples of WebDataset shards, shard by shard. Keys are `SHARD/SAMPLE`.

    Compressed shards are read whole by one thread; of others each image is read where it is needed.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Take the shards, at least one."""
        self._paths = [path.absolute() for path in paths]
        self._root = os.path.commonpath([path.parent for path in self._paths])
        only = len(self._paths) == 1
        self.name = str(self._paths[0]) if only else f"shards in {self._root}"

    def __iter__(self) -> Iterator[Item]:
        for path in self._paths:
            shard = os.path.relpath(path, self._root)
            for key, members in itertools.groupby(_members(path), key=lambda one: one.sample):
                item = _item(f"{shard}/{key}", members)
                if item is not None:
                    yield item

    def count(self) -> int | None:
        """Return how many samples there are; None for compressed shards."""
        if any(path.suffix != ".tar" for path in self._paths):
            return None
        # Only headers are read: the content is skipped.
        return sum(1 for _ in self)


@dataclass(frozen=True, slots=True)
class _Member:
    """A file of a shard: the sample that it belongs to, its suffix, and how to read it."""

    sample: str
    suffix: str
    size_bytes: int
    read: Callable[[], bytes]


def _members(path: Path) -> Iterator[_Member]:
    try:
        # Of a plain file the places of images must be right, so no compression is guessed.
        with tarfile.open(path, "r:" if path.suffix == ".tar" else "r:*") as shard:
            # Not iterated: that would keep every header in memory.
            while (info := shard.next()) is not None:
                shard.members.clear()  # type: ignore[attr-defined] # as WebDataset's reader does
                if info.isfile():
                    yield _member(path, shard, info)
    except (OSError, tarfile.TarError, EOFError) as error:
        said = str(error).partition("\n")[0].rstrip(":")
        problem = f"not a tar file that can be read ({said})"
        raise InvalidFieldError(field="SOURCE", problem=problem, sent=str(path)) from error


def _member(path: Path, shard: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    name = PurePosixPath(info.name)
    stem, _, suffix = name.name.partition(".")
    sample = str(name.parent / stem)
    if path.suffix == ".tar":
        read: Callable[[], bytes] = Place(path, info.offset_data, info.size)
    else:
        # A file that is too large for an image is not read: only its size counts.
        file = shard.extractfile(info) if info.size <= IMAGE_BYTES_MAX else None
        content = b"" if file is None else file.read()
        read = partial(_held, content, info.size)
    return _Member(sample, suffix.lower(), info.size, read)


def _held(content: bytes, size_bytes: int) -> bytes:
    """Return what was read of a file of this size.

    Raises:
        LimitExceededError: The file is too large, and was not read.
    """
    require_image_size(size_bytes, IMAGE_BYTES_MAX)
    return content


def _item(key: str, members: Iterator[_Member]) -> Item | None:
    """Return the item of a sample; None without a picture in it."""
    image: Callable[[], bytes] | None = None
    fields: dict[str, Any] = {}
    for member in members:
        if f".{member.suffix.rpartition('.')[2]}" in FILE_SUFFIXES:
            image = image or member.read
        elif member.suffix in _TEXT_SUFFIXES and member.size_bytes <= _FIELD_BYTES_MAX:
            fields[member.suffix] = _field(member)
    return None if image is None else Item(key, image, fields)


def _field(member: _Member) -> Any:
    text = member.read().decode("utf-8", "replace")
    if member.suffix != "json":
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
