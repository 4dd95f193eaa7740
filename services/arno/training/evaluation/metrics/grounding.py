"""Whether phrases were found where they are: accuracy at IoU 0.5.

Definition: a true phrase is right where the model's best box for the phrase (the one of the highest
score, or the first) overlaps one of its true boxes with an IoU of at least 0.5. That is Recall@1 of
Flickr30k Entities (Plummer et al. 2015, arXiv:1505.04870) with any box of a phrase accepted, and
for a single phrase the accuracy@0.5 of referring expressions (RefCOCO, Yu et al. 2016,
arXiv:1608.00272). Phrases are compared without regard to case and spaces.

Source: by this definition; hand-computed cases in the tests.

Stands alone: one metric a file, with its definition and source.
"""

from __future__ import annotations

from collections.abc import Sequence

from arno.training.evaluation.metrics.matching import IOU_MIN, Tally, box_overlap, match, plain
from arno.vocabulary import GroundedPhrase, Region


def phrase_hits(found: Sequence[GroundedPhrase], true: Sequence[GroundedPhrase]) -> Tally:
    """Return how many true phrases have their best box in the right place; recall is the accuracy.

    ``found_count`` is of phrases too; one that the truth does not know is not held against a model.
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


def _flat(phrases: Sequence[GroundedPhrase]) -> list[Region]:
    return [
        Region(plain(phrase.phrase), region.shape)
        for phrase in phrases
        for region in phrase.regions
    ]
