"""How the engine's time is divided between taking in and decoding."""

from __future__ import annotations

import pytest
from arno.batching import Stage, StageShare
from hypothesis import given
from hypothesis import strategies as st


def test_nothing_to_do_is_no_stage():
    assert StageShare(0.3).choose(can_admit=False, can_decode=False) is None


def test_taking_in_goes_first_until_it_owes():
    share = StageShare(0.5)
    assert share.choose(can_admit=True, can_decode=True) is Stage.ADMIT
    share.charge(Stage.ADMIT, 2.0)
    assert share.choose(can_admit=True, can_decode=True) is Stage.DECODE
    share.charge(Stage.DECODE, 2.0)
    assert share.choose(can_admit=True, can_decode=True) is Stage.ADMIT


def test_a_debt_to_nobody_is_forgotten():
    share = StageShare(0.5)
    share.charge(Stage.ADMIT, 100.0)
    assert share.choose(can_admit=True, can_decode=False) is Stage.ADMIT
    assert share.choose(can_admit=True, can_decode=True) is Stage.ADMIT


def test_without_newcomers_decoding_goes_on_and_hoards_nothing():
    share = StageShare(0.5)
    assert share.choose(can_admit=False, can_decode=True) is Stage.DECODE
    share.charge(Stage.DECODE, 100.0)
    assert share.choose(can_admit=True, can_decode=True) is Stage.ADMIT


@given(
    decode_share=st.floats(0.05, 0.9),
    admit_s=st.floats(0.001, 5.0),
    decode_s=st.floats(0.001, 0.5),
)
def test_under_full_load_decoding_gets_its_share_and_newcomers_the_rest(
    decode_share, admit_s, decode_s
):
    share = StageShare(decode_share)
    spent = {Stage.ADMIT: 0.0, Stage.DECODE: 0.0}
    for _ in range(400):
        stage = share.choose(can_admit=True, can_decode=True)
        cost_s = admit_s if stage is Stage.ADMIT else decode_s
        share.charge(stage, cost_s)
        spent[stage] += cost_s
        owed_s = spent[Stage.ADMIT] * decode_share / (1 - decode_share)
        # Never further apart than one unit of either kind.
        assert owed_s - spent[Stage.DECODE] <= admit_s * decode_share / (1 - decode_share) + 1e-6
    assert spent[Stage.ADMIT] >= admit_s
    assert spent[Stage.DECODE] > 0


@pytest.mark.parametrize("decode_share", [0.0])
def test_without_a_share_newcomers_never_wait(decode_share):
    share = StageShare(decode_share)
    for _ in range(3):
        assert share.choose(can_admit=True, can_decode=True) is Stage.ADMIT
        share.charge(Stage.ADMIT, 1.0)
