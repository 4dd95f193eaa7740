"""Measure engines at several concurrencies, each started once."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.ask import Serving
from benchmarks.comparison import Plan, asks_of, start_all, warm_up
from benchmarks.figures import summarise
from benchmarks.load import saturate
from benchmarks.machine import describe

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sweep:
    """Saturation at several concurrencies.

    Attributes:
        plan: The rest; its own concurrency and number of requests are not used.
        concurrencies: Requests in an engine at once, in turn.
        requests_min: At least so many at each.
    """

    plan: Plan
    concurrencies: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    requests_min: int = 16


def sweep(work: Sweep, serving: Serving) -> dict[str, Any]:
    """Return the result of a sweep, ready for JSON."""
    plan, machine = work.plan, describe(serving.device)
    points = []
    with contextlib.ExitStack() as stack:
        running, skipped = start_all(plan, serving, stack)
        warm_up(plan, running)
        for at in work.concurrencies:
            asked = asks_of(plan, seed=at, count=max(work.requests_min, at + at // 2))
            runs = {}
            for name, engine in running.items():
                runs[name] = saturate(engine, asked, concurrency=at)
                logger.info("%s: %d at once: %s %.3f/s", plan.name, at, name, runs[name].throughput)
            found = {name: summarise([run]) for name, run in runs.items()}
            points.append({"concurrency": at, "engines": found})
    return {
        "kind": "sweep",
        "name": plan.name,
        "machine": machine,
        "plan": asdict(plan),
        "serving": {key: value for key, value in asdict(serving).items() if key != "model"},
        "skipped": skipped,
        "points": points,
    }
