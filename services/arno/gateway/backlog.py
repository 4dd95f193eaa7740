"""Predict how long new jobs will wait, from the work on the bus and the pace of the workers.

Every second the bus reports how many records of each lane are unfinished, and the store how much
work the workers get done in a second; the gateway adds what it has published since. Where nothing
is known (no worker has been busy yet, or neither has answered for a while) nothing is predicted,
and only the budgets of jobs and bytes hold. `docs/decisions/0006-backlog-in-seconds.md`: why so.

The unit of work is that of `arno.batching.costs`: the token of one beam. A request's cost is
predicted once, here, and travels in the job's record; workers report how much of it they get done
in a second. So it only has to be right in proportion: the reported pace makes up for the rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from arno.batching import IMAGE_TOKENS, AnswerLengths
from arno.errors import ArnoError
from arno.ops.clock import SYSTEM_CLOCK, Clock
from arno.ops.periodic import PeriodicTask
from arno.vocabulary import DEFAULT_TENANT, Lane, TaskSpec
from arno.vocabulary.costs import EXPECTED_TOKENS

logger = logging.getLogger(__name__)

_BEAMS: Final = 3
_FAN_OUT: Final = 4
"""Regions that an answer is expected to hold, for tasks that follow each of them."""

_LENGTHS: Final = AnswerLengths(EXPECTED_TOKENS)

_STALE_AFTER: Final = 5
"""Intervals without an answer after which nothing is predicted any more."""

_WEIGHT: Final = 1 / 16

_ORDER: Final = (Lane.INTERACTIVE, Lane.STREAM, Lane.BATCH)
"""From the most urgent; a job waits for those of its own lane and of lanes before it."""


def predicted_cost(tasks: Sequence[TaskSpec]) -> float:
    """Return the cost of a request: one image, and each of its tasks."""
    return IMAGE_TOKENS + sum(map(_task_cost, tasks))


def _task_cost(spec: TaskSpec) -> float:
    beams = _BEAMS if spec.num_beams is None else spec.num_beams
    times = max(1, min(_FAN_OUT, spec.fan_out_max or _FAN_OUT)) if spec.input_from else 1
    return times * _LENGTHS.cost(spec.task, beams=max(1, beams), limit=spec.max_new_tokens)


@dataclass(slots=True)
class LaneWork:
    """The work of one lane.

    Attributes:
        record_count: Unfinished records on the bus, as it last reported.
        cost_mean: Moving average of the cost of the jobs accepted here; None before the first.
        cost_added: Cost of the jobs accepted here since that report.
    """

    record_count: int = 0
    cost_mean: float | None = None
    cost_added: float = 0.0

    @property
    def cost(self) -> float | None:
        """Cost of all unfinished records; None: no job was accepted here to estimate it from."""
        if self.record_count and self.cost_mean is None:
            return None
        return self.record_count * (self.cost_mean or 0.0) + self.cost_added

    def add(self, cost: float) -> None:
        """Count a job that was accepted."""
        moved = 0.0 if self.cost_mean is None else (1 - _WEIGHT) * (self.cost_mean - cost)
        self.cost_mean = cost + moved
        self.cost_added += cost


@dataclass(slots=True)
class Prediction:
    """The unfinished work and the pace of the workers. Pure: the caller passes the time.

    Attributes:
        stale_after_s: Age at which a report is no longer used.
        lanes: The work by lane.
        paces: Cost per second of each live worker; 0.0 for one that was never busy.
        updated_at_s: Time of the last report; None: none yet.
    """

    stale_after_s: float
    lanes: dict[Lane, LaneWork] = field(default_factory=lambda: {lane: LaneWork() for lane in Lane})
    paces: Sequence[float] = ()
    updated_at_s: float | None = None

    def update(self, counts: Mapping[str, int], paces: Sequence[float], now_s: float) -> None:
        """Take a report of the bus and of the store."""
        self.paces, self.updated_at_s = tuple(paces), now_s
        for lane, work in self.lanes.items():
            work.record_count, work.cost_added = counts.get(lane, 0), 0.0

    def fresh(self, now_s: float) -> bool:
        """Return whether the last report is still used."""
        return self.updated_at_s is not None and now_s - self.updated_at_s <= self.stale_after_s

    def pace(self, now_s: float) -> float | None:
        """Return the cost that one worker completes in a second; None: not known."""
        known = [pace for pace in self.paces if pace > 0.0]
        return sum(known) / len(known) if known and self.fresh(now_s) else None

    def work_s(self, lane: Lane, now_s: float) -> float | None:
        """Return how many seconds one worker would need for everything on a lane."""
        pace, cost = self.pace(now_s), self.lanes[lane].cost
        return None if pace is None or cost is None else cost / pace

    def wait_s(
        self, lane: Lane, now_s: float, share_ahead: Callable[[Lane], float] = lambda lane: 1.0
    ) -> float | None:
        """Return how long a new job of a lane will wait for all workers together.

        Args:
            lane: Its priority class.
            now_s: The time.
            share_ahead: Returns the part of a lane's work that is before the job.
        """
        before = _ORDER[: _ORDER.index(lane) + 1]
        seconds = {each: self.work_s(each, now_s) for each in before}
        known = [
            work_s * share_ahead(each) for each, work_s in seconds.items() if work_s is not None
        ]
        return sum(known) / len(self.paces) if len(known) == len(seconds) else None


class Backlog:
    """Keeps a prediction up to date. Lives in one asyncio loop; readers may be on any thread."""

    def __init__(
        self,
        *,
        unfinished: Callable[[], Awaitable[Mapping[str, int]]],
        paces: Callable[[], Awaitable[Sequence[float]]],
        interval_s: float,
        share_ahead: Callable[[Lane, str], float] = lambda lane, tenant: 1.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Take what reports the unfinished records and the paces, and how often to ask.

        Args:
            unfinished: Returns the unfinished records by lane.
            paces: Returns the cost per second of each worker.
            interval_s: How often both are asked.
            share_ahead: Returns the part of a lane's records that a tenant's new one waits for.
            clock: Tells the time.
        """
        self._share_ahead = share_ahead
        self._unfinished = unfinished
        self._paces = paces
        self._clock = clock
        self._prediction = Prediction(stale_after_s=_STALE_AFTER * interval_s)
        self._asking = PeriodicTask("the query of the backlog", self._ask, interval_s=interval_s)

    def add(self, lane: Lane, cost: float) -> None:
        """Count a job that was put on the bus."""
        self._prediction.lanes[lane].add(cost)

    def wait_s(self, lane: Lane, tenant: str = DEFAULT_TENANT) -> float | None:
        """Return how long a tenant's new job of a lane will wait; None: not known."""
        return self._prediction.wait_s(
            lane, self._clock.monotonic_s(), lambda each: self._share_ahead(each, tenant)
        )

    def work_s(self, lane: Lane) -> float | None:
        """Return how many seconds one worker would need for a lane; None: not known."""
        return self._prediction.work_s(lane, self._clock.monotonic_s())

    def record_count(self, lane: Lane) -> int | None:
        """Return how many records of a lane are unfinished; None: not known."""
        fresh = self._prediction.fresh(self._clock.monotonic_s())
        return self._prediction.lanes[lane].record_count if fresh else None

    async def start(self) -> None:
        """Begin to ask at the interval."""
        self._asking.start()

    async def close(self) -> None:
        """Stop asking. Idempotent."""
        await self._asking.close()

    async def _ask(self) -> None:
        try:
            counts, paces = await asyncio.gather(self._unfinished(), self._paces())
        except ArnoError as error:
            # The monitor of the backends logs it at a higher level.
            logger.debug("no report of the backlog: %s", error)
        else:
            self._prediction.update(counts, paces, self._clock.monotonic_s())
