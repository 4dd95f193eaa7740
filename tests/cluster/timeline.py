"""What happened to the workers, second by second: what must hold of it, and its plot."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Moment:
    """One look at the cluster.

    Attributes:
        at_s: Since the first look.
        wanted: Workers that the autoscaler asks for.
        pods: Workers whose pods are ready.
        working: Workers that take jobs.
        waiting: Jobs that wait or are in hand.
        answered: Calls that have been answered.
        refused: Calls that have been refused.
    """

    at_s: float
    wanted: int
    pods: int
    working: int
    waiting: float
    answered: int
    refused: int


@dataclass(frozen=True, slots=True)
class Load:
    """The calls that came.

    Attributes:
        from_s: When the first one came.
        until_s: When the last one came.
        per_s: How many came in a second.
        jobs_per_s: What one worker answers.
    """

    from_s: float
    until_s: float
    per_s: float
    jobs_per_s: float

    @property
    def needed(self) -> int:
        """Workers that answer as many calls as come, when they are always busy."""
        return math.ceil(self.per_s / self.jobs_per_s)


@dataclass(frozen=True, slots=True)
class Figures:
    """What is told of a timeline, in seconds since the first call.

    Attributes:
        first_worker_s: Until a worker took jobs.
        enough_s: Until as many as the load needs took jobs.
        last_refusal_s: Until the last refusal; 0 where there was none.
        most: The most workers that were asked for.
        reversals: How often workers were taken away and asked for again during the load.
        gone_s: From the last call until no worker was left.
    """

    first_worker_s: float
    enough_s: float
    last_refusal_s: float
    most: int
    reversals: int
    gone_s: float


def figures(moments: Sequence[Moment], load: Load) -> Figures:
    """Return the figures of a timeline; what never came about is infinite."""
    under = [one for one in moments if load.from_s <= one.at_s <= load.until_s]
    refused = [
        now.at_s - load.from_s
        for before, now in itertools.pairwise(moments)
        if now.refused > before.refused
    ]
    after = [one for one in moments if one.at_s > load.until_s]
    steps = [
        now.wanted - before.wanted
        for before, now in itertools.pairwise(under)
        if now.wanted != before.wanted
    ]
    return Figures(
        first_worker_s=_first(under, 1) - load.from_s,
        enough_s=_first(under, load.needed) - load.from_s,
        last_refusal_s=max(refused, default=0.0),
        most=max(one.wanted for one in moments),
        reversals=sum(a < 0 < b for a, b in itertools.pairwise(steps)),
        gone_s=next((one.at_s for one in after if not one.pods), math.inf) - load.until_s,
    )


def _first(moments: Sequence[Moment], working: int) -> float:
    return next((one.at_s for one in moments if one.working >= working), math.inf)


def faults(moments: Sequence[Moment], load: Load) -> list[str]:
    """Return what is not as it must be, in words."""
    found, lasted_s = figures(moments, load), load.until_s - load.from_s
    idle = [one for one in moments if one.at_s < load.from_s]
    rules = {
        "a worker ran before the first call": not any(one.pods for one in idle),
        "the first worker took more than 45 s": found.first_worker_s <= 45,
        "there were never enough workers": found.enough_s <= lasted_s,
        "calls were refused in the last third of the load": (
            found.last_refusal_s <= lasted_s * 2 / 3
        ),
        # What waited meanwhile takes some more for a while.
        f"more than {2 * load.needed} workers were asked for": found.most <= 2 * load.needed,
        "workers were taken away and asked for again": found.reversals <= 1,
        "workers were left at the end": found.gone_s < math.inf,
    }
    return [what for what, holds in rules.items() if not holds]


def draw(moments: Sequence[Moment], load: Load, path: Path) -> None:
    """Draw workers and jobs over time."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    at_s = [one.at_s for one in moments]
    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(8, 5))
    above.step(at_s, [one.wanted for one in moments], where="post", label="asked for")
    above.step(at_s, [one.working for one in moments], where="post", label="taking jobs")
    above.axhline(load.needed, color="grey", linestyle=":", label="needed")
    above.set_ylabel("workers")
    above.legend(loc="upper right")
    below.plot(at_s, [one.waiting for one in moments], label="jobs waiting or in hand")
    below.plot(at_s, [one.refused for one in moments], label="calls refused so far")
    below.set_ylabel("jobs")
    below.set_xlabel("seconds")
    below.legend(loc="upper right")
    for part in (above, below):
        part.axvspan(load.from_s, load.until_s, color="grey", alpha=0.15)
        part.set_ylim(bottom=0)
    figure.tight_layout()
    figure.savefig(path, dpi=100, metadata={"Software": None})
    pyplot.close(figure)
