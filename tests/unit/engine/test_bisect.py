from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence

from arno.engine.bisect import run_bisecting
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers(1, 20), st.sets(st.integers(0, 19)))
def test_exactly_the_poisonous_members_fail_and_the_others_keep_their_order(count, poison):
    def run(members: Sequence[int]) -> list[int]:
        if poison & set(members):
            raise RuntimeError("poison")
        return [member * 10 for member in members]

    done = run_bisecting(range(count), run)
    poisoned = [member for member in range(count) if member in poison]
    assert [each.member for each in done.casualties] == poisoned
    assert [each.member for each in done.survivors] == [
        member for member in range(count) if member not in poison
    ]
    assert all(each.outcome == each.member * 10 for each in done.survivors)
    assert (done.failed_batch_count > 0) == bool(poisoned)


def test_a_batch_that_is_too_large_runs_in_parts():
    def run(members: Sequence[int]) -> list[int]:
        if len(members) > 3:
            raise MemoryError
        return list(members)

    done = run_bisecting(range(10), run)
    assert [each.outcome for each in done.survivors] == list(range(10))
    assert not done.casualties


def test_a_part_does_not_hold_what_the_whole_had_computed():
    class Activations:
        pass

    computed: list[weakref.ref[Activations]] = []

    def run(members: Sequence[int]) -> list[int]:
        assert all(earlier() is None for earlier in computed)
        activations = Activations()
        computed.append(weakref.ref(activations))
        if len(members) > 1 or 1 in members:
            raise MemoryError
        return list(members)

    gc.disable()
    try:
        done = run_bisecting(range(4), run)
    finally:
        gc.enable()
    assert [type(each.fault) for each in done.casualties] == [MemoryError]
    assert len(done.survivors) == 3
