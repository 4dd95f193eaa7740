"""What work is predicted to cost, and how the prediction learns."""

from __future__ import annotations

import pytest
from arno.batching import IMAGE_TOKENS, AnswerLengths, ImagePrice, Pace
from hypothesis import given
from hypothesis import strategies as st


def test_an_answer_costs_its_tokens_in_all_beams():
    assert AnswerLengths({"OD": 55}).cost("OD", beams=3) == 165.0


def test_no_answer_is_longer_than_its_limit_nor_shorter_than_a_token():
    lengths = AnswerLengths({"OD": 55, "NONE": 0})
    assert (lengths.expect("OD", 20), lengths.expect("NONE"), lengths.expect("OD", 0)) == (20, 1, 1)


def test_lengths_are_learned_by_kind():
    lengths = AnswerLengths({"OD": 55, "CAPTION": 12})
    for _ in range(100):
        lengths.learn("OD", 200)
    assert lengths.expect("OD") == pytest.approx(200, abs=1)
    assert lengths.expect("CAPTION") == 12


@given(st.lists(st.integers(1, 1000), max_size=50), st.integers(1, 1000))
def test_an_expectation_stays_within_what_was_seen(seen, guess):
    lengths = AnswerLengths({"k": guess})
    for token_count in seen:
        lengths.learn("k", token_count)
    assert min([guess, *seen]) <= lengths.expect("k") <= max([guess, *seen])


def test_an_image_has_its_guessed_price_until_both_stages_are_measured():
    price = ImagePrice()
    price.learn_images(2, 4.0)
    assert price.tokens == IMAGE_TOKENS
    price.learn_tokens(12, 0.12)
    assert price.tokens == pytest.approx(2.0 / 0.01)


def measured(pace, ends):
    """Let work of a cost end at moments, and look after each moment as a worker does."""
    pace.busy()
    for now_s, cost in ends:
        pace.done(cost, now_s)
        pace.busy()


def test_pace_is_what_ends_while_work_is_in_hand():
    pace = Pace(cost_per_s=1.0, window_s=2.0)
    measured(pace, [(float(now_s), 50.0) for now_s in range(1, 400)])
    assert pace.cost_per_s == pytest.approx(50.0, rel=0.01)


def test_first_look_counts_for_more_than_any_guess():
    pace = Pace(cost_per_s=1.0, window_s=2.0)
    measured(pace, [(0.0, 7.0), (2.0, 500.0)])
    assert pace.cost_per_s == pytest.approx(250.0)
    measured(pace, [(4.0, 100.0)])
    assert pace.cost_per_s == pytest.approx((250.0 + 50.0) / 2)


@pytest.mark.parametrize("size", [1, 8, 64])
@pytest.mark.parametrize("takes_s", [0.5, 5.0, 30.0])
def test_pace_is_right_from_the_first_batch_on(size, takes_s):
    pace = Pace(cost_per_s=0.0)
    pace.busy()
    estimates = []
    for number in range(1, 20):
        # Results are stored one after the other, all within one look.
        for n in range(size):
            pace.done(10.0, number * takes_s + n * 0.001)
        pace.busy()
        estimates.append(pace.cost_per_s)
    truth = size * 10.0 / takes_s
    # 0: not known yet. Too slow a pace at the start would refuse callers for nothing.
    assert all(one == 0.0 or one == pytest.approx(truth, rel=0.1) for one in estimates)
    assert estimates[-1] > 0


def test_idle_time_does_not_slow_the_pace():
    pace = Pace(cost_per_s=50.0, window_s=2.0)
    for began_s in range(0, 10_000, 100):
        measured(pace, [(began_s + 1.0, 50.0), (began_s + 2.0, 50.0), (began_s + 3.0, 50.0)])
        pace.idle()
    assert pace.cost_per_s == pytest.approx(50.0, rel=0.01)


def test_work_that_did_not_begin_is_not_counted():
    pace = Pace(cost_per_s=50.0)
    pace.done(1e9, 5.0)
    assert pace.cost_per_s == 50.0
