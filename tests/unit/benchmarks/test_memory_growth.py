import pytest

from benchmarks.streams.memory import growth

MB = 1_000_000


def test_growth_is_the_slope_of_what_comes_after_the_caches_are_filled() -> None:
    filling = [{"at_s": 60.0 * minute, "part": 10 * MB * minute} for minute in range(5)]
    # A megabyte an hour, and one look that was higher.
    settled = [{"at_s": 60.0 * minute, "part": MB * (50 + minute / 60)} for minute in range(5, 66)]
    settled[30]["part"] += 3 * MB
    found = growth([*filling, *settled], "part")
    assert (found["settled_at_s"], found["settled_bytes"]) == (300, settled[0]["part"])
    assert found["bytes_per_hour"] == pytest.approx(MB, rel=0.1)
    assert found["peak_bytes"] == settled[30]["part"]
