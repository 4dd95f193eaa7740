"""Measures of regions with words: grounded phrases, described regions, words read in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arno.training.evaluation.metrics.captions import word_f1
from arno.training.evaluation.metrics.masks import shape_overlap
from arno.training.evaluation.metrics.matching import (
    IOU_MIN,
    Tally,
    any_label,
    box_overlap,
    match,
    plain,
    same_label,
)
from arno.training.evaluation.metrics.texts import spaced
from arno.vocabulary import GroundedPhrase, ImageSize, Region


def phrase_hits(found: Sequence[GroundedPhrase], true: Sequence[GroundedPhrase]) -> Tally:
    """Return how many true phrases have their best box in the right place; recall is the accuracy.

    Definition: a true phrase is right where the model's best box for the phrase (the one of the
    highest score, or the first) overlaps one of its true boxes with an IoU of at least 0.5. That is
    Recall@1 of Flickr30k Entities (Plummer et al. 2015, arXiv:1505.04870) with any box of a phrase
    accepted, and for a single phrase the accuracy@0.5 of referring expressions (RefCOCO, Yu et al.
    2016, arXiv:1608.00272). Phrases are compared without regard to case and spaces. Found phrases
    that are not in the truth do not lower the accuracy; `found_count` counts them.

    Source: by this definition; hand-computed cases in the tests.
    """
    regions: dict[str, tuple[Region, ...]] = {}
    for phrase in found:
        regions[plain(phrase.phrase)] = regions.get(plain(phrase.phrase), ()) + phrase.regions
    hits = sum(is_hit(regions.get(plain(one.phrase), ()), one.regions) for one in true)
    return Tally(len(found), len(true), hits)


def is_hit(found: Sequence[Region], true: Sequence[Region]) -> bool:
    """Return whether the best of the boxes found lies on one of the true ones."""
    # `max` gives the first of equals: without scores, the first box.
    best = max(found, key=lambda region: region.score or 0.0, default=None)
    return best is not None and any(box_overlap(best, region) >= IOU_MIN for region in true)


def box_tally(found: Sequence[GroundedPhrase], true: Sequence[GroundedPhrase]) -> Tally:
    """Return how many boxes agree, one to one, in phrase and place: for phrases with several."""
    flat_found, flat_true = _flat(found), _flat(true)
    pairs = match(flat_found, flat_true, may_match=lambda one, two: one.label == two.label)
    return Tally(len(flat_found), len(flat_true), len(pairs))


@dataclass(frozen=True, slots=True)
class Described:
    """The comparison of the described regions of one image.

    Attributes:
        boxes: Regions whose places agree.
        texts: Regions whose places agree and whose texts are equal.
        word_f1_sum: The words' F1 of each true region, added up.
    """

    boxes: Tally
    texts: Tally
    word_f1_sum: float


def describe(found: Sequence[Region], true: Sequence[Region]) -> Described:
    """Compare the described regions of one image.

    Definition: regions are paired by place alone, one to one, at an IoU of at least 0.5. The boxes'
    F1 counts the pairs; the descriptions' F1 counts those whose texts are equal too, but for case
    and spaces; the words' F1 is the mean over the true regions of the F1 of the words of both
    texts, 0 where nothing was found. DenseCap's own mean average precision (Johnson et al. 2016,
    arXiv:1511.07571) needs METEOR, which is a Java program.

    Source: by this definition; hand-computed cases in the tests.
    """
    pairs = match(found, true, may_match=any_label)
    equal = sum(same_label(found[pair.found], true[pair.true]) for pair in pairs)
    return Described(
        boxes=Tally(len(found), len(true), len(pairs)),
        texts=Tally(len(found), len(true), equal),
        word_f1_sum=sum(word_f1(found[p.found].label, true[p.true].label) for p in pairs),
    )


def read_regions(found: Sequence[Region], true: Sequence[Region], size: ImageSize) -> Tally:
    """Return how many words were read right and in the right place.

    Definition: a word found is right where its text equals a true word's (case counts, runs of
    white space do not) and their quad boxes overlap with an IoU of at least 0.5, one to one. The
    end-to-end protocol of ICDAR 2015's robust reading (task 4.4), without its list of words to
    disregard.

    Source: by this definition; hand-computed cases in the tests.
    """

    def overlap(one: Region, other: Region) -> float:
        # Rasterising is slow, and shapes whose upright boxes do not meet cannot either.
        if box_overlap(one, other) == 0:
            return 0.0
        return shape_overlap(one.shape, other.shape, size)

    pairs = match(found, true, may_match=_same_text, overlap=overlap)
    return Tally(len(found), len(true), len(pairs))


def _flat(phrases: Sequence[GroundedPhrase]) -> list[Region]:
    return [
        Region(plain(phrase.phrase), region.shape)
        for phrase in phrases
        for region in phrase.regions
    ]


def _same_text(one: Region, other: Region) -> bool:
    return spaced(one.label) == spaced(other.label)
