"""Samples, which training and evaluation share, and sequences of them that are read on demand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from PIL.Image import Image

from arno.errors import InvalidFieldError
from arno.vocabulary import AnswerValue, ImageSize, Region, TaskSpec


@dataclass(frozen=True, slots=True)
class Sample:
    """A question and its truth. The prompt is `build_prompt` of it, the target `encode` of it.

    Attributes:
        sample_id: Where it comes from, for messages: ``boxes.jsonl:17``, ``world:7/42/OD``.
        image_id: Equal for the samples of one image.
        open_image: Reads or renders the image, RGB, as a viewer shows it. May be called from any
            process, again and again; raises `InvalidImageError` where the file is broken.
        size: The image's size in pixels; shapes of the question and of the answer refer to it.
        spec: The question: its task, and the text, classes or region that the task takes.
        answer: The truth, in the order in which a model should say it.
        ignored: Regions that are no single object, as COCO's crowds: nothing to learn, and what a
            model finds there is neither right nor wrong.
    """

    sample_id: str
    image_id: str
    open_image: Callable[[], Image] = field(repr=False)
    size: ImageSize
    spec: TaskSpec
    answer: AnswerValue
    ignored: tuple[Region, ...] = ()


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


def error_at(place: str, error: InvalidFieldError) -> InvalidFieldError:
    """Return an error whose field also names the file and line it was found in."""
    field = f"{place}: {error.field}"
    facts = error.metadata
    return type(error)(
        field=field, problem=error.problem, limit=facts.get("limit"), sent=facts.get("sent")
    )
