"""Measure what an outage of Kafka costs: a thousand requests of 200 kB, and nobody takes them.

The broker is stopped (SIGSTOP), which is the worst kind: connections stay open and nothing answers.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import grpc

from benchmarks.calls import Load
from benchmarks.machine import describe
from benchmarks.overhead import requests
from benchmarks.stack import Stack, running_stack

BUDGET: Final = {"gateway_rss_bytes": 600e6, "recovery_s": 5.0, "refusal_p50_s": 0.05}

_REQUEST_COUNT: Final = 1000
_IMAGE_BYTES: Final = 200_000
_DEADLINE_S: Final = 10.0


def measure_outage() -> dict[str, Any]:
    """Return what callers and the gateway went through."""
    machine = describe("cpu")
    with tempfile.TemporaryDirectory() as folder, running_stack(Path(folder)) as stack:
        found = asyncio.run(_outage(stack))
    return {"name": "outage", "kind": "outage", "machine": machine, "budget": BUDGET, **found}


async def _outage(stack: Stack) -> dict[str, Any]:
    prepared = requests(size_bytes=_IMAGE_BYTES)
    async with grpc.aio.insecure_channel(stack.target) as channel:
        await Load(channel, prepared).saturate(concurrency=32, seconds=2.0)
        before_bytes = stack.rss_bytes()["gateway"]
        seen = [before_bytes]
        watch = asyncio.create_task(_look(stack, seen))
        os.kill(stack.pids["kafka"], signal.SIGSTOP)
        try:
            first = Load(channel, prepared, timeout_s=_DEADLINE_S)
            await first.burst(_REQUEST_COUNT)
            later = Load(channel, prepared, timeout_s=_DEADLINE_S)
            await later.saturate(concurrency=8, seconds=5.0)
        finally:
            os.kill(stack.pids["kafka"], signal.SIGCONT)
        back_s = time.monotonic()
        again = Load(channel, prepared, timeout_s=1.0)
        while not any(call.code == "OK" for call in again.calls):
            await again.burst(1)
            await asyncio.sleep(0.02)
        recovery_s = time.monotonic() - back_s
        watch.cancel()
    return {
        "first_burst": _ends(first),
        "later": _ends(later),
        "recovery_s": recovery_s,
        "gateway_rss_bytes": {"before": before_bytes, "highest": max(seen)},
    }


async def _look(stack: Stack, seen: list[int]) -> None:
    while True:
        seen.append(stack.rss_bytes()["gateway"])
        await asyncio.sleep(0.05)


def _ends(load: Load) -> dict[str, Any]:
    slowest: dict[str, float] = {}
    counts: dict[str, int] = {}
    for call in load.calls:
        counts[call.code] = counts.get(call.code, 0) + 1
        slowest[call.code] = max(slowest.get(call.code, 0.0), call.latency_s)
    ordered = sorted(call.latency_s for call in load.calls)
    return {"codes": counts, "slowest_s": slowest, "p50_s": ordered[len(ordered) // 2]}
