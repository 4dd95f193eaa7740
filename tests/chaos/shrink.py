"""Find a short schedule that still breaks a promise: delta debugging over disruptions.

Source: A. Zeller and R. Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE
Transactions on Software Engineering 28 (2), 2002: the algorithm ddmin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chaos.schedule import Disruption

Fails = Callable[[Sequence[Disruption]], bool]
"""Whether a run of these disruptions breaks a promise."""


def shrink(disruptions: Sequence[Disruption], fails: Fails, *, runs_max: int) -> list[Disruption]:
    """Return a shorter schedule that fails; one disruption fewer passes, if the runs sufficed.

    Args:
        disruptions: A schedule that fails.
        fails: Runs a schedule. Processes race, so a schedule may fail now and pass later; a part
            that passes is kept out of the result only while the rest fails.
        runs_max: How many schedules may be run.
    """
    found, pieces, runs = list(disruptions), 2, 0
    while len(found) > 1 and runs < runs_max:
        size = max(1, len(found) // pieces)
        chunks = [found[start : start + size] for start in range(0, len(found), size)]
        candidates = [*chunks, *([x for c in chunks if c is not out for x in c] for out in chunks)]
        for candidate in candidates:
            if not candidate or len(candidate) == len(found) or runs >= runs_max:
                continue
            runs += 1
            if fails(candidate):
                found, pieces = candidate, max(2, pieces - 1)
                break
        else:
            if size == 1:
                return found
            pieces = min(len(found), 2 * pieces)
    return found
