"""How boxes are read from tokens: detections, proposals, phrases and quad boxes."""

import pytest
from arno.vocabulary import (
    Box,
    Decoded,
    DetectionAnswer,
    GroundingAnswer,
    ImageSize,
    OcrAnswer,
    QuadBox,
    Region,
    Task,
    parse,
)
from unit.vocabulary.spelling import THOUSAND, VOCABULARY, locations, said, spell, typed

BOX = "<loc_1><loc_2><loc_3><loc_4>"
OTHER = "<loc_5><loc_6><loc_7><loc_8>"
QUAD = locations(range(11, 19))


def regions(task: Task, text: str | list[int]) -> tuple[Region, ...]:
    return parse(task, said(text), VOCABULARY, THOUSAND).regions


def found(task: Task, text: str | list[int]) -> list[tuple[str, tuple[int, ...]]]:
    return [(region.label, region.bins) for region in regions(task, text)]


CAR, DOOR = ("car", (1, 2, 3, 4)), ("door", (5, 6, 7, 8))

DETECTIONS = {
    "nothing at all": ("", []),
    "only begin and end": ("</s><s></s>", []),
    "one box": (f"<s>car{BOX}</s>", [CAR]),
    "two labels": (f"car{BOX}door{OTHER}", [CAR, DOOR]),
    "two boxes of one label": (f"car{BOX}{OTHER}", [CAR, ("car", (5, 6, 7, 8))]),
    "a label cut before its box": (f"car{BOX}do", [CAR]),
    "a box cut after three locations": (f"car{BOX}door<loc_5><loc_6><loc_7>", [CAR]),
    "a second box cut": (f"car{BOX}<loc_5><loc_6><loc_7>", [CAR]),
    "an incomplete box in the middle": (f"dog<loc_9><loc_9>car{BOX}", [CAR]),
    "a box before any label": (f"{OTHER}{OTHER}car{BOX}", [CAR]),
    "a repeated answer": (f"car{BOX}" * 3, [CAR] * 3),
    "an inverted box": ("car<loc_9><loc_9><loc_0><loc_0>", [("car", (9, 9, 0, 0))]),
    "the first and last bins": ("car" + locations([0, 0, 999, 999]), [("car", (0, 0, 999, 999))]),
    "padding and ends in between": ("<pad>ca<s>r<loc_1><loc_2></s><loc_3><loc_4><pad>", [CAR]),
    "markers around": (f"<od>car{BOX}</od>", [CAR]),
    "a marker between label and box": (f"car<od>{BOX}", [CAR]),
    "a marker inside a box": ("car<loc_1><loc_2><od><loc_3><loc_4>", []),
    "a marker between boxes": (f"car{BOX}<sep>{OTHER}", [CAR]),
    "spaces around the label": (f"  car \n{BOX}", [CAR]),
    "a blank label": (f"  {BOX}", [("", (1, 2, 3, 4))]),
    "a label of two lines": (f"a\nb{BOX}", [("a\nb", (1, 2, 3, 4))]),
    "a label in another script": (f"自動車 🚗{BOX}", [("自動車 🚗", (1, 2, 3, 4))]),
    "a label with a less-than sign": (f"a<b{BOX}", [("a<b", (1, 2, 3, 4))]),
}


@pytest.mark.parametrize("task", [Task.OD, Task.DENSE_REGION_CAPTION])
@pytest.mark.parametrize(("text", "expected"), DETECTIONS.values(), ids=DETECTIONS.keys())
def test_each_label_gives_its_whole_boxes_and_nothing_else(task, text, expected):
    assert found(task, text) == expected


def test_truncated_box_is_dropped_and_the_prefix_kept():
    whole = spell(f"car{BOX}door{OTHER}")
    kept = [len(regions(Task.OD, whole[:length])) for length in range(len(whole) + 1)]
    assert kept == [0] * 7 + [1] * 8 + [2]


