"""Which texts each rule drops."""

from __future__ import annotations

import pytest
from arno.dataset import Granularity
from arno.dataset.filters.judge import Filter
from arno.dataset.filters.settings import FilterSettings
from support.annotated import record, text, triplet
from support.spacy_model import spacy_analyser

THINGS = ("cup", "pen", "dog", "car", "hat", "box", "bag", "bus", "key", "cow", "pig", "fox", "bed")
MANY = ", ".join(f"a {name}" for name in THINGS)


@pytest.fixture(scope="module")
def analyser():
    return spacy_analyser()


def rule(analyser, words: str, granularity=Granularity.BRIEF, **settings) -> str:
    one = record(0, texts=(text(words, granularity=granularity),))
    result = Filter(FilterSettings(**settings), analyser).apply([one])
    return result.dropped[0].rule if result.dropped else "kept"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("A red car next to two cats.", "kept"),
        ("A man rides a horse on a beach.", "kept"),
        ("Cat.", "too short"),
        ("It is very nice here and now.", "too few objects"),
        ("a cat and a cat and a cat and a cat and a cat and a cat and a cat", "loop"),
        ("一只猫坐在长凳上 and more", "other script"),
        ("A cat. " * 20_000, "too long"),
        (
            MANY,
            "too many objects",
        ),
    ],
)
def test_text_is_dropped_for_what_is_wrong_with_it(analyser, words, expected):
    assert rule(analyser, words) == expected


def test_detailed_texts_may_name_more_objects(analyser):
    words = MANY
    assert rule(analyser, words, Granularity.DETAILED) == "kept"


def test_actions_and_complexity_can_be_asked_for(analyser):
    assert rule(analyser, "A red car on a road.", actions_min=1) == "too few actions"
    assert rule(analyser, "A dog runs on a road.", actions_min=1) == "kept"
    assert rule(analyser, "Dogs and cats here.", object_complexity_min=5) == "simple objects"
    assert rule(analyser, "A dog runs.", action_complexity_min=4) == "simple actions"


def test_text_that_is_said_twice_of_one_image_is_kept_once(analyser):
    texts = (text("A red car on a road."), text("a red car on  a road.", "t1"))
    other = record(1, texts=texts[:1])
    result = Filter(FilterSettings(), analyser).apply([record(0, texts=texts), other])
    assert [(one.rule, one.item.id) for one in result.dropped] == [("said twice", "t1")]
    assert len(result.records) == 2


def test_triplets_fall_with_their_text(analyser):
    one = record(0, texts=(text("It is nice here now."),), triplets=(triplet(0, 2),))
    result = Filter(FilterSettings(), analyser).apply([one])
    assert [dropped.rule for dropped in result.dropped] == ["too few objects", "text dropped"]
    assert result.empty_count == 1


def test_text_that_is_far_less_likely_than_the_best_of_its_image_is_dropped():
    said = (
        text("A dog.", "t0", score=0.2),
        text("A cat.", "t1", score=0.9),
        text("A cat on a mat.", "t2", granularity=Granularity.DETAILED, score=0.2),
        text("A bird.", "t3"),
    )
    rules = Filter(FilterSettings(text_rules=False, text_ratio_min=0.3), None)
    result = rules.apply([record(0, texts=said), record(1, texts=said[:1])])
    assert [(one.rule, one.item.text, one.record.position) for one in result.dropped] == [
        ("unlikely", "A dog.", 0)
    ]


def test_texts_beyond_the_number_of_a_granularity_are_dropped_the_last_first():
    said = (
        text("A dog.", "t0", score=0.1),
        text("A cat.", "t1"),
        text("A bird.", "t2", score=0.9),
        text("A bird on a mat.", "t3", granularity=Granularity.DETAILED),
    )
    rules = Filter(FilterSettings(text_rules=False, text_ratio_min=0.5, texts_max=1), None)
    result = rules.apply([record(0, texts=said)])
    assert [(one.rule, one.item.text) for one in result.dropped] == [
        ("unlikely", "A dog."),
        ("spare", "A bird."),
    ]
