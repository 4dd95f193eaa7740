"""Judge a head on images whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import torch

from arno.engine.encoding.image_preparation import make_pixels
from arno.engine.heads.description import HeadDescription
from arno.engine.heads.findings import Finding, FoundPixels, find, label_map
from arno.engine.heads.load import HeadNetwork
from arno.errors import InvalidFieldError
from arno.training.heads.figures import ObjectTally, PixelTally
from arno.training.heads.truth import TrueImage, TruthSource

_TOGETHER: Final = 8


@dataclass(frozen=True, slots=True)
class Judgement:
    """How good a head is on some images.

    Attributes:
        figures: Figures by name, 0..1.
        by_category: IoU of each category, of segmentation.
        image_count: Images judged.
        broken: What is wrong with the others.
    """

    figures: dict[str, float]
    by_category: dict[str, float]
    image_count: int
    broken: tuple[str, ...]


@dataclass(slots=True)
class Tally:
    """What a head found so far, beside the truth.

    Attributes:
        objects: Of a detector.
        pixels: Of a segmentation head.
        image_count: Images so far.
        broken: What is wrong with images that were left out.
    """

    objects: ObjectTally | None
    pixels: PixelTally | None
    image_count: int = 0
    broken: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, description: HeadDescription, source: TruthSource) -> Tally:
        """Return an empty tally.

        Raises:
            InvalidFieldError: The data has other categories than the head.
        """
        if source.categories != description.categories:
            other = [name for name in source.categories if name not in description.categories]
            raise InvalidFieldError(
                field="data: categories",
                problem="not those of the head, in their order",
                limit=", ".join(description.categories),
                sent=", ".join(other or source.categories),
            )
        if description.kind == "segmentation":
            return cls(None, PixelTally(description.categories))
        masks = description.has_masks and source.has_masks
        return cls(ObjectTally(description.categories, masks), None)

    def add(self, number: int, truth: TrueImage, finding: Finding) -> None:
        """Add an image; `number` is its own among all."""
        self.image_count += 1
        if isinstance(finding, FoundPixels):
            if self.pixels is not None and truth.labels is not None:
                self.pixels.add(truth.labels, label_map(finding, truth.size))
        elif self.objects is not None:
            self.objects.add(number, truth, finding)

    def merge(self, other: Tally) -> None:
        """Add what another process has found."""
        self.image_count += other.image_count
        self.broken += other.broken
        if self.objects is not None and other.objects is not None:
            self.objects.merge(other.objects)
        if self.pixels is not None and other.pixels is not None:
            self.pixels.counts += other.pixels.counts

    def judgement(self) -> Judgement:
        """Return the figures."""
        judged = self.objects or self.pixels
        return Judgement(
            figures=judged.figures() if judged is not None and self.image_count else {},
            by_category=self.pixels.by_category() if self.pixels is not None else {},
            image_count=self.image_count,
            broken=tuple(self.broken),
        )


def judge(
    network: HeadNetwork,
    description: HeadDescription,
    source: TruthSource,
    numbers: range,
    on_progress: Callable[[int], None] = lambda _done: None,
) -> Tally:
    """Run a head in evaluation mode over some images of the data; broken ones are noted.

    Args:
        network: The head's network.
        description: What the head is.
        source: The data.
        numbers: Which of its images.
        on_progress: Called with the number of images that are done.

    Raises:
        InvalidFieldError: The data has other categories than the head.
    """
    tally = Tally.of(description, source)
    device = next(network.parameters()).device
    readable = _readable(source, numbers, tally)
    while group := [pair for _, pair in zip(range(_TOGETHER), readable, strict=False)]:
        pixels = torch.stack([make_pixels(truth.picture, description.recipe) for _, truth in group])
        found = find(network, pixels.to(device), [truth.size for _, truth in group])
        for (number, truth), finding in zip(group, found, strict=True):
            tally.add(number, truth, finding)
        on_progress(tally.image_count + len(tally.broken))
    return tally


def _readable(source: TruthSource, numbers: range, tally: Tally) -> Iterator[tuple[int, TrueImage]]:
    for number in numbers:
        try:
            truth = source[number]
        except InvalidFieldError as error:
            tally.broken.append(error.message)
        else:
            yield number, truth
