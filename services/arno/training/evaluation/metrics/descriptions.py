"""Regions with descriptions: whether the places are right, and the words with them.

Definition: regions are paired by place alone, one to one, at an IoU of at least 0.5. The boxes' F1
counts the pairs; the descriptions' F1 counts those whose texts are equal too, but for case and
spaces; the words' F1 is, over the true regions, the mean F1 of the words of both texts, and 0 where
nothing was found. DenseCap's own mean average precision (Johnson et al. 2016, arXiv:1511.07571)
needs METEOR, which is a Java program.

Source: by this definition (the words' F1 is SQuAD's, Rajpurkar et al. 2016, arXiv:1606.05250);
hand-computed cases in the tests.

Stands alone: one metric a file, with its definition and source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from arno.training.evaluation.metrics.matching import Tally, any_label, match, same_label
from arno.training.evaluation.metrics.words import words_of
from arno.vocabulary import Region


@dataclass(frozen=True, slots=True)
class Described:
    """One image.

    Attributes:
        boxes: Places that agree. texts: Places that agree and whose texts are equal.
        word_f1_sum: The words' F1 of each true region, added up.
    """

    boxes: Tally
    texts: Tally
    word_f1_sum: float


def describe(found: Sequence[Region], true: Sequence[Region]) -> Described:
    """Compare the described regions of one image."""
    pairs = match(found, true, may_match=any_label)
    equal = sum(same_label(found[pair.found], true[pair.true]) for pair in pairs)
    return Described(
        boxes=Tally(len(found), len(true), len(pairs)),
        texts=Tally(len(found), len(true), equal),
        word_f1_sum=sum(word_f1(found[p.found].label, true[p.true].label) for p in pairs),
    )


def word_f1(said: str, true: str) -> float:
    """Return how far the words of two texts agree, whatever their order: F1, 0..1."""
    one, other = Counter(words_of(said)), Counter(words_of(true))
    return Tally(one.total(), other.total(), (one & other).total()).f1
