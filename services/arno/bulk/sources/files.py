"""Images in files of their own: a folder, a list of names, lines of JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from arno.bulk.item import Item, Place
from arno.bulk.sources.source import Source
from arno.errors import InvalidFieldError
from arno.images.file_types import FILE_SUFFIXES

_SENT_CHARS_MAX = 80


class FolderSource(Source):
    """The pictures of a folder and of the folders in it, found by name, in the order of names.

    Keys are paths relative to the folder. Hidden files and folders are left out.
    """

    def __init__(self, folder: Path) -> None:
        """Take the folder; it is read when the items are."""
        self._folder = folder
        self.name = str(folder.absolute())

    def __iter__(self) -> Iterator[Item]:
        for path in _pictures(self.name):
            yield Item(os.path.relpath(path, self.name), Place(Path(path)))

    def count(self) -> int:
        """Return how many pictures there are."""
        return sum(1 for _ in _pictures(self.name))


class FilesSource(Source):
    """Files named one by one. Keys are paths relative to the folder that holds all of them."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Take the files, at least one."""
        self._paths = [path.absolute() for path in paths]
        parents = [path.parent for path in self._paths]
        self._root = os.path.commonpath(parents)
        self.name = f"files in {self._root}"

    def __iter__(self) -> Iterator[Item]:
        for path in self._paths:
            yield Item(os.path.relpath(path, self._root), Place(path))

    def count(self) -> int:
        """Return how many files there are."""
        return len(self._paths)


class ListSource(Source):
    """The files that a text file names, one a line, relative to the text file.

    Keys are the names as they stand there. Blank lines and lines that begin with # are left out.
    """

    def __init__(self, path: Path) -> None:
        """Take the text file; it is read when the items are."""
        self._path = path
        self.name = str(path.absolute())

    def __iter__(self) -> Iterator[Item]:
        folder = Path(self.name).parent
        for _, line in _lines(self._path):
            name = line.decode("utf-8", "surrogateescape").strip()
            if name and not name.startswith("#"):
                yield Item(name, Place(folder / name))

    def count(self) -> int:
        """Return how many names there are."""
        return sum(1 for _ in self)


class JsonLinesSource(Source):
    """Lines of JSON: `image` is a path relative to the file; `id`, if there is one, is the key.

    Without `id` the key is the path. The other fields are kept with the answer.
    """

    def __init__(self, path: Path) -> None:
        """Take the file; it is read when the items are."""
        self._path = path
        self.name = str(path.absolute())

    def __iter__(self) -> Iterator[Item]:
        for number, line in _lines(self._path):
            if line.strip():
                yield self._item(line, f"{self._path.name}:{number}")

    def count(self) -> int:
        """Return how many lines there are."""
        return sum(1 for _, line in _lines(self._path) if line.strip())

    def _item(self, line: bytes, where: str) -> Item:
        try:
            document = json.loads(line)
        except (ValueError, RecursionError) as error:
            return Item(where, _raising(where, f"not JSON ({error})", line))
        image = document.get("image") if isinstance(document, dict) else None
        if not isinstance(image, str):
            return Item(where, _raising(where, "must be an object with a path as `image`", line))
        fields: dict[str, Any] = {
            name: value for name, value in document.items() if name != "image"
        }
        key = str(fields.get("id", image))
        if not _is_name(key):
            return Item(where, _raising(where, "the key holds half a character", line))
        return Item(key, Place(Path(self.name).parent / image), fields)


def _pictures(folder: str) -> Iterator[str]:
    """Yield the paths of pictures; only the names of one folder and those above it are held."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
        raise InvalidFieldError(field="SOURCE", problem=problem, sent=folder) from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _pictures(entry.path)
        elif Path(entry.name).suffix.lower() in FILE_SUFFIXES:
            yield entry.path


def _is_name(key: str) -> bool:
    r"""Return whether a text can name a file: JSON has "\ud83d" where a program cut an emoji."""
    try:
        key.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            yield from enumerate(file, start=1)
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
        raise InvalidFieldError(field="SOURCE", problem=problem, sent=str(path)) from error


def _raising(where: str, problem: str, line: bytes) -> Callable[[], bytes]:
    def open_image() -> bytes:
        sent = line[:_SENT_CHARS_MAX].decode("utf-8", "replace").strip()
        raise InvalidFieldError(field=where, problem=problem, sent=sent)

    return open_image
