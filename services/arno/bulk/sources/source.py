"""What every source does.

Stands alone: the port that runs use, and that callers may implement.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from arno.bulk.item import Item


class Source(ABC):
    """A sequence of items that is the same in every run, read on demand.

    Attributes:
        name: Where it reads, as an absolute path where there is one. An answer folder keeps it.
    """

    name: str

    @abstractmethod
    def __iter__(self) -> Iterator[Item]:
        """Yield the items in their order.

        What is wrong with one item is raised when its image is opened.

        Raises:
            InvalidFieldError: The source as a whole cannot be read.
        """

    @abstractmethod
    def count(self) -> int | None:
        """Return how many items there are; None where that is known only after reading all."""
