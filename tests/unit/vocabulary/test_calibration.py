"""Calibrated scores are other numbers in the same order."""

import pytest
from arno.vocabulary import Decoded, Task, parse
from arno.vocabulary.calibration import Calibration, ScoreMap
from hypothesis import given
from hypothesis import strategies as st
from unit.vocabulary.spelling import THOUSAND, VOCABULARY, locations, quick, spell

HALVED = ScoreMap((0.0, 1.0), (0.0, 0.5))
unit = st.floats(0, 1)
inner = st.lists(st.floats(0.001, 0.999).map(lambda x: round(x, 3)), max_size=8, unique=True)


@st.composite
def maps(draw):
    scores = [0.0, *sorted(draw(inner)), 1.0]
    size = len(scores)
    values = st.lists(unit, min_size=size, max_size=size, unique=True)
    return ScoreMap(tuple(scores), tuple(sorted(draw(values))))


@quick
@given(maps(), unit, unit)
def test_a_map_never_changes_the_order_of_scores(score_map, one, other):
    low, high = sorted((one, other))
    assert 0.0 <= score_map(low) <= score_map(high) <= 1.0


@quick
@given(maps())
def test_a_map_goes_through_its_points_and_rises_between_them(score_map):
    for score, value in zip(score_map.scores, score_map.values, strict=True):
        assert score_map(score) == pytest.approx(value, abs=1e-12)
    low, high = score_map.values[:2]
    if high - low > 1e-6:
        middle = score_map(score_map.scores[1] / 2)
        assert low < middle < high


@pytest.mark.parametrize(
    ("scores", "values", "fault"),
    [
        ((0.0, 0.5, 1.0), (0.0, 0.4, 0.4), "must rise"),
        ((0.0, 0.5, 0.5, 1.0), (0.0, 0.1, 0.2, 0.3), "must rise"),
        ((0.0, 1.0), (0.0, float("nan")), "within 0 and 1"),
        ((0.1, 1.0), (0.0, 1.0), "from 0 to 1"),
        ((0.0, 1.0), (0.0, 1.1), "within 0 and 1"),
        ((0.0,), (0.0,), "two or more"),
    ],
)
def test_a_line_that_would_change_an_order_is_refused(scores, values, fault):
    with pytest.raises(ValueError, match=fault):
        ScoreMap(scores, values)


@pytest.mark.parametrize("task", [Task.OD, Task.CAPTION_TO_PHRASE_GROUNDING])
def test_scores_are_calibrated_before_any_is_left_out(task):
    tokens = spell(f"cat{locations((100, 100, 200, 200))}")
    decoded = Decoded(tokens, [0.0] * len(tokens), deviations=[0.0] * len(tokens))
    plain = parse(task, decoded, VOCABULARY, THOUSAND).regions[0]
    assert (plain.score, plain.calibrated) == (1.0, False)
    calibration = Calibration({task: HALVED})
    answer = parse(task, decoded, VOCABULARY, THOUSAND, calibration=calibration)
    (region,) = answer.regions
    assert (region.score, region.calibrated) == (0.5, True)
    assert (region.label_score, region.location_score) == (1.0, 1.0)
    cut = parse(task, decoded, VOCABULARY, THOUSAND, calibration=calibration, min_score=0.6)
    assert (cut.regions, cut.left_out_count) == ((), 1)
    other = Calibration({Task.OCR_WITH_REGION: HALVED})
    assert parse(task, decoded, VOCABULARY, THOUSAND, calibration=other).regions == (plain,)
