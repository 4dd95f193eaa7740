"""What is left of records, and what is told of the rest."""

from __future__ import annotations

import pytest
from arno.dataset.filters.judge import Filter
from arno.dataset.filters.settings import FilterSettings
from arno.dataset.filters.text_rules import latin_share, main_word
from support.annotated import CAPTION, full_record, record, region, text, triplet


def judged(*records, **settings):
    return Filter(FilterSettings(**settings), None).apply(records)


def fallen(result) -> list[tuple[str, str, int]]:
    return [(one.kind, one.rule, one.record.position) for one in result.dropped]


def test_good_records_stay_as_they_are():
    records = [full_record(position) for position in range(3)]
    result = judged(*records)
    assert result.records == records
    assert result.dropped == []
    assert result.kept == {"texts": 3, "regions": 12, "triplets": 6}


def test_each_verdict_reaches_its_own_annotation():
    bad = region("car", 0.0, 0.0, 0.5, 9.0)
    records = [
        record(0, regions=(region("cat"),)),
        record(1),
        record(2, regions=(bad, region("dog"), bad)),
    ]
    result = judged(*records)
    assert [one.position for one in result.records] == [0, 2]
    assert [one.text for one in result.records[1].regions] == ["dog"]
    assert fallen(result) == [("regions", "degenerate", 2)] * 2
    assert result.empty_count == 1


def test_image_of_which_nothing_is_left_can_be_kept():
    result = judged(record(0), keep_empty=True)
    assert [one.position for one in result.records] == [0]
    assert result.empty_count == 0


def test_region_that_all_annotators_agree_on_needs_no_score():
    said = {"annotator": "fusion", "merged": ("labels", "model"), "score": 0.1}
    agreed = region("cat", 10.0, 10.0, 50.0, 40.0, agreement=1.0, **said)
    partly = region("dog", 60.0, 10.0, 90.0, 40.0, agreement=0.5, **said)
    alone = region("cow", 90.0, 50.0, 99.0, 90.0, annotator="model", score=0.1, agreement=1.0)
    result = judged(record(0, regions=(agreed, partly, alone)), score_min=0.3)
    assert result.records[0].regions == (agreed,)
    assert fallen(result) == [("regions", "threshold", 0)] * 2


def test_place_across_the_edge_is_cut_and_counted():
    one = record(0, regions=(region("cat", -5.0, 10.0, 50.0, 120.0),))
    result = judged(one)
    assert result.records[0].regions[0].box == (0.0, 10.0, 50.0, 100.0)
    assert result.clipped_count == 1


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("a red car", None),
        ("it", "pronoun or abstract"),
        ("the left side of the image", "pronoun or abstract"),
        ("A picture", "pronoun or abstract"),
        ("the picture frame", None),
        ("all", "pronoun or abstract"),
        ("a cat in a very small and very old and very red and very blue box", "long phrase"),
    ],
)
def test_phrase_of_a_triplet_must_name_something(words, rule):
    one = record(0, texts=(text(words),), triplets=(triplet(0, len(words)),))
    result = judged(one)
    assert [dropped.rule for dropped in result.dropped] == ([] if rule is None else [rule])
    assert len(result.records[0].triplets) == (rule is None)


def test_triplets_of_one_phrase_suppress_each_other_and_of_two_do_not():
    one = record(
        0,
        texts=(text(CAPTION),),
        triplets=(
            triplet(0, 9, score=0.4),
            triplet(0, 9, score=0.8),
            triplet(18, 26, score=0.4),
            triplet(2, 9, 10.0, 10.0, 50.0, 40.0, score=0.1),
        ),
    )
    result = judged(one)
    assert [dropped.rule for dropped in result.dropped] == ["suppressed", "threshold"]
    assert [(t.start, t.provenance.score) for t in result.records[0].triplets] == [
        (0, 0.8),
        (18, 0.4),
    ]


def test_outline_and_box_of_one_thing_are_both_kept():
    box = region("cat", 0.0, 0.0, 50.0, 50.0)
    outline = box.model_copy(update={"box": None, "polygons": ((0.0, 0, 50, 0, 50, 50, 0, 50),)})
    assert judged(record(0, regions=(box, outline))).dropped == []


def test_blocked_triplet_does_not_suppress_others():
    one = record(
        0,
        texts=(text("it"), text("it", "t1")),
        triplets=(triplet(0, 2), triplet(0, 2, text_id="t1")),
    )
    assert [dropped.rule for dropped in judged(one).dropped] == ["pronoun or abstract"] * 2


@pytest.mark.parametrize(
    ("phrase", "word"),
    [
        ("the two large dogs", "dogs"),
        ("A bowl of red apples", "bowl"),
        ("in the garden", "garden"),
        ("the", "the"),
        ("", ""),
        ("Zoë's old t-shirt", "t-shirt"),
    ],
)
def test_main_word_is_the_last_before_a_preposition(phrase, word):
    assert main_word(phrase) == word


def test_share_of_latin_letters():
    assert latin_share("Straße 7!") == 1.0
    assert latin_share("猫 ab") == pytest.approx(2 / 3)
    assert latin_share("🌉 7") == 1.0
