"""Watch an engine's memory over many requests: what is given back late shows, what leaks grows."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, Final

from benchmarks.ask import Ask, Serving
from benchmarks.comparison import Plan, asks_of
from benchmarks.engines import start
from benchmarks.load import rss_bytes, saturate
from benchmarks.machine import describe

logger = logging.getLogger(__name__)

_IMAGES: Final = 256
"""Different images, in turn."""


@dataclass(frozen=True, slots=True)
class Soak:
    """Many requests.

    Attributes:
        plan: Which, to how many at once; its engines but for the first are not used.
        parts: How often memory is looked at, at equal distances.
    """

    plan: Plan
    parts: int = 10


def soak(work: Soak, serving: Serving) -> dict[str, Any]:
    """Return the memory after each part, ready for JSON."""
    plan, machine = work.plan, describe(serving.device)
    each = plan.requests // work.parts
    asked = _repeated(asks_of(plan, seed=1, count=_IMAGES), each)
    engine = start(plan.engines[0], serving)
    points = []
    try:
        for part in range(1, work.parts + 1):
            run = saturate(engine, asked, concurrency=plan.concurrency)
            faults = sum(bool(outcome.fault) for outcome in run.outcomes)
            rss = rss_bytes(engine.pid)
            points.append({"answered": part * each, "rss_bytes": rss, "faults": faults})
            logger.info("%s: %d answered, %.0f MiB", plan.name, part * each, rss / 2**20)
    finally:
        engine.close()
    return {
        "kind": "soak",
        "name": plan.name,
        "machine": machine,
        "model": plan.model,
        "points": points,
    }


def _repeated(some: list[Ask], count: int) -> list[Ask]:
    """Return so many requests, with ids of their own."""
    return [replace(some[number % len(some)], ask_id=number) for number in range(count)]
