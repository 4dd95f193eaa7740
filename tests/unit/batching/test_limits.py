"""Limits that adapt: sequences that run together, and time for admission and for decoding."""

from __future__ import annotations

import pytest
from arno.batching import AdaptiveLimit, Phase, PhaseShare
from hypothesis import given
from hypothesis import strategies as st


def test_too_high_halves_what_ran():
    limit = AdaptiveLimit(16)
    limit.too_high(10)
    assert limit.value == 5


def test_calm_raises_it_step_by_step_up_to_the_maximum():
    limit = AdaptiveLimit(4, calm=2)
    limit.too_high(4)
    values = []
    for _ in range(8):
        limit.went_well()
        values.append(limit.value)
    assert values == [2, 2, 2, 3, 3, 3, 3, 4]


def test_a_shortage_that_lasts_is_tried_ever_more_rarely():
    """Work of 300 steps comes to an end although no more than one has room, ever."""
    limit, longest, run, failures = AdaptiveLimit(8), 0, 0, 0
    limit.too_high(8)
    for _ in range(20_000):
        if limit.value > 1:
            failures += 1
            limit.too_high(limit.value)
            run = 0
        limit.went_well()
        run += 1
        longest = max(longest, run)
    assert longest > 300
    assert failures < 20


def test_back_at_the_maximum_it_is_as_bold_as_at_first():
    limit = AdaptiveLimit(2, calm=1)
    for _ in range(5):
        limit.too_high(2)
    for _ in range(100):
        limit.went_well()
    assert limit.value == 2
    limit.too_high(2)
    limit.went_well()
    limit.went_well()
    assert limit.value == 2


def test_trouble_ends_the_calm():
    limit = AdaptiveLimit(8, calm=2)
    limit.too_high(8)
    limit.went_well()
    limit.too_high(4)
    limit.went_well()
    assert limit.value == 2


@given(
    maximum=st.integers(1, 64),
    events=st.lists(st.one_of(st.none(), st.integers(1, 64)), max_size=60),
)
def test_it_stays_between_one_and_the_maximum(maximum, events):
    limit = AdaptiveLimit(maximum, calm=1)
    for running in events:
        before = limit.value
        if running is None:
            limit.went_well()
            assert limit.value >= before
        else:
            limit.too_high(running)
            assert limit.value <= max(1, before // 2)
        assert 1 <= limit.value <= maximum


def test_nothing_to_do_is_no_phase():
    assert PhaseShare(0.3).choose(can_admit=False, can_decode=False) is None


def test_taking_in_goes_first_until_it_owes():
    share = PhaseShare(0.5)
    assert share.choose(can_admit=True, can_decode=True) is Phase.ADMIT
    share.charge(Phase.ADMIT, 2.0)
    assert share.choose(can_admit=True, can_decode=True) is Phase.DECODE
    share.charge(Phase.DECODE, 2.0)
    assert share.choose(can_admit=True, can_decode=True) is Phase.ADMIT


def test_a_debt_to_no_sequence_is_forgotten():
    share = PhaseShare(0.5)
    share.charge(Phase.ADMIT, 100.0)
    assert share.choose(can_admit=True, can_decode=False) is Phase.ADMIT
    assert share.choose(can_admit=True, can_decode=True) is Phase.ADMIT


def test_without_newcomers_decoding_goes_on_and_hoards_nothing():
    share = PhaseShare(0.5)
    assert share.choose(can_admit=False, can_decode=True) is Phase.DECODE
    share.charge(Phase.DECODE, 100.0)
    assert share.choose(can_admit=True, can_decode=True) is Phase.ADMIT


@given(
    decode_share=st.floats(0.05, 0.9),
    admit_s=st.floats(0.001, 5.0),
    decode_s=st.floats(0.001, 0.5),
)
def test_under_full_load_decoding_gets_its_share_and_newcomers_the_rest(
    decode_share, admit_s, decode_s
):
    share = PhaseShare(decode_share)
    spent = {Phase.ADMIT: 0.0, Phase.DECODE: 0.0}
    for _ in range(400):
        phase = share.choose(can_admit=True, can_decode=True)
        cost_s = admit_s if phase is Phase.ADMIT else decode_s
        share.charge(phase, cost_s)
        spent[phase] += cost_s
        owed_s = spent[Phase.ADMIT] * decode_share / (1 - decode_share)
        # Never further apart than one unit of either kind.
        assert owed_s - spent[Phase.DECODE] <= admit_s * decode_share / (1 - decode_share) + 1e-6
    assert spent[Phase.ADMIT] >= admit_s
    assert spent[Phase.DECODE] > 0


@given(decode_share=st.floats(0.05, 0.9), filled=st.floats(0.0, 1.0))
def test_a_batch_in_part_full_is_owed_that_part_of_the_share(decode_share, filled):
    share = PhaseShare(decode_share)
    share.charge(Phase.ADMIT, 1.0, filled=filled)
    part = share.owed_s / (1.0 + share.owed_s)
    assert part == pytest.approx(decode_share * filled)


@pytest.mark.parametrize("decode_share", [0.0])
def test_without_a_share_newcomers_never_wait(decode_share):
    share = PhaseShare(decode_share)
    for _ in range(3):
        assert share.choose(can_admit=True, can_decode=True) is Phase.ADMIT
        share.charge(Phase.ADMIT, 1.0)