def test_boxes_are_float_pixels_at_the_centres_of_their_bins():
    size = ImageSize(width_px=640, height_px=333)
    answer = parse(Task.OD, said(f"car{BOX}"), VOCABULARY, size)
    shape = answer.regions[0].shape
    assert isinstance(shape, Box)
    assert (shape.x0, shape.x1) == pytest.approx((1.5 * 0.64, 3.5 * 0.64))
    assert (shape.y0, shape.y1) == pytest.approx((2.5 * 0.333, 4.5 * 0.333))


def test_typed_location_tokens_are_words_and_forge_no_region():
    assert found(Task.OD, typed(f"car{BOX}")) == []
    assert found(Task.OD, typed(BOX) + spell(OTHER)) == [(BOX, (5, 6, 7, 8))]


def test_each_region_has_the_scores_of_its_own_tokens():
    tokens = spell(f"x{BOX}y{OTHER}")
    logprobs = [-0.5, -1, -2, -3, -4, -0.25, 0, 0, 0, 0]
    # Both boxes are 2 bins wide and 2 high.
    deviations = [9, 0.1, 0.2, 0.3, 0.4, 9, 0, 0, 0, 0]
    decoded = Decoded(tokens, logprobs, deviations=deviations)
    answer = parse(Task.OD, decoded, VOCABULARY, THOUSAND)
    scores = [(r.label_score, r.location_score, r.score) for r in answer.regions]
    assert scores[0] == pytest.approx((0.6065307, 0.5, 0.3032653))
    assert scores[1] == pytest.approx((0.7788008, 1.0, 0.7788008))
    official = [
        (r.official_location_score, r.label_logprob, r.location_logprob) for r in answer.regions
    ]
    assert official[0] == pytest.approx((0.0820850, -0.5, -10))
    assert official[1] == pytest.approx((1.0, -0.25, 0))
    assert not any(region.calibrated for region in answer.regions)


def test_without_log_probabilities_nothing_has_a_score():
    answer = parse(Task.OD, Decoded(spell(f"car{BOX}")), VOCABULARY, THOUSAND)
    region = answer.regions[0]
    assert (answer.score, region.label_score, region.location_score, region.score) == (None,) * 4
    assert region.official_location_score is None
    assert (region.label_logprob, region.location_logprob) == (None, None)


def test_without_deviations_a_region_is_scored_by_its_label_and_keeps_the_official_score():
    tokens = spell(f"car{BOX}")
    answer = parse(Task.OD, Decoded(tokens, [-1.0] * len(tokens)), VOCABULARY, THOUSAND)
    region = answer.regions[0]
    assert region.location_score is None
    assert region.score == region.label_score == pytest.approx(0.3678794)
    assert region.official_location_score == pytest.approx(0.3678794)


PROPOSALS = {
    "nothing": ("<s></s>", []),
    "one": (BOX, [("", (1, 2, 3, 4))]),
    "two": (BOX + OTHER, [("", (1, 2, 3, 4)), ("", (5, 6, 7, 8))]),
    "cut": (f"{BOX}<loc_5><loc_6>", [("", (1, 2, 3, 4))]),
    "with words around": (f"car{BOX}door{OTHER}", [("", (1, 2, 3, 4)), ("", (5, 6, 7, 8))]),
    "less than a box between words": (f"<loc_1>a{BOX}", [("", (1, 2, 3, 4))]),
}


@pytest.mark.parametrize(("text", "expected"), PROPOSALS.values(), ids=PROPOSALS.keys())
def test_proposals_are_boxes_without_labels(text, expected):
    assert found(Task.REGION_PROPOSAL, text) == expected


def test_a_proposal_has_no_label_score_and_is_scored_by_its_place():
    region = regions(Task.REGION_PROPOSAL, BOX)[0]
    assert region.label_score is None
    assert region.score == region.location_score == pytest.approx(0.0)
    assert region.official_location_score == pytest.approx(0.3678794)


