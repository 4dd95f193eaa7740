"""One image of a source: its key, how to read it, and what the source says about it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from arno.errors import InvalidImageError
from arno.images.input import require_size
from arno.vocabulary import TaskSpec

IMAGE_BYTES_MAX: Final = 64 << 20
"""Of one image file, by default: above what gateways take by default, and bounded, because a run
holds as many images as it has jobs in flight."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of an image lie: a whole file, or a part of one.

    Attributes:
        path: The file.
        offset: The first byte of the image.
        size_bytes: How many bytes it has; None is the rest of the file.
        bytes_max: A larger image is not read.
    """

    path: Path
    offset: int = 0
    size_bytes: int | None = None
    bytes_max: int = IMAGE_BYTES_MAX

    def __call__(self) -> bytes:
        """Return the bytes.

        Raises:
            InvalidImageError: They cannot be read.
            LimitExceededError: There are too many.
        """
        try:
            with self.path.open("rb") as file:
                size_bytes = self.size_bytes
                if size_bytes is None:
                    size_bytes = os.fstat(file.fileno()).st_size - self.offset
                require_image_size(size_bytes, self.bytes_max)
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


def bounded(items: Iterable[Item], bytes_max: int) -> Iterator[Item]:
    """Yield the items, of which those that lie in files are read only up to a size."""
    for item in items:
        place = item.place
        yield (
            item if place is None else replace(item, open_image=replace(place, bytes_max=bytes_max))
        )


def require_image_size(size_bytes: int, bytes_max: int) -> None:
    """Refuse an image file of a source by its size.

    Raises:
        LimitExceededError: It is larger than the limit.
    """
    require_size(size_bytes, bytes_max, problem="the file is too large (image_bytes_max)")
