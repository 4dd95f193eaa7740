"""The arithmetic of Kubernetes' HorizontalPodAutoscaler, and a replay of workers under it.

The autoscaler is that of the documentation of Kubernetes: desired = ceil(total / target), nothing
within a tolerance of 10 %, the largest answer of all metrics, policies by period, and the highest
recommendation of the stabilization window before it goes down. KEDA hands it the metrics.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from arno.batching import Pace
from arno.gateway.backlog import Prediction
from arno.vocabulary import Lane

SYNC_S: Final = 15.0
_TOLERANCE: Final = 0.1
_COST: Final = 100.0


@dataclass(slots=True)
class Autoscaler:
    """Decides how many pods there shall be.

    Attributes:
        behavior: Of the HorizontalPodAutoscaler, as its manifest has it.
        replicas_min: Least number of pods.
        replicas_max: Most pods.
    """

    behavior: Mapping[str, Any]
    replicas_min: int
    replicas_max: int
    _recommended: list[tuple[float, int]] = field(default_factory=list)
    _changes: list[tuple[float, int]] = field(default_factory=list)

    def decide(self, now_s: float, current: int, totals: list[tuple[float, float]]) -> int:
        """Return the number of pods from now on.

        Args:
            now_s: The time.
            current: Pods now, those that still start included.
            totals: Value of each metric, and its target for each pod.
        """
        wanted = max(_proposal(total, target, current) for total, target in totals)
        wanted = min(self.replicas_max, max(self.replicas_min, wanted))
        down = self.behavior["scaleDown"]
        self._recommended.append((now_s, wanted))
        since_s = now_s - down["stabilizationWindowSeconds"]
        stable = max(count for at_s, count in self._recommended if at_s >= since_s)
        if wanted < current:
            wanted = min(current, stable)
        decided = self._limited(now_s, current, wanted)
        self._changes.append((now_s, decided - current))
        return decided

    def _limited(self, now_s: float, current: int, wanted: int) -> int:
        if wanted > current:
            policies = self.behavior["scaleUp"]["policies"]
            return min(wanted, max(self._highest(now_s, current, policy) for policy in policies))
        if wanted < current:
            policies = self.behavior["scaleDown"]["policies"]
            return max(wanted, min(self._lowest(now_s, current, policy) for policy in policies))
        return current

    def _highest(self, now_s: float, current: int, policy: Mapping[str, Any]) -> int:
        began = current - self._changed(now_s, policy["periodSeconds"], up=True)
        if policy["type"] == "Pods":
            return began + int(policy["value"])
        return math.ceil(began * (1 + policy["value"] / 100))

    def _lowest(self, now_s: float, current: int, policy: Mapping[str, Any]) -> int:
        began = current - self._changed(now_s, policy["periodSeconds"], up=False)
        return began - int(policy["value"])

    def _changed(self, now_s: float, period_s: float, *, up: bool) -> int:
        recent = [change for at_s, change in self._changes if at_s > now_s - period_s]
        return sum(change for change in recent if (change > 0) == up)


def _proposal(total: float, target: float, current: int) -> int:
    if abs(total / (target * current) - 1.0) <= _TOLERANCE:
        return current
    return math.ceil(total / target)


@dataclass(slots=True)
class _Worker:
    ready_at_s: float
    credit: float = 0.0
    pace: Pace = field(default_factory=lambda: Pace(cost_per_s=0.0))


@dataclass(slots=True)
class Replay:
    """One lane under a steady load, with as many workers as the autoscaler wants.

    Attributes:
        autoscaler: Decides every `SYNC_S`.
        metrics: The metrics that it gets and their targets, made from this replay.
        jobs_per_s: What one worker ends in a second.
        arrivals_per_s: What callers ask for.
        cold_start_s: From a decision to a worker that takes jobs.
        refusals: When jobs were refused.
        replicas: Time and number of pods, at each decision.
    """

    autoscaler: Autoscaler
    metrics: Callable[[Replay], list[tuple[float, float]]]
    jobs_per_s: float
    arrivals_per_s: float
    cold_start_s: float = 60.0
    step_s: float = 0.25
    wait_s_max: float = 30.0
    now_s: float = 0.0
    unfinished: int = 0
    refusals: list[float] = field(default_factory=list)
    replicas: list[tuple[float, int]] = field(default_factory=list)
    _workers: list[_Worker] = field(default_factory=lambda: [_Worker(0.0)])
    _prediction: Prediction = field(default_factory=lambda: Prediction(stale_after_s=5.0))
    _ended: deque[float] = field(default_factory=deque)
    _work_s: list[tuple[float, float]] = field(default_factory=list)
    _arriving: float = 0.0

    def run(self, seconds: float) -> None:
        """Let time pass."""
        steps = round(seconds / self.step_s)
        for _ in range(steps):
            self.now_s += self.step_s
            self._arrive()
            self._serve()
            if self._at(1.0):
                ready = [one.pace.cost_per_s for one in self._ready()]
                self._prediction.update({Lane.INTERACTIVE: self.unfinished}, ready, self.now_s)
            if self._at(10.0):
                work_s = self._prediction.work_s(Lane.INTERACTIVE, self.now_s)
                # What is not known is absent from the scrape, and counts as 0.
                self._work_s.append((self.now_s, work_s or 0.0))
            if self._at(SYNC_S):
                self._scale()

    def waiting_s(self) -> float:
        """Return what ``min_over_time(arno_gateway_backlog_seconds[30s])`` answers."""
        return min(
            (value for at_s, value in self._work_s[-4:] if at_s > self.now_s - 30.0), default=0.0
        )

    def ended_per_s(self) -> float:
        """Return what ``rate(arno_worker_jobs_total[2m])`` answers."""
        while self._ended and self._ended[0] <= self.now_s - 120.0:
            self._ended.popleft()
        return len(self._ended) / min(self.now_s, 120.0)

    def reversals_in(self, seconds: float) -> int:
        """Return the most changes of direction in any stretch of time."""
        counts = [count for _, count in self.replicas]
        turns: list[float] = []
        direction = 0
        for (at_s, now), before in zip(self.replicas[1:], counts, strict=False):
            step = (now > before) - (now < before)
            if step and direction and step != direction:
                turns.append(at_s)
            direction = step or direction
        return max((sum(at <= one < at + seconds for one in turns) for at in turns), default=0)

    def _at(self, period_s: float) -> bool:
        return round(self.now_s / self.step_s) % round(period_s / self.step_s) == 0

    def _ready(self) -> list[_Worker]:
        return [one for one in self._workers if one.ready_at_s <= self.now_s]

    def _arrive(self) -> None:
        self._arriving += self.arrivals_per_s * self.step_s
        while self._arriving >= 1.0:
            self._arriving -= 1.0
            wait_s = self._prediction.wait_s(Lane.INTERACTIVE, self.now_s)
            if wait_s is not None and wait_s > self.wait_s_max:
                self.refusals.append(self.now_s)
            else:
                self._prediction.lanes[Lane.INTERACTIVE].add(_COST)
                self.unfinished += 1

    def _serve(self) -> None:
        ready = self._ready()
        for worker in ready:
            # Work waits where a worker has more than the one job that it is at.
            if self.unfinished > 2 * len(ready):
                worker.pace.busy()
            else:
                worker.pace.idle()
            if self.unfinished == 0:
                worker.credit = 0.0
            worker.credit += self.jobs_per_s * self.step_s
            while worker.credit >= 1.0 and self.unfinished > 0:
                worker.credit -= 1.0
                self.unfinished -= 1
                self._ended.append(self.now_s)
                worker.pace.done(_COST, self.now_s)

    def _scale(self) -> None:
        current = len(self._workers)
        wanted = self.autoscaler.decide(self.now_s, current, self.metrics(self))
        self.replicas.append((self.now_s, wanted))
        while len(self._workers) < wanted:
            self._workers.append(_Worker(self.now_s + self.cold_start_s))
        del self._workers[wanted:]
