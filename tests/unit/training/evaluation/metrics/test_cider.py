"""Words and CIDEr-D are those of COCO's caption evaluation, which golden/ holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from arno.training.evaluation.metrics.captions import cider, cider_of_words, words_of
from hypothesis import given
from hypothesis import strategies as st

GOLDEN = json.loads((Path(__file__).parent / "golden" / "coco_captions.json").read_text())
IMAGES = GOLDEN["images"]


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        pair
        for image in IMAGES
        for pair in (
            (image["said"], image["said_words"]),
            *zip(image["references"], image["reference_words"], strict=True),
        )
    ],
)
def test_words_are_those_of_stanfords_tokenizer(caption, words):
    assert words_of(caption) == words.split()


def test_figures_are_those_of_pycocoevalcap():
    found = cider([one["said"] for one in IMAGES], [one["references"] for one in IMAGES])
    assert found == pytest.approx([one["cider"] for one in IMAGES], abs=1e-9)
    assert sum(found) / len(found) == pytest.approx(GOLDEN["mean"], abs=1e-9)


def test_one_word_of_two_by_hand():
    # Of 1-grams only "cat" has any weight: "a" is in both images. Said and true differ in length by
    # one word: the cosine of equal vectors, damped by exp(-1 / 72), a quarter of it for 1-grams;
    # "a cat" is the 2-gram of both, and there is no 3-gram in what was said.
    said, references = [["a", "cat"], ["a", "dog"]], [[["a", "cat", "cat"]], [["a", "dog"]]]
    damping = 2.718281828459045 ** (-1 / 72)
    # Counts: said cat 1, true cat 2; the cosine clipped to the smaller count is 1 * 2 / (1 * 2).
    grams_1 = 1.0
    # The true 2-grams are "a cat" and "cat cat", equally rare: a cosine of 1 / sqrt(2).
    grams_2 = 2**-0.5
    expected = 10 * damping * (grams_1 + grams_2) / 4
    assert cider_of_words(said, references)[0] == pytest.approx(expected)


captions = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=5, max_size=9)


@given(said=st.lists(captions, min_size=2, max_size=5))
def test_truth_itself_is_never_beaten(said):
    references = [[caption] for caption in said]
    best = cider_of_words(said, references)
    others = cider_of_words([*said[1:], said[0]], references)
    assert all(-1e-9 <= other <= one + 1e-9 for one, other in zip(best, others, strict=True))
    assert all(one <= 10 + 1e-9 for one in best)


def test_single_image_has_no_rare_words_and_no_figure():
    assert cider(["a cat"], [["a cat"]]) == [0]
    assert cider([], []) == []


def test_caption_without_reference_is_refused():
    with pytest.raises(ValueError, match="at least one reference"):
        cider(["a cat"], [[]])
    with pytest.raises(ValueError, match="zip"):
        cider(["a cat"], [["a cat"], ["a dog"]])
