"""A full window pauses; half a window resumes."""

from __future__ import annotations

import pytest
from arno.bus.limits import Window


def test_window_pauses_at_its_limit_and_resumes_at_half_of_it() -> None:
    window = Window(8)
    seen = {count: window.update(count) for count in (0, 7, 8, 6, 5, 4, 7, 9)}
    assert seen == {0: False, 7: False, 8: True, 6: True, 5: True, 4: False, 9: True}


@pytest.mark.parametrize(("unfinished", "free"), [(0, 8), (5, 3), (8, 0), (9, 0)])
def test_free_slots_are_what_fits(unfinished: int, free: int) -> None:
    assert Window(8).free_slots(unfinished) == free


def test_window_of_one_holds_one_at_a_time() -> None:
    window = Window(1)
    assert [window.free_slots(count) for count in (0, 1, 0)] == [1, 0, 1]


def test_partitions_share_the_window_and_each_has_a_slot():
    window = Window(64)
    assert [window.share(partitions) for partitions in (0, 1, 2, 12, 100)] == [64, 64, 32, 6, 1]


def test_quarter_is_reserved_for_partitions_that_have_nothing_yet():
    window = Window(64)
    assert [window.unreserved(count) for count in (0, 40, 41, 48, 64)] == [48, 8, 0, 0, 0]
    assert window.opens_at() == 40
    window.update(64)
    assert window.opens_at() == 32
    assert Window(4).unreserved(3) == 1
