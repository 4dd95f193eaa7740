"""What a score is made of."""

import math
import random
from dataclasses import replace
from statistics import fmean

import pytest
from arno.vocabulary import Box, Decoded, GroundingAnswer, Task, parse
from arno.vocabulary.locations import BIN_COUNT
from arno.vocabulary.regions import iou
from arno.vocabulary.scores import combine, expected_overlap, geometric_mean, log_likelihood
from hypothesis import given
from hypothesis import strategies as st
from unit.vocabulary.spelling import THOUSAND, VOCABULARY, locations, quick, spell

logprobs = st.lists(st.floats(-50, 0), min_size=1, max_size=20)


def test_a_score_is_the_geometric_mean_of_the_probabilities():
    assert geometric_mean([math.log(0.5), math.log(0.125)]) == pytest.approx(0.25)


def test_no_tokens_have_no_score():
    assert geometric_mean([]) is None


def test_a_missing_log_probability_leaves_no_score():
    assert geometric_mean([-1.0, math.nan]) is None
    assert geometric_mean([math.nan, -1.0]) is None


def test_an_impossible_token_makes_the_score_zero():
    assert geometric_mean([-1.0, -math.inf]) == 0.0


def test_rounding_above_certainty_does_not_lift_a_score_above_one():
    assert geometric_mean([1e-6, 1e-7]) == 1.0


@quick
@given(logprobs=logprobs, forced=st.integers(1, 5))
def test_forced_tokens_never_lower_a_score(logprobs, forced):
    alone, padded = geometric_mean(logprobs), geometric_mean(logprobs + [0.0] * forced)
    assert alone is not None
    assert padded is not None
    assert padded >= alone


def test_the_log_likelihood_is_that_of_all_tokens_together():
    assert log_likelihood([-1.0, -0.5, 1e-9]) == -1.5
    assert log_likelihood([]) is None
    assert log_likelihood([-1.0, math.nan]) is None


def test_a_score_is_the_product_of_label_and_place_or_the_one_that_there_is():
    assert combine(0.5, 0.8) == pytest.approx(0.4)
    assert combine(None, 0.8) == 0.8
    assert combine(0.5, None) == 0.5
    assert combine(None, None) is None


PEAKED = {"sharp": 0.4, "soft": 3.0, "wide": 8.0}
"""Standard deviation, in bins, of what a model believes of each edge of a box."""


@pytest.mark.parametrize("spread", PEAKED.values(), ids=PEAKED.keys())
@pytest.mark.parametrize("box", [(300, 200, 500, 320), (10, 10, 700, 900)])
def test_the_expected_overlap_is_near_that_of_boxes_drawn_from_the_probabilities(box, spread):
    chances = [bell(edge, spread) for edge in box]
    score = expected_overlap(box, deviations_of(box, chances))
    # Second-order terms grow with what is lost: edges that move together lose a little less.
    lost = 1 - drawn_overlap(box, chances)
    assert score == pytest.approx(1 - lost, abs=0.01 + 0.25 * lost)


def test_a_flat_distribution_leaves_no_score_whatever_the_box():
    flat = [[1 / BIN_COUNT] * BIN_COUNT] * 4
    box = (400, 400, 600, 600)
    assert expected_overlap(box, deviations_of(box, flat)) == 0.0
    assert drawn_overlap(box, flat) < 0.2


def test_one_bin_of_two_far_ones_costs_what_it_would_take_away():
    # The right edge is at 199 for sure, or with a third at 249; all others are certain.
    box = (100, 100, 200, 200)
    right = [0.0] * BIN_COUNT
    right[200], right[250] = 2 / 3, 1 / 3
    chances = [bell(100, 0.01), bell(100, 0.01), right, bell(200, 0.01)]
    assert expected_overlap(box, deviations_of(box, chances)) == pytest.approx(1 - 50 / 3 / 100)


def test_corners_of_a_quad_box_weigh_as_the_edges_of_its_bounding_box():
    box = (100, 200, 180, 240)
    quad = (100, 200, 180, 200, 180, 240, 100, 240)
    assert expected_overlap(quad, [3, 1, 5, 1, 5, 2, 3, 2]) == pytest.approx(
        expected_overlap(box, [3, 1, 5, 2])
    )


def test_a_box_within_one_bin_has_a_side_of_one_bin():
    assert expected_overlap((5, 5, 5, 5), [0.1] * 4) == pytest.approx(0.6)


def test_a_place_without_deviations_has_no_score():
    assert expected_overlap((), ()) is None
    assert expected_overlap((1, 2, 3, 4), (math.nan,) * 4) is None


edges = st.lists(st.integers(0, 999), min_size=4, max_size=4)
spreads = st.lists(st.floats(0, 300), min_size=4, max_size=4)


@quick
@given(box=edges, deviations=spreads, more=st.floats(0, 50), edge=st.integers(0, 3))
def test_a_greater_deviation_never_raises_a_score(box, deviations, more, edge):
    before = expected_overlap(box, deviations)
    deviations[edge] += more
    after = expected_overlap(box, deviations)
    assert before is not None
    assert after is not None
    assert 0.0 <= after <= before <= 1.0


@quick
@given(box=edges, deviations=spreads)
def test_a_place_scores_the_same_wherever_it_is(box, deviations):
    moved = [place + 7 for place in box]
    assert expected_overlap(moved, deviations) == expected_overlap(box, deviations)


