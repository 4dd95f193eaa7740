"""Measure what one hostile tenant does to another: real Kafka, Redis, gateway and worker.

Each attack has an installation of its own, with API keys and otherwise the default limits, and an
engine at a model's pace (`paced_worker`) that decodes every image. The other tenant's calls are
measured alone and under the attack by turns, since the machine may be busier at one time than at
another. The attack comes from a process of its own, of the lowest priority: an attacker brings its
own processors along.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import grpc
from arno.api.v1 import types_pb2, vision_pb2
from arno.gateway.access.api_key import ApiKey, new_key

from benchmarks.attacks import (
    ATTACK,
    ATTACKS,
    PAUSE,
    SMALL_BYTES,
    TASK,
    AttackerProcess,
    attacker_process,
    shown,
)
from benchmarks.calls import Load
from benchmarks.fairness import key_file
from benchmarks.figures import percentile
from benchmarks.machine import describe
from benchmarks.overhead import figures, noise_jpeg
from benchmarks.paced_worker import SLOT_COUNT, STEP_COUNT, STEP_S
from benchmarks.stack import Stack, running_stack

logger = logging.getLogger("benchmarks")

BUDGET: Final = {"p95_ratio": 1.5}

_RATE: Final = 0.25 * SLOT_COUNT / (STEP_COUNT * STEP_S)
_WARM_UP_S: Final = 3.0
_LEAD_S: Final = 2.0
"""An attack runs for so long before it is measured."""

_ROUNDS: Final = 3
_DRAIN_S: Final = 60.0
"""How long what an attack has left on the bus may take before the tenant is alone again."""


def measure_hostile(
    *, seconds: float, only: str = "", known: Sequence[dict[str, Any]] = ()
) -> Iterator[dict[str, Any]]:
    """Yield the result after each attack whose name holds a word: a run cut off loses nothing.

    Args:
        seconds: How long the tenant is watched in all, alone and under each attack.
        only: The word; empty for all attacks.
        known: Rows that were measured before; those of other attacks stay.
    """
    runs = {run["attack"]: run for run in known}
    for name in ATTACKS:
        if only not in name:
            continue
        machine = describe("cpu")
        runs[name] = {**_attacked(name, seconds), "commit": machine["commit"]}
        logger.info("%s: ratio of p95 %.2f", name, runs[name]["p95_ratio"])
        rows = [runs[each] for each in ATTACKS if each in runs]
        yield {"name": "hostile", "kind": "hostile", "machine": machine, "budget": BUDGET,
               "runs": rows}  # fmt: skip


def _attacked(name: str, seconds: float) -> dict[str, Any]:
    keys = {tenant: new_key() for tenant in ("people", "hostile")}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        keys_file = folder / "keys.json"
        keys_file.write_text(key_file(keys).model_dump_json(exclude_none=True))
        keys_file.chmod(0o600)
        settings = {"keys_file": keys_file}
        with (
            running_stack(
                folder, gateway=settings, worker_module="benchmarks.paced_worker"
            ) as stack,
            attacker_process(name, stack.target, keys["hostile"]) as attacker,
        ):
            pids = {**stack.pids, "client": os.getpid(), "attacker": attacker.pid}
            watched = replace(stack, pids=pids)
            measured = _measured(name, watched, keys["people"], attacker, seconds / _ROUNDS)
            return asyncio.run(measured)


class Busy:
    """The processor time that the parts take while blocks run."""

    def __init__(self, stack: Stack) -> None:
        """Begin with nothing."""
        self._stack = stack
        self._parts_s: dict[str, float] = dict.fromkeys(stack.pids, 0.0)
        self._total_s = 0.0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Add what the parts take while the block runs."""
        began_s, before = time.monotonic(), self._stack.busy_s()
        yield
        self._total_s += time.monotonic() - began_s
        for part, busy_s in self._stack.busy_s().items():
            self._parts_s[part] += busy_s - before[part]

    def cores(self) -> dict[str, float]:
        """Return how many cores each part kept busy."""
        return {part: busy_s / self._total_s for part, busy_s in self._parts_s.items()}


async def _measured(
    name: str, stack: Stack, key: ApiKey, attacker: AttackerProcess, seconds: float
) -> dict[str, Any]:
    request = vision_pb2.InferRequest(
        image=types_pb2.Image(content=noise_jpeg(SMALL_BYTES, 1)), tasks=[TASK]
    )
    codes, loads = Counter[str](), list[float]()
    busy_alone, busy_attacked = Busy(stack), Busy(stack)
    async with grpc.aio.insecure_channel(stack.target) as channel:

        def load() -> Load:
            content = [request.SerializeToString()]
            return Load(channel, content, metadata=shown(key), answers=[])

        warm_up, alone, attacked = load(), load(), load()
        await warm_up.follow(rate=_RATE, seconds=_WARM_UP_S)
        for number in range(_ROUNDS):
            loads.append(round(os.getloadavg()[0], 2))
            with busy_alone.counted():
                await alone.follow(rate=_RATE, seconds=seconds, seed=number)
            await asyncio.to_thread(attacker.told, ATTACK)
            await asyncio.sleep(_LEAD_S)
            with busy_attacked.counted():
                await attacked.follow(rate=_RATE, seconds=seconds, seed=number)
            codes.update(await asyncio.to_thread(attacker.told, PAUSE))
            await _drained(stack)
    # By due time both phases have the same length; the rate says nothing here.
    before, after = (
        {
            **figures(each.calls, _ROUNDS * seconds),
            "stages_p95_s": _stages_p95_s(each),
            "busy_cores": busy.cores(),
        }
        for each, busy in ((alone, busy_alone), (attacked, busy_attacked))
    )
    return {
        "attack": name,
        "slots": SLOT_COUNT,
        "alone": before,
        "attacked": after,
        "p95_ratio": after["latency_s"]["p95"] / before["latency_s"]["p95"],
        "attacker_codes": dict(codes),
        "load_averages": loads,
    }


def _stages_p95_s(load: Load) -> dict[str, float]:
    """Return the p95 of what the answers say about themselves, in seconds.

    ``queue`` is from the gateway's acceptance to a prepare thread, ``engine`` from there to the
    end of the steps.
    """
    queue, engine = list[float](), list[float]()
    for content in load.answers or ():
        (result,) = vision_pb2.InferResponse.FromString(content).results
        timings = result.answer.timings
        queue.append(timings.queue.ToTimedelta().total_seconds())
        engine.append(timings.decode.ToTimedelta().total_seconds())
    return {"queue": percentile(queue, 0.95), "engine": percentile(engine, 0.95)}


async def _drained(stack: Stack) -> None:
    """Wait until the worker has nothing in hand, or for a minute."""
    until_s = time.monotonic() + _DRAIN_S
    while time.monotonic() < until_s:
        lines = (await asyncio.to_thread(_metrics_of, stack)).splitlines()
        found = [line for line in lines if line.startswith("arno_worker_unfinished_records{")]
        if not sum(float(line.rsplit(" ", 1)[1]) for line in found):
            return
        await asyncio.sleep(0.5)


def _metrics_of(stack: Stack) -> str:
    url = f"{stack.metrics_urls['worker']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own worker
        text: str = answer.read().decode()
        return text
