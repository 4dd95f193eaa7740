"""Samples by number, read when they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from arno.errors import InvalidFieldError
from arno.training.data.sample import Sample


class SampleSource(ABC):
    """A sized sequence of samples, in an order that never changes. May be pickled."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """What the samples are made of, as hex: equal digests give equal samples and numbers."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """Return a sample.

        Raises:
            InvalidFieldError: This sample is broken; others are not affected. The field is the
                file, the line and what is wrong in it.
            IndexError: There is no such sample.
        """

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


def fault_in(place: str, fault: InvalidFieldError) -> InvalidFieldError:
    """Return the fault with the file and line it was found in."""
    field = f"{place}: {fault.field}"
    facts = fault.metadata
    return type(fault)(
        field=field, problem=fault.problem, limit=facts.get("limit"), sent=facts.get("sent")
    )