@pytest.mark.parametrize(
    "task", [Task.OD, Task.CAPTION_TO_PHRASE_GROUNDING, Task.OPEN_VOCABULARY_DETECTION, Task.PROMPT]
)
def test_regions_below_the_least_score_are_left_out_and_counted(task):
    decoded = sure_and_unsure()
    all_of_it = parse(task, decoded, VOCABULARY, THOUSAND)
    assert [one.label for one in all_of_it.regions] == ["cat", "dog"]
    assert all_of_it.left_out_count == 0
    score = all_of_it.regions[1].score
    assert score == pytest.approx(0.5)
    kept = parse(task, decoded, VOCABULARY, THOUSAND, min_score=score)
    assert kept == replace(all_of_it, left_out_count=0)
    cut = parse(task, decoded, VOCABULARY, THOUSAND, min_score=score + 0.01)
    assert cut.regions == all_of_it.regions[:1]
    assert (cut.left_out_count, cut.raw_text) == (1, all_of_it.raw_text)
    if isinstance(cut.value, GroundingAnswer):
        assert [phrase.phrase for phrase in cut.value.phrases] == ["cat"]


def test_a_region_that_was_asked_about_or_has_no_score_is_never_left_out():
    decoded = Decoded(spell("cat"), [-5.0] * 3, deviations=[0.0] * 3)
    asked = {"region": Box(0, 0, 5, 5), "min_score": 1.0}
    answer = parse(Task.REGION_TO_CATEGORY, decoded, VOCABULARY, THOUSAND, **asked)
    assert (len(answer.regions), answer.left_out_count) == (1, 0)
    unscored = Decoded(spell("cat" + locations((1, 2, 3, 4))))
    answer = parse(Task.OD, unscored, VOCABULARY, THOUSAND, min_score=1.0)
    assert (len(answer.regions), answer.left_out_count) == (1, 0)


BOX = locations((10, 20, 30, 40))


@pytest.mark.parametrize(
    ("task", "said", "begins"),
    [
        (Task.OD, f"cat{BOX}dog{BOX}", (0, 7)),
        (Task.OD, f"cat{BOX}{BOX}", (0, 7)),
        (Task.REGION_PROPOSAL, f"{BOX}{BOX}", (0, 4)),
        (Task.CAPTION_TO_PHRASE_GROUNDING, f"cat{BOX}{BOX}dog{BOX}", (0, 7, 11)),
        (Task.OCR_WITH_REGION, f"A{BOX}{BOX}B{BOX}{BOX}", (0, 9)),
        (
            Task.OPEN_VOCABULARY_DETECTION,
            f"cat<poly>{BOX}{BOX}</poly><poly>{BOX}{BOX}</poly>",
            (0, 13),
        ),
        (Task.REFERRING_EXPRESSION_SEGMENTATION, f"{BOX}{BOX}", (0,)),
    ],
)
def test_existence_is_that_the_answer_did_not_end_where_the_region_begins(task, said, begins):
    tokens = spell(said)
    chances = [place / 100 for place in range(len(tokens))]
    decoded = Decoded(tokens, end_chances=chances)
    regions = parse(task, decoded, VOCABULARY, THOUSAND).regions
    assert [one.existence for one in regions] == pytest.approx([1 - n / 100 for n in begins])


def test_existence_of_a_place_that_is_not_the_models_is_unknown():
    tokens = spell("cat")
    asked = {"region": Box(0, 0, 5, 5)}
    decoded = Decoded(tokens, end_chances=[0.1] * len(tokens))
    answer = parse(Task.REGION_TO_CATEGORY, decoded, VOCABULARY, THOUSAND, **asked)
    assert answer.regions[0].existence is None
    unknown = parse(Task.OD, Decoded(spell(f"cat{BOX}")), VOCABULARY, THOUSAND)
    assert unknown.regions[0].existence is None
    with pytest.raises(ValueError, match="end chances"):
        Decoded(tokens, end_chances=[0.1])


def sure_and_unsure() -> Decoded:
    """Return a cat with the score 1, and a dog with the score 0.5, whose place is uncertain."""
    place = locations((100, 100, 200, 200))
    tokens = spell(f"cat{place}dog{place}")
    deviations = [0.0] * (len(tokens) - 4) + [12.5] * 4
    return Decoded(tokens, [0.0] * len(tokens), deviations=deviations)


def bell(centre: int, spread: float) -> list[float]:
    """Return probabilities of all bins around one, by a normal distribution."""
    weights = [math.exp(-(((place - centre) / spread) ** 2) / 2) for place in range(BIN_COUNT)]
    return [weight / sum(weights) for weight in weights]


def deviations_of(box, chances):
    """Return the mean absolute deviation of every edge, as the engine does."""
    return [
        sum(chance * abs(place - edge) for place, chance in enumerate(of_edge))
        for edge, of_edge in zip(box, chances, strict=True)
    ]


def drawn_overlap(box, chances, draws=4000):
    """Return the mean overlap with boxes whose edges are drawn from the probabilities."""
    generator = random.Random(7)
    columns = [generator.choices(range(BIN_COUNT), weights=each, k=draws) for each in chances]
    return fmean(iou(Box(*box), Box(*drawn)) for drawn in zip(*columns, strict=True))
