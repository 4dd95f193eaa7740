"""The judgement of `make k8s-test` is as strict as its page says."""

from __future__ import annotations

import math

import pytest
from cluster.timeline import Load, Moment, faults, figures

LOAD = Load(from_s=30, until_s=210, per_s=10, jobs_per_s=2)


def timeline(
    working: dict[int, int],
    wanted: dict[int, int] | None = None,
    refused: dict[int, int] | None = None,
) -> list[Moment]:
    """Return a look a second, with counts that change at given seconds."""
    found, now = [], {"working": 0, "wanted": 0, "refused": 0}
    for at_s in range(400):
        now["working"] = working.get(at_s, now["working"])
        now["wanted"] = (wanted or working).get(at_s, now["wanted"])
        now["refused"] = (refused or {}).get(at_s, now["refused"])
        found.append(
            Moment(at_s, now["wanted"], now["working"], now["working"], 0.0, 0, now["refused"])
        )
    return found


GOOD = {40: 1, 60: 4, 90: 6, 280: 3, 300: 0}


def test_workers_that_come_in_time_and_go_are_as_they_must_be():
    assert LOAD.needed == 5
    seen = timeline(GOOD, refused={50: 3, 80: 9})
    assert faults(seen, LOAD) == []
    found = figures(seen, LOAD)
    assert (found.first_worker_s, found.enough_s, found.last_refusal_s) == (10, 60, 50)
    assert (found.most, found.reversals, found.gone_s) == (6, 0, 90)


@pytest.mark.parametrize(
    ("seen", "fault"),
    [
        (timeline({10: 1, **GOOD}), "before the first call"),
        (timeline({100: 6, 300: 0}), "first worker"),
        (timeline({40: 1, 300: 0}), "never enough"),
        (timeline(GOOD, refused={200: 1}), "refused in the last third"),
        (timeline({40: 1, 60: 11, 300: 0}), "more than 10 workers"),
        (timeline({40: 6, 80: 4, 90: 6, 100: 4, 110: 6, 300: 0}), "taken away and asked for again"),
        (timeline({40: 6}), "left at the end"),
    ],
)
def test_each_fault_is_told(seen, fault):
    (told,) = faults(seen, LOAD)
    assert fault in told


def test_what_never_came_is_infinite():
    assert figures(timeline({}), LOAD).enough_s == math.inf
