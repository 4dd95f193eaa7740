"""Whether a caption names the objects that are there, and how many: F1 of its objects.

Definition: both captions are read for the nouns of a given list, each with the number before it
("two red cars": 2 cars; "a cat": 1). Right are, for each noun, as many as both name; F1 is twice
the right ones over all that either names, summed over images. The idea of CHAIR (Rohrbach et al.
2018, arXiv:1809.02156), with numbers, and for missing objects as well as invented ones.

Source: by this definition; hand-computed cases in the tests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from arno.training.evaluation.metrics.matching import Tally
from arno.training.evaluation.metrics.words import words_of

_NUMBERS: Final = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6,
    "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
}  # fmt: skip
_BREAKS: Final = frozenset({"a", "an", "the", "and"})


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
    """Return how many objects the caption names, the truth names, and both do."""
    one, other = objects_named(said, nouns), objects_named(true, nouns)
    return Tally(one.total(), other.total(), (one & other).total())


def _noun_at(
    words: Sequence[str], at: int, nouns: Mapping[str, str], longest: int
) -> tuple[str | None, int]:
    """Return the object that is named from the word ``at`` on, and in how many words."""
    for length in range(min(longest, len(words) - at), 0, -1):
        noun = nouns.get(" ".join(words[at : at + length]))
        if noun is not None:
            return noun, length
    return None, 1
