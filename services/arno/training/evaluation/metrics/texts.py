"""Measures of texts without places: exact answers, read text, answers to questions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rapidfuzz.distance import Levenshtein

from arno.training.evaluation.metrics.matching import plain

_AGREEING: Final = 3
_ARTICLES: Final = frozenset({"a", "an", "the"})
_NUMBERS: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"
)  # fmt: skip
_DIGITS: Final = {word: str(number) for number, word in enumerate(_NUMBERS)} | {"none": "0"}
_APOSTROPHES: Final = re.compile("['\N{RIGHT SINGLE QUOTATION MARK}]")
_PUNCTUATION: Final = re.compile(r"[^\w\s.,:]|[.,:](?!\d)|(?<!\d)[.,:]")


def is_right(said: str, references: Sequence[str]) -> bool:
    """Return whether an answer equals one of the right ones; accuracy is the part of those that do.

    Definition: case, runs of white space and a full stop at the end do not count. For categories
    of regions and read words.

    Source: by this definition; hand-computed cases in the tests.
    """
    return _bare(said) in {_bare(reference) for reference in references}


@dataclass(frozen=True, slots=True)
class ReadText:
    """The comparison of one text that was read with the truth.

    Attributes:
        edit_count: Number of edits from the answer to the truth.
        true_count: Number of characters of the truth.
    """

    edit_count: int
    true_count: int

    @property
    def error_rate(self) -> float:
        """Edits per character of the truth; of an empty truth, 0 for an empty answer, else 1."""
        if not self.true_count:
            return float(self.edit_count > 0)
        return self.edit_count / self.true_count


def read_text(said: str, true: str) -> ReadText:
    """Return the edits between an answer and the truth, and the length of the truth."""
    said, true = spaced(said), spaced(true)
    return ReadText(Levenshtein.distance(said, true), len(true))


def error_rate(texts: Sequence[ReadText]) -> float:
    """Return the character error rate over all questions.

    Definition: the fewest insertions, deletions and substitutions of characters that turn the
    answers into the truths (Levenshtein 1966), divided by the characters of all truths. 0 is
    perfect; it exceeds 1 where far too much was read. Case counts; runs of white space count as one
    space.

    Source: rapidfuzz's Levenshtein distance; the tests compare with the plain table of distances.
    """
    together = ReadText(sum(one.edit_count for one in texts), sum(one.true_count for one in texts))
    return together.error_rate


def spaced(text: str) -> str:
    """Return the text with single spaces between its words, and none around it."""
    return " ".join(text.split())


def vqa_accuracy(said: str, answers: Sequence[str]) -> float:
    """Return the VQA challenge's accuracy of an answer, 0..1.

    Definition: Antol et al. 2015 (arXiv:1505.00468). With several people's answers, an answer
    scores min(agreeing people / 3, 1), averaged over leaving out each of them in turn; with one
    true answer it scores 1 or 0. Answers are compared as `normalised` returns them.

    Source: by this definition; hand-computed cases in the tests. The challenge's list of
    contractions spelt without their apostrophe ("dont" for "don't") is not needed: apostrophes are
    dropped from both answers.

    Args:
        said: The model's answer.
        answers: The answers of people, at least one.

    Raises:
        ValueError: There are no answers.
    """
    if not answers:
        raise ValueError("a question needs at least one answer")
    mine = normalised(said)
    theirs = [normalised(answer) for answer in answers]
    if len(theirs) == 1:
        return float(mine == theirs[0])
    rights = []
    for left_out in range(len(theirs)):
        others = theirs[:left_out] + theirs[left_out + 1 :]
        rights.append(min(1.0, others.count(mine) / min(_AGREEING, len(others))))
    return sum(rights) / len(rights)


def normalised(answer: str) -> str:
    """Return an answer without case, punctuation and articles, with numbers as digits."""
    text = _PUNCTUATION.sub(" ", _APOSTROPHES.sub("", answer.lower()))
    words = (_DIGITS.get(word, word) for word in text.split() if word not in _ARTICLES)
    return " ".join(words)


def _bare(text: str) -> str:
    return plain(text).removesuffix(".").rstrip()
