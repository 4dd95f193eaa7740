"""Run engines in turn on the same requests, several rounds, and compare their answers."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from arno.vocabulary import CATALOGUE, Task

from benchmarks.ask import Ask, Serving
from benchmarks.engines import UnavailableError, start
from benchmarks.engines.registry import RunningEngine
from benchmarks.figures import Run, equal_count, summarise
from benchmarks.load import follow, saturate
from benchmarks.machine import describe
from benchmarks.pictures import picture
from benchmarks.schedule import (
    WORKLOADS,
    Item,
    items,
    mean_tokens,
    poisson_arrivals_s,
    steady_arrivals_s,
)

logger = logging.getLogger(__name__)

_WARM_UP_SEED = 99


@dataclass(frozen=True, slots=True)
class Plan:
    """One comparison.

    Attributes:
        name: Of the result.
        model: ``tiny``, ``base``, ``large`` or ``dry``.
        workload: Its name.
        engines: The first one's answers are the reference.
        requests: A round.
        rounds: How often; each has images of its own.
        concurrency: Requests in an engine at once; 0 where ``rate`` is given.
        rate: Mean arrivals a second, open loop; 0.0 for saturation.
        steady: Arrivals at equal distances, as of a video; else Poisson's.
        num_beams: 1 is greedy.
        length_factor: Multiplies the answers' lengths.
        seconds: No further round starts after this long; 0 for no limit.
    """

    name: str
    model: str
    workload: str
    engines: tuple[str, ...]
    requests: int
    rounds: int = 3
    concurrency: int = 16
    rate: float = 0.0
    steady: bool = False
    num_beams: int = 3
    length_factor: float = 1.0
    seconds: float = 0.0


def compare(plan: Plan, serving: Serving) -> dict[str, Any]:
    """Return the result of a comparison, ready for JSON."""
    machine = describe(serving.device)
    with contextlib.ExitStack() as stack:
        running, skipped = start_all(plan, serving, stack)
        warm_up(plan, running)
        runs = _rounds(plan, running)
    chosen = _items(plan, seed=1)
    return {
        "kind": "comparison",
        "name": plan.name,
        "machine": machine,
        "plan": asdict(plan),
        "serving": {key: value for key, value in asdict(serving).items() if key != "model"},
        "mean_tokens": mean_tokens(chosen),
        "skipped": skipped,
        "engines": _summaries(plan, runs),
    }


def start_all(
    plan: Plan, serving: Serving, stack: contextlib.ExitStack
) -> tuple[dict[str, RunningEngine], dict[str, str]]:
    """Start the engines of a plan, to be closed with the stack; say why others are skipped."""
    running: dict[str, RunningEngine] = {}
    skipped: dict[str, str] = {}
    for name in plan.engines:
        logger.info("%s: starting %s", plan.name, name)
        try:
            running[name] = start(name, serving)
        except UnavailableError as reason:
            logger.warning("skipped %s", reason)
            skipped[name] = str(reason)
            continue
        stack.callback(running[name].close)
    return running, skipped


def warm_up(plan: Plan, running: dict[str, RunningEngine]) -> None:
    """Have every engine answer two requests, which do not count."""
    for name, engine in running.items():
        logger.info("%s: warming %s up", plan.name, name)
        saturate(engine, asks_of(plan, seed=_WARM_UP_SEED)[:2], concurrency=2)


def _rounds(plan: Plan, running: dict[str, RunningEngine]) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {name: [] for name in running}
    began_s = time.monotonic()
    for number in range(plan.rounds):
        if plan.seconds and number and time.monotonic() - began_s > plan.seconds:
            logger.info("%s: out of time after %d rounds", plan.name, number)
            break
        asked = asks_of(plan, seed=number + 1)
        names = list(running)
        # Whoever goes first meets another machine than whoever goes last: take turns in that too.
        for name in names[number % len(names) :] + names[: number % len(names)]:
            runs[name].append(_run(plan, running[name], asked, seed=number + 1))
            logger.info("%s: round %d: %s %.3f/s", plan.name, number + 1, name,
                        runs[name][-1].throughput)  # fmt: skip
    return runs


def _run(plan: Plan, engine: RunningEngine, asked: Sequence[Ask], *, seed: int) -> Run:
    if not plan.rate:
        return saturate(engine, asked, concurrency=plan.concurrency)
    if plan.steady:
        return follow(engine, asked, steady_arrivals_s(len(asked), plan.rate))
    return follow(engine, asked, poisson_arrivals_s(len(asked), plan.rate, seed=seed))


def _summaries(plan: Plan, runs: dict[str, list[Run]]) -> dict[str, Any]:
    reference = runs.get(plan.engines[0], [])
    found = {}
    for name, of_engine in runs.items():
        equal = sum(map(equal_count, of_engine, reference)) if reference else 0
        found[name] = summarise(of_engine) | {"equal_count": equal}
    return found


def _items(plan: Plan, seed: int, count: int = 0) -> list[Item]:
    workload = WORKLOADS[plan.workload]
    return items(workload, count or plan.requests, seed=seed, length_factor=plan.length_factor)


def asks_of(plan: Plan, *, seed: int, count: int = 0) -> list[Ask]:
    """Return the requests of a round: the plan's number of them, unless a count is given."""
    return [
        Ask(
            ask_id=place,
            task=item.task,
            prompt=CATALOGUE[Task(item.task)].prompt,
            image=picture(item.image_index),
            token_limit=item.token_limit,
            num_beams=plan.num_beams,
        )
        for place, item in enumerate(_items(plan, seed, count))
    ]
