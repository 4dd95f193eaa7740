from __future__ import annotations

from pathlib import Path

from chaos import schedule
from chaos.schedule import KILLS_AND_FREEZES, Disruption, Nemesis, Pace, Part
from hypothesis import given
from hypothesis import strategies as st

COUNTS = {Part.GATEWAY: 2, Part.WORKER: 2, Part.BROKER: 1, Part.REDIS: 1}


def disruptions(
    seed: int,
    seconds: float = 600.0,
    every_s: float = 11.0,
    nemeses: frozenset[Nemesis] = KILLS_AND_FREEZES,
) -> list[Disruption]:
    return schedule.plan(seed, COUNTS, Pace(seconds, every_s, 6.0, nemeses))


@given(st.integers())
def test_same_seed_gives_the_same_disruptions(seed: int) -> None:
    assert disruptions(seed) == disruptions(seed)


@given(st.integers(), st.floats(20, 1000), st.floats(2, 15))
def test_disruptions_are_in_order_inside_the_run_and_hit_parts_that_exist(
    seed: int, seconds: float, every_s: float
) -> None:
    made = disruptions(seed, seconds, every_s)
    times = [one.at_s for one in made]
    assert times == sorted(times)
    assert all(0 < at_s < seconds for at_s in times)
    assert all(one.index < COUNTS[one.part] for one in made)


@given(st.integers(), st.sets(st.sampled_from(Nemesis), min_size=1))
def test_only_what_was_asked_for_happens_and_kills_where_nothing_else_fits(
    seed: int, nemeses: set[Nemesis]
) -> None:
    made = disruptions(seed, nemeses=frozenset(nemeses))
    assert {one.nemesis for one in made} <= nemeses | {Nemesis.KILL}
    servers = {one.nemesis for one in made if one.part is Part.BROKER}
    assert servers <= {Nemesis.KILL}


def test_every_nemesis_comes_in_a_long_run() -> None:
    made = disruptions(1, seconds=3600.0, nemeses=frozenset(Nemesis))
    assert {one.nemesis for one in made} == set(Nemesis)


@given(st.integers())
def test_every_part_is_disturbed_before_any_is_disturbed_again(seed: int) -> None:
    made = [one.part for one in disruptions(seed)]
    for first in range(0, len(made) - 4, 4):
        assert set(made[first : first + 4]) == set(COUNTS)


def test_kind_without_parts_is_never_disturbed() -> None:
    counts = {**COUNTS, Part.BROKER: 0}
    made = schedule.plan(1, counts, Pace(300.0, 5.0, 1.0))
    assert {one.part for one in made} == {Part.GATEWAY, Part.WORKER, Part.REDIS}


@given(st.integers())
def test_ten_minutes_hold_at_least_thirty_kills(seed: int) -> None:
    kills = [one for one in disruptions(seed) if one.nemesis is Nemesis.KILL]
    assert len(kills) >= 30


def test_saved_schedule_is_the_same(tmp_path: Path) -> None:
    made = disruptions(3, nemeses=frozenset(Nemesis))
    schedule.save(made, tmp_path / "schedule.json")
    assert schedule.load(tmp_path / "schedule.json") == made
