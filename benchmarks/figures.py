"""Reduce what was measured to figures. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request's end.

    Attributes:
        ask_id: Which.
        task: Its task.
        latency_s: From when it was due to be sent to its answer.
        token_ids: The answer; empty where it failed.
        fault: What went wrong; empty where nothing did.
    """

    ask_id: int
    task: str
    latency_s: float
    token_ids: tuple[int, ...]
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """All requests of one run of one engine.

    Attributes:
        outcomes: In the order of the workload.
        elapsed_s: From the first request to the last answer.
        rss_bytes: Peak memory of the engine's processes during the run.
        others_cores: Cores that all other processes of the machine kept busy meanwhile.
        busy_s: Processor time of the engine's processes, which depends less on other processes than
            the elapsed time does.
    """

    outcomes: tuple[Outcome, ...]
    elapsed_s: float
    rss_bytes: int
    others_cores: float
    busy_s: float

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return sum(not each.fault for each in self.outcomes) / self.elapsed_s


def percentile(values: Sequence[float], part: float) -> float:
    """Return the smallest value that at least a part of all values does not exceed."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def equal_count(run: Run, reference: Run) -> int:
    """Return how many answers are the reference's, token by token."""
    wanted = {each.ask_id: each.token_ids for each in reference.outcomes}
    return sum(not o.fault and o.token_ids == wanted.get(o.ask_id) for o in run.outcomes)


def summarise(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the figures of all rounds of one engine: medians of rounds, latencies of all."""
    outcomes = [outcome for run in runs for outcome in run.outcomes]
    return {
        "throughput": median(run.throughput for run in runs),
        "throughputs": [run.throughput for run in runs],
        "tokens_per_s": median(
            sum(len(each.token_ids) for each in run.outcomes) / run.elapsed_s for run in runs
        ),
        "latency_s": latencies(outcomes),
        "latency_s_by_task": {
            task: latencies([each for each in outcomes if each.task == task])
            for task in sorted({each.task for each in outcomes})
        },
        "request_count": len(outcomes),
        "fault_count": sum(bool(each.fault) for each in outcomes),
        "faults": sorted({each.fault for each in outcomes if each.fault})[:3],
        "rss_bytes": max(run.rss_bytes for run in runs),
        "busy_s_each": _each(sum(run.busy_s for run in runs), outcomes),
        "others_cores": max(run.others_cores for run in runs),
    }


def _each(total: float, outcomes: Sequence[Outcome]) -> float | None:
    """Return a total's part for each answer; None where there is none."""
    answered = sum(not outcome.fault for outcome in outcomes)
    return total / answered if answered else None


def latencies(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Return the median, the 95th and the 99th percentile of the answered ones."""
    values = [outcome.latency_s for outcome in outcomes if not outcome.fault]
    if not values:
        return {}
    return {name: percentile(values, part) for name, part in _PARTS.items()}


_PARTS = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
