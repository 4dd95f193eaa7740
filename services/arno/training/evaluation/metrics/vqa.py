"""The accuracy of answers to questions, as the VQA challenge counts it.

Definition: Antol et al. 2015 (arXiv:1505.00468). With several people's answers to a question, an
answer is right to min(agreeing people / 3, 1), averaged over leaving out each of them in turn; with
one true answer, it is right or wrong. Answers are compared without case, punctuation and articles,
numbers as digits.

Source: by this definition; hand-computed cases in the tests. The challenge's list of contractions
spelt without their apostrophe ("dont" for "don't") is left out: apostrophes are dropped from both.

Stands alone: one metric a file, with its definition and source.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_AGREEING: Final = 3
_ARTICLES: Final = frozenset({"a", "an", "the"})
_NUMBERS: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"
)  # fmt: skip
_DIGITS: Final = {word: str(number) for number, word in enumerate(_NUMBERS)} | {"none": "0"}
_APOSTROPHES: Final = re.compile("['\N{RIGHT SINGLE QUOTATION MARK}]")
_PUNCTUATION: Final = re.compile(r"[^\w\s.,:]|[.,:](?!\d)|(?<!\d)[.,:]")


def vqa_accuracy(said: str, answers: Sequence[str]) -> float:
    """Return how right an answer is, 0..1.

    Args:
        said: The model's answer.
        answers: What people answered, at least one.

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
    """Return an answer as it is compared."""
    text = _PUNCTUATION.sub(" ", _APOSTROPHES.sub("", answer.lower()))
    words = (_DIGITS.get(word, word) for word in text.split() if word not in _ARTICLES)
    return " ".join(words)
