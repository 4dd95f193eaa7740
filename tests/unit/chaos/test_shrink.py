from __future__ import annotations

from collections.abc import Sequence

from chaos.schedule import Disruption, Nemesis, Part
from chaos.shrink import shrink
from hypothesis import given
from hypothesis import strategies as st

WHOLE = [Disruption(float(n), Part.WORKER, 0, Nemesis.KILL, 1.0) for n in range(20)]


@given(st.sets(st.sampled_from(WHOLE), min_size=1, max_size=3))
def test_only_the_disruptions_that_matter_are_left(culprits: set[Disruption]) -> None:
    shortest = shrink(WHOLE, lambda some: culprits <= set(some), runs_max=1000)
    assert shortest == sorted(culprits, key=lambda one: one.at_s)


def test_result_fails_when_the_runs_do_not_suffice() -> None:
    runs = []

    def fails(some: Sequence[Disruption]) -> bool:
        runs.append(some)
        return WHOLE[3] in some and WHOLE[15] in some

    shortest = shrink(WHOLE, fails, runs_max=5)
    assert len(runs) == 5
    assert {WHOLE[3], WHOLE[15]} <= set(shortest)