def test_a_wide_box_loses_less_by_the_same_deviation():
    region = regions(Task.REGION_PROPOSAL, locations((100, 200, 110, 240)))[0]
    assert region.score == region.location_score == pytest.approx(1 - 2 * 0.5 / 10 - 2 * 0.5 / 40)


QUADS = {
    "nothing": ("<s></s>", []),
    "one": (f"STOP{QUAD}", [("STOP", tuple(range(11, 19)))]),
    "two": (f"STOP{QUAD}GO{QUAD}", [(t, tuple(range(11, 19))) for t in ("STOP", "GO")]),
    "cut after seven": (f"STOP{QUAD}GO{locations(range(7))}", [("STOP", tuple(range(11, 19)))]),
    "a place without text": (f"STOP{QUAD}{QUAD}", [("STOP", tuple(range(11, 19)))]),
    "a place before any text": (f"{QUAD}{QUAD}STOP{QUAD}", [("STOP", tuple(range(11, 19)))]),
    "an incomplete place before": (f"GO{BOX}STOP{QUAD}", [("STOP", tuple(range(11, 19)))]),
    "text of two lines": (f"ONE\nWAY{QUAD}", [("ONE\nWAY", tuple(range(11, 19)))]),
    "text in another script": (f"停車{QUAD}", [("停車", tuple(range(11, 19)))]),
}


@pytest.mark.parametrize(("text", "expected"), QUADS.values(), ids=QUADS.keys())
def test_each_text_gives_its_one_whole_quad_box(text, expected):
    assert found(Task.OCR_WITH_REGION, text) == expected


def test_a_quad_box_has_its_corners_in_the_order_written():
    shape = regions(Task.OCR_WITH_REGION, f"STOP{QUAD}")[0].shape
    assert isinstance(shape, QuadBox)
    assert [(p.x, p.y) for p in shape.points] == [
        (11.5, 12.5),
        (13.5, 14.5),
        (15.5, 16.5),
        (17.5, 18.5),
    ]


def grounded(text: str, *classes: str) -> list[tuple[str, int, bool]]:
    task = Task.CAPTION_TO_PHRASE_GROUNDING
    value = parse(task, said(text), VOCABULARY, THOUSAND, classes=classes).value
    assert isinstance(value, GroundingAnswer)
    return [(phrase.phrase, len(phrase.regions), phrase.matched) for phrase in value.phrases]


def test_a_phrase_carries_all_its_boxes():
    assert grounded(f"a car{BOX}{OTHER}a door{OTHER}") == [("a car", 2, True), ("a door", 1, True)]


def test_a_phrase_that_is_written_twice_is_one_phrase_at_its_first_place():
    assert grounded(f"a car{BOX}a door{OTHER}a car{OTHER}") == [
        ("a car", 2, True),
        ("a door", 1, True),
    ]


def test_a_phrase_without_a_whole_box_is_left_out():
    assert grounded(f"a car{BOX}a door<loc_1><loc_2><loc_3>") == [("a car", 1, True)]


def test_a_phrase_that_names_nothing_is_left_out():
    assert grounded(f"it{BOX}The image{BOX}the image{BOX}a car{BOX}") == [
        ("The image", 1, True),
        ("a car", 1, True),
    ]


def test_a_phrase_outside_the_classes_is_kept_and_marked():
    text = f"Traffic  light{BOX}dog{OTHER}"
    assert grounded(text, "traffic light", "cat") == [
        ("Traffic  light", 1, True),
        ("dog", 1, False),
    ]


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        (Task.OD, DetectionAnswer),
        (Task.REGION_PROPOSAL, DetectionAnswer),
        (Task.OCR_WITH_REGION, OcrAnswer),
        (Task.CAPTION_TO_PHRASE_GROUNDING, GroundingAnswer),
    ],
)
def test_no_tokens_give_an_empty_answer_of_the_right_kind(task, kind):
    answer = parse(task, Decoded([]), VOCABULARY, THOUSAND)
    assert isinstance(answer.value, kind)
    assert (answer.regions, answer.score, answer.raw_text, answer.token_count) == ((), None, "", 0)
