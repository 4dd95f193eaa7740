"""One image of a source: its key, how to read it, and what the source says about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arno.errors import InvalidImageError
from arno.vocabulary import TaskSpec


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of an image lie: a whole file, or a part of one.

    Attributes:
        path: The file.
        offset: The first byte of the image.
        size_bytes: How many bytes it has; None is the rest of the file.
    """

    path: Path
    offset: int = 0
    size_bytes: int | None = None

    def __call__(self) -> bytes:
        """Return the bytes.

        Raises:
            InvalidImageError: They cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                return file.read(-1 if self.size_bytes is None else self.size_bytes)
        except (OSError, ValueError) as error:  # ValueError: no file can have such a name
            problem = f"cannot read the file: {getattr(error, 'strerror', None) or error}"
            raise InvalidImageError(field="image", problem=problem, sent=str(self.path)) from error


@dataclass(frozen=True, slots=True)
class Item:
    """One image to ask about.

    Attributes:
        key: Names it in its source, the same in every run; no two items of a source share one.
        open_image: Returns the bytes of the image file, on any thread. Raises an
            `InvalidRequestError` where they cannot be had.
        fields: What the source says about it, as JSON: the other fields of its line, the texts
            beside it in its shard, the time of its frame. Kept with the answer.
        tasks: What is asked about it; empty: the tasks of the run.
    """

    key: str
    open_image: Callable[[], bytes] = field(repr=False)
    fields: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[TaskSpec, ...] = ()

    @property
    def place(self) -> Place | None:
        """Where its bytes lie; None if they are in no file as they are, such as video frames."""
        return self.open_image if isinstance(self.open_image, Place) else None
