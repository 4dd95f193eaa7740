"""The scores of detections are those of the published Florence-2 processors' own formula.

There, an answer is decoded to text with the span of every token, a regular expression finds labels
with their boxes, and a score is the exponential of the mean log-probability of the tokens under a
box (`avg_loc_scores`, which their configuration chooses for OD) or under a label
(`avg_cat_name_scores`). Here that is written down again, over text, to be compared with `parse`,
which never looks at text.
"""

from __future__ import annotations

import math
import re

import pytest
from arno.vocabulary import Decoded, Task, parse
from hypothesis import given
from hypothesis import strategies as st
from unit.vocabulary.spelling import THOUSAND, VOCABULARY, locations, quick, spell

labels = st.text(st.sampled_from("abc xyz"), min_size=1, max_size=12).filter(
    lambda label: label == label.strip() and label
)
places = st.lists(st.integers(0, 999), min_size=4, max_size=4)
objects = st.lists(st.tuples(labels, st.lists(places, min_size=1, max_size=3)), max_size=4)


def official_scores(token_ids: list[int], logprobs: list[float]) -> list[tuple[float, float]]:
    """Return the two scores of every box, by the published formula."""
    pieces = [VOCABULARY.decode([token]) for token in token_ids]
    starts = [sum(map(len, pieces[:n])) for n in range(len(pieces))]

    def score(span: tuple[int, int]) -> float:
        under = [
            logprob
            for start, piece, logprob in zip(starts, pieces, logprobs, strict=True)
            if start < span[1] and start + len(piece) > span[0]
        ]
        return math.exp(sum(under) / len(under))

    found = []
    for phrase in re.finditer(r"[^<]+(?:<loc_\d+>){4,}", "".join(pieces)):
        label = re.match(r"[^<]+", phrase[0])
        assert label is not None
        for box in re.finditer(r"(?:<loc_\d+>){4}", phrase[0]):
            spans = [
                (phrase.start() + part.start(), phrase.start() + part.end())
                for part in (box, label)
            ]
            found.append((score(spans[0]), score(spans[1])))
    return found


@quick
@given(answer=objects, data=st.data())
def test_scores_of_detections_follow_the_published_formula(answer, data):
    text = "".join(name + "".join(map(locations, boxes)) for name, boxes in answer)
    token_ids = spell(text)
    logprobs = data.draw(
        st.lists(st.floats(-9, 0), min_size=len(token_ids), max_size=len(token_ids))
    )
    expected = official_scores(token_ids, logprobs)
    regions = parse(Task.OD, Decoded(token_ids, logprobs), VOCABULARY, THOUSAND).regions
    assert len(regions) == len(expected)
    for region, (location, label) in zip(regions, expected, strict=True):
        assert region.official_location_score == pytest.approx(location)
        assert region.label_score == pytest.approx(label)
