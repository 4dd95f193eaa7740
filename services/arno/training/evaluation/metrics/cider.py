"""CIDEr-D: how much a caption agrees with what people wrote about the image.

Definition: Vedantam et al. 2015 (arXiv:1411.5726). Captions become vectors of their 1- to 4-grams,
weighted by how rare each is over the images of the data set; the figure is the mean over n and over
the references of the cosine of caption and reference (the caption's counts clipped to the
reference's, damped by exp(-d^2 / 2 * 6^2) for a difference of d words), times 10. From 0 to 10.
The papers write it times 100: their 133.5 is 1.335 here.

The rarity is counted on the truths that are measured: figures of other data sets, or of parts of
one, cannot be compared; and on a handful of images it says nothing.

Source: by this definition; the tests compare with the figures of pycocoevalcap 1.2. That package is
not used itself: its words need Java, its wheel is 104 MB, and its last release is of 2020.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from arno.training.evaluation.metrics.words import words_of

_ORDER_MAX: Final = 4
_SIGMA: Final = 6.0
_SCALE: Final = 10.0

Gram: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Vector:
    """A caption: its weighted n-grams and their norms by order 1..4, and its length in words."""

    weights: tuple[dict[Gram, float], ...]
    norms: tuple[float, ...]
    length: int


def cider(said: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Return the CIDEr-D of each caption; the data set's is their mean.

    Args:
        said: The model's captions.
        references: For each of them what people wrote, at least one.

    Raises:
        ValueError: A caption has no reference, or the lists differ in length.
    """
    return cider_of_words(
        [words_of(caption) for caption in said],
        [[words_of(caption) for caption in captions] for captions in references],
    )


def cider_of_words(
    said: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
) -> list[float]:
    """Return the CIDEr-D of captions that are cut into words already.

    Raises:
        ValueError: A caption has no reference, or the lists differ in length.
    """
    if not all(references):
        raise ValueError("every caption needs at least one reference")
    images_with: Counter[Gram] = Counter()
    for captions in references:
        images_with.update({gram for caption in captions for gram in _grams(caption)})
    # With one image every n-gram is in all of them, and nothing would have any weight: the
    # reference implementation divides by zero images there as well.
    images_log = math.log(len(references)) if references else 0.0

    def vector(words: Sequence[str]) -> _Vector:
        return _vector(words, images_with, images_log)

    figures = []
    for caption, captions in zip(said, references, strict=True):
        own = vector(caption)
        likeness = [_likeness(own, vector(reference)) for reference in captions]
        figures.append(_SCALE * sum(likeness) / len(likeness))
    return figures


def _grams(words: Sequence[str]) -> Counter[Gram]:
    return Counter(
        tuple(words[start : start + order])
        for order in range(1, _ORDER_MAX + 1)
        for start in range(len(words) - order + 1)
    )


def _vector(words: Sequence[str], images_with: Counter[Gram], images_log: float) -> _Vector:
    weights: tuple[dict[Gram, float], ...] = tuple({} for _ in range(_ORDER_MAX))
    for gram, count in _grams(words).items():
        rarity = images_log - math.log(max(1, images_with[gram]))
        weights[len(gram) - 1][gram] = count * rarity
    norms = tuple(math.sqrt(sum(value**2 for value in part.values())) for part in weights)
    # The reference implementation takes the number of 2-grams for the length.
    return _Vector(weights, norms, max(0, len(words) - 1))


def _likeness(said: _Vector, true: _Vector) -> float:
    damping = math.exp(-((said.length - true.length) ** 2) / (2 * _SIGMA**2))
    cosines = []
    for order in range(_ORDER_MAX):
        shared = sum(
            min(weight, true.weights[order].get(gram, 0.0)) * true.weights[order].get(gram, 0.0)
            for gram, weight in said.weights[order].items()
        )
        norm = said.norms[order] * true.norms[order]
        cosines.append(damping * (shared / norm if norm else shared))
    return sum(cosines) / _ORDER_MAX
