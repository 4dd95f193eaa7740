from __future__ import annotations

from chaos.schedule import Blow, Kind, Strike, plan
from hypothesis import given
from hypothesis import strategies as st

COUNTS = {Kind.GATEWAY: 2, Kind.WORKER: 2, Kind.BROKER: 1, Kind.REDIS: 1}


def strikes(seed: int, seconds: float = 600.0, every_s: float = 11.0) -> list[Strike]:
    return plan(seed, counts=COUNTS, seconds=seconds, every_s=every_s, freeze_s=6.0)


@given(st.integers())
def test_same_seed_gives_the_same_strikes(seed: int) -> None:
    assert strikes(seed) == strikes(seed)


@given(st.integers(), st.floats(20, 1000), st.floats(2, 15))
def test_strikes_are_in_order_inside_the_run_and_hit_parts_that_exist(
    seed: int, seconds: float, every_s: float
) -> None:
    made = strikes(seed, seconds, every_s)
    times = [strike.at_s for strike in made]
    assert times == sorted(times)
    assert all(0 < at_s < seconds for at_s in times)
    assert all(strike.index < COUNTS[strike.kind] for strike in made)
    assert all(strike.kind is Kind.WORKER for strike in made if strike.blow is Blow.FREEZE)


@given(st.integers())
def test_every_kind_is_struck_before_any_is_struck_again(seed: int) -> None:
    made = [strike.kind for strike in strikes(seed)]
    for first in range(0, len(made) - 4, 4):
        assert set(made[first : first + 4]) == set(COUNTS)


def test_kind_without_parts_is_never_struck() -> None:
    counts = {**COUNTS, Kind.BROKER: 0}
    made = plan(1, counts=counts, seconds=300, every_s=5, freeze_s=1)
    assert {strike.kind for strike in made} == {Kind.GATEWAY, Kind.WORKER, Kind.REDIS}


@given(st.integers())
def test_ten_minutes_hold_at_least_forty_kills(seed: int) -> None:
    kills = [strike for strike in strikes(seed) if strike.blow is Blow.KILL]
    assert len(kills) >= 40
