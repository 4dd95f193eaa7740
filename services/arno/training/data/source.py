"""Samples, which training and evaluation share, and sequences of them that are read on demand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from PIL.Image import Image

from arno.errors import InvalidFieldError
from arno.vocabulary import AnswerValue, ImageSize, Region, Task, TaskSpec


@dataclass(frozen=True, slots=True)
class Sample:
    """A question and its truth; `build_prompt` makes the prompt of it, `encode` the target.

    Attributes:
        sample_id: Origin of the sample, for messages: ``boxes.jsonl:17``, ``world:7/42/OD``.
        image_id: Equal for the samples of one image.
        open_image: Reads or renders the image, RGB, as a viewer shows it. Can be called in any
            process and repeatedly; raises `InvalidImageError` where the file is broken.
        size: Size of the image in pixels; shapes of the question and of the answer refer to it.
        spec: The task with the text, classes or region that it takes.
        answer: The truth, in the order in which a model should write it.
        ignored: Regions that mark several objects at once, as COCO's crowds do. They are not
            trained on, and findings in them are neither right nor wrong.
    """

    sample_id: str
    image_id: str
    open_image: Callable[[], Image] = field(repr=False)
    size: ImageSize
    spec: TaskSpec
    answer: AnswerValue
    ignored: tuple[Region, ...] = ()


class SampleSource(ABC):
    """A sized sequence of samples in a fixed order, read on demand. Can be pickled."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """Digest of the samples as hex: sources with equal digests have equal samples in order."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """Return a sample.

        Raises:
            InvalidFieldError: This sample is broken; others are not affected. The field names the
                file, the line and the field in it.
            IndexError: The number is out of range.
        """

    def task(self, index: int) -> Task | None:
        """Return the task of a sample without its image; None of a broken one.

        Sources that know it without reading the sample say it at once.
        """
        try:
            return self[index].spec.task
        except InvalidFieldError:
            return None

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


def error_at(place: str, error: InvalidFieldError) -> InvalidFieldError:
    """Return an error whose field also names the file and line it was found in."""
    return error.renamed(f"{place}: {error.field}")
