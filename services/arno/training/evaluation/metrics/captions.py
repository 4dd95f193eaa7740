"""Measures of captions: CIDEr-D, the F1 of the objects they name, and the F1 of their words."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from arno.training.evaluation.metrics.matching import Tally

_APOSTROPHE: Final = "\N{RIGHT SINGLE QUOTATION MARK}"
_NOT: Final = re.compile(r"\b(\w+)(n't)\b")
_CLITIC: Final = re.compile(r"(?<=\w)('(?:s|m|d|re|ve|ll))\b")
_WORD: Final = re.compile(
    r"""'(?:s|m|d|re|ve|ll)\b                 # a clitic that was cut off
      | n't\b
      | (?:[^\W\d_]\.){2,}                    # a.m., u.s.
      | (?:mr|mrs|ms|dr|st|jr|sr|vs)\.
      | \d+(?:[.,:/]\d+)*\w*(?:-\w+)*        # numbers, times, fractions, 3rd, 3.5-inch
      | \w+(?:[-'.&/]\w+)*                   # words, with what holds their parts together
      | [$%&]
      | -[lr]rb-
    """,
    re.VERBOSE,
)
_REPLACED: Final = {_APOSTROPHE: "'", "(": " -lrb- ", ")": " -rrb- ", "cannot": "can not"}
_NUMBERS: Final = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6,
    "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
}  # fmt: skip
_BREAKS: Final = frozenset({"a", "an", "the", "and"})
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


def words_of(caption: str) -> list[str]:
    """Return the words of a caption, in lower case, cut as the captioning benchmarks do.

    Definition: the Penn Treebank tokens of Stanford's tokenizer in lower case, without punctuation,
    as COCO's caption evaluation makes them before CIDEr, its oddities included: a bracket is the
    word "-lrb-" or "-rrb-". A small version for English captions: slang ("gonna") stays whole.

    Source: by this definition; the tests compare with the words of Stanford's tokenizer.
    """
    text = caption.lower()
    for old, new in _REPLACED.items():
        text = text.replace(old, new)
    return _WORD.findall(_CLITIC.sub(r" \1", _NOT.sub(r"\1 \2", text)))


def word_f1(said: str, true: str) -> float:
    """Return the F1 of the words of two texts, in any order, 0..1.

    Source: SQuAD's F1 (Rajpurkar et al. 2016, arXiv:1606.05250), on the words of `words_of`.
    """
    one, other = Counter(words_of(said)), Counter(words_of(true))
    return Tally(one.total(), other.total(), (one & other).total()).f1


def objects_named(caption: str, nouns: Mapping[str, str]) -> Counter[str]:
    """Return how many of each object a caption names.

    Args:
        caption: Any text.
        nouns: Every word, or words with spaces between, that names an object, in lower case, to the
            object's name: ``{"mouse": "mouse", "mice": "mouse", "traffic light": ...}``.
    """
    words = words_of(caption)
    longest = max((noun.count(" ") + 1 for noun in nouns), default=1)
    named: Counter[str] = Counter()
    number, at = 1, 0
    while at < len(words):
        noun, length = _noun_at(words, at, nouns, longest)
        if noun is not None:
            named[noun] += number
            number = 1
        elif words[at] in _NUMBERS:
            number = _NUMBERS[words[at]]
        elif words[at].isdecimal():
            number = int(words[at])
        elif words[at] in _BREAKS:
            number = 1
        at += length
    return named


def object_tally(said: str, true: str, nouns: Mapping[str, str]) -> Tally:
    """Return how many objects the caption names, the truth names, and both name.

    Definition: both captions are read for the nouns of a given list, each with the number before it
    ("two red cars": 2 cars; "a cat": 1). For each noun, as many are right as both captions name.
    The object F1 is that of the tallies summed over images. It is the idea of CHAIR (Rohrbach et
    al. 2018, arXiv:1809.02156), with numbers, and for missing objects as well as invented ones.

    Source: by this definition; hand-computed cases in the tests.
    """
    one, other = objects_named(said, nouns), objects_named(true, nouns)
    return Tally(one.total(), other.total(), (one & other).total())


def cider(said: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Return the CIDEr-D of each caption; the data set's is their mean.

    Definition: Vedantam et al. 2015 (arXiv:1411.5726). Captions become vectors of their 1- to
    4-grams, weighted by how rare each is over the images of the data set; the figure is the mean
    over n and over the references of the cosine of caption and reference (the caption's counts
    clipped to the reference's, damped by exp(-d^2 / 2 * 6^2) for a difference of d words), times
    10. From 0 to 10. Papers print it times 100: their 133.5 is 1.335 here. The rarity is counted
    on the measured truths: figures of other data sets, or of parts of one, cannot be compared, and
    figures of a handful of images mean nothing.

    Source: by this definition; the tests compare with the figures of pycocoevalcap 1.2. That
    package is not used itself: its tokenizer needs Java, its wheel is 104 MB, and its last release
    is of 2020.

    Args:
        said: The model's captions.
        references: For each caption the references that people wrote, at least one.

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


def _noun_at(
    words: Sequence[str], at: int, nouns: Mapping[str, str], longest: int
) -> tuple[str | None, int]:
    """Return the object that is named from the word ``at`` on, and in how many words."""
    for length in range(min(longest, len(words) - at), 0, -1):
        noun = nouns.get(" ".join(words[at : at + length]))
        if noun is not None:
            return noun, length
    return None, 1


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
