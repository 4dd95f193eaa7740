"""What becomes of the annotations of several annotators."""

from __future__ import annotations

import pytest
from arno.dataset import ImageRecord, RegionKind
from arno.dataset.merging import MergeSettings, join, merge, similarity, voters_of
from support.annotated import CAPTION, record, region, text, triplet

BOX = (10.0, 10.0, 50.0, 40.0)


def merged(*records: ImageRecord, **settings) -> list[ImageRecord]:
    return merge(records, voters_of(records), MergeSettings(**settings))


def test_boxes_of_three_annotators_become_one_with_all_agreeing():
    regions = [
        region("car", *BOX, annotator="a", score=0.8),
        region("Car", 10.0, 10.0, 50.0, 42.0, annotator="b", score=0.4),
        region("car", *BOX, annotator="c", score=0.4, calibrated=True),
    ]
    (one,) = merged(record(regions=regions))[0].regions
    assert one.box == pytest.approx((10, 10, 50, 40.5))
    said = one.provenance
    assert (said.annotator, said.merged, said.agreement) == ("fusion", ("a", "b", "c"), 1.0)
    assert said.score == pytest.approx((0.8 + 0.4 + 0.4) / 3)
    assert not said.calibrated


def test_annotator_that_finds_nothing_in_an_image_does_not_agree():
    there = record(0, regions=[region("car", annotator="a", score=0.5)])
    other = record(1, regions=[region("dog", annotator="b")])
    first, _ = merged(there, other)
    said = first.regions[0].provenance
    assert said.agreement == 0.5
    assert (said.annotator, said.score) == ("a", 0.5)


def test_text_that_most_support_wins_and_the_others_do_not_agree():
    regions = [
        region("dog", *BOX, annotator="a", score=0.9),
        region("cat", *BOX, annotator="b", score=0.6),
        region("cat", *BOX, annotator="c", score=0.5),
    ]
    (one,) = merged(record(regions=regions))[0].regions
    assert one.text == "cat"
    assert one.provenance.agreement == pytest.approx(2 / 3)
    assert one.provenance.merged == ("b", "c")
    assert one.provenance.score == pytest.approx(0.55)


def test_phrases_support_each_other_as_far_as_they_are_alike():
    phrases = {"a": "a small red car", "b": "the small red car", "c": "a green tree"}
    regions = [
        region(words, *BOX, kind=RegionKind.PHRASE, annotator=name)
        for name, words in phrases.items()
    ]
    (one,) = merged(record(regions=regions))[0].regions
    assert one.text in {"a small red car", "the small red car"}
    assert one.provenance.merged == ("a", "b")


def test_places_apart_kinds_and_outlines_stay_apart():
    box = region("car", *BOX, annotator="a")
    outline = box.model_copy(
        update={"box": None, "polygons": ((10.0, 10, 50, 10, 50, 40, 10, 40),)}
    )
    regions = [
        box,
        outline,
        region("a car", *BOX, kind=RegionKind.PHRASE, annotator="b"),
        region("car", 100.0, 10.0, 150.0, 40.0, annotator="b"),
    ]
    (one,) = merged(record(regions=regions))
    assert len(one.regions) == 4
    assert one.regions[0].box == BOX
    assert one.regions[1].polygons == outline.polygons


def test_merging_again_changes_nothing():
    regions = [region("car", *BOX, annotator=name, score=0.5) for name in "ab"]
    once = merged(record(regions=regions))
    assert merged(*once) == once


def test_triplets_of_one_span_are_merged_by_those_that_grounded_the_text():
    made = record(
        texts=(text(CAPTION),),
        triplets=(
            triplet(0, 9, *BOX, annotator="a"),
            triplet(0, 9, 10.0, 10.0, 50.0, 41.0, annotator="b"),
            triplet(18, 26, *BOX, annotator="a"),
        ),
    )
    first, second = merged(made)[0].triplets
    assert (first.start, first.provenance.agreement) == (0, 1.0)
    assert first.box == pytest.approx((10, 10, 50, 40.5))
    assert (second.start, second.provenance.agreement) == (18, 0.5)


def test_texts_stay_and_say_how_many_agree():
    texts = [
        text(CAPTION, "t0", annotator="a"),
        text("Two cats next to a red car.", "t1", annotator="b"),
        text("An aeroplane over clouds.", "t2", annotator="c"),
    ]
    (one,) = merged(record(texts=texts))
    assert [t.provenance.agreement for t in one.texts] == pytest.approx([2 / 3, 2 / 3, 1 / 3])
    assert [t.text for t in one.texts] == [t.text for t in texts]


def test_similarity_does_not_care_about_order_and_case():
    assert similarity("A red car", "car red a") == 1.0
    assert similarity("a red car", "an old tree") < 0.6


def test_records_of_one_image_are_joined_and_spans_follow_their_text():
    one = record(texts=(text(CAPTION),), triplets=(triplet(0, 9),), regions=(region("car"),))
    two = record(
        texts=(text("Hello there.", "t0"), text(CAPTION, "t9")),
        triplets=(triplet(18, 26, text_id="t9"),),
    )
    both = join([one, two])
    assert [t.text for t in both.texts] == [CAPTION, "Hello there."]
    assert [both.phrase(t) for t in both.triplets] == ["A red car", "two cats"]
    assert len(both.regions) == 1
    ImageRecord.model_validate(both.model_dump())


def test_images_of_different_sizes_are_not_one():
    with pytest.raises(ValueError, match="image image-0 has different sizes: 200 x 100, 7 x 100"):
        join([record(), record(width_px=7)])


@pytest.mark.parametrize(("unscored", "winner"), [(1.0, "dog"), (0.5, "cat")])
def test_sure_model_beats_labels_only_where_they_count_less(unscored, winner):
    one = record(0, regions=(region("dog", annotator="labels"), region("cat", score=0.8)))
    settings = MergeSettings(unscored=unscored)
    (merged,) = merge([one], voters_of([one]), settings)
    assert [found.text for found in merged.regions] == [winner]
