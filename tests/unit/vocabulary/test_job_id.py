from __future__ import annotations

import pytest
from arno.vocabulary.job_id import made_at_ms, new_job_id
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers(0, 2**48 - 1))
def test_name_tells_when_it_was_made(now_at_ms: int) -> None:
    assert made_at_ms(new_job_id(now_at_ms)) == now_at_ms


@given(st.integers(0, 2**48 - 2))
def test_later_names_sort_after_earlier_ones(now_at_ms: int) -> None:
    assert new_job_id(now_at_ms) < new_job_id(now_at_ms + 1)


def test_no_two_names_of_one_moment_are_the_same() -> None:
    assert len({new_job_id(1) for _ in range(1000)}) == 1000


@pytest.mark.parametrize("name", ["", "job", "0" * 31, "0" * 33, "G" * 32, "A" * 32])
def test_other_names_tell_nothing(name: str) -> None:
    assert made_at_ms(name) is None
