"""Measure what everything around the engine costs: null engine, real Kafka, real Redis.

Two questions: how much later an answer comes than the model has it, at a load well below the limit;
and how many jobs a second one gateway and one worker carry.
"""

from __future__ import annotations

import asyncio
import io
import random
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import psutil
from arno.api.v1 import types_pb2, vision_pb2
from PIL import Image

from benchmarks.calls import Call, Load
from benchmarks.figures import percentile
from benchmarks.machine import BusyTime, describe
from benchmarks.stack import Stack, running_stack

IMAGE_BYTES: Final = 100_000
BUDGET: Final = {"p50_s": 0.012, "p99_s": 0.040, "jobs_per_s": 400.0}

_IMAGE_COUNT: Final = 16
_WARM_UP_S: Final = 4.0
_RATES: Final = (20.0, 100.0, 200.0)
_CONCURRENCIES: Final = (1, 8, 32, 64, 128, 256)


def requests(count: int = _IMAGE_COUNT, size_bytes: int = IMAGE_BYTES) -> list[bytes]:
    """Return serialized requests, each with another image of about so many bytes."""
    task = types_pb2.TaskSpec(task=types_pb2.TASK_CAPTION)
    return [
        vision_pb2.InferRequest(
            image=types_pb2.Image(content=noise_jpeg(size_bytes, seed)), tasks=[task]
        ).SerializeToString()
        for seed in range(count)
    ]


def noise_jpeg(size_bytes: int, seed: int) -> bytes:
    """Return a JPEG of exactly so many bytes, at least 60 kB, another one for every seed."""
    width_px, height_px = 320, 256
    pixels = random.Random(seed).randbytes(3 * width_px * height_px)
    file = io.BytesIO()
    Image.frombytes("RGB", (width_px, height_px), pixels).save(file, "JPEG", quality=90)
    # Readers stop at the end marker.
    return file.getvalue().ljust(size_bytes, b"\0")


@dataclass(frozen=True, slots=True)
class Overhead:
    """How long each load runs, in seconds."""

    seconds: float


def measure_overhead(
    *, seconds: float, settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the result of all loads, each of which runs for so long."""
    machine = describe("cpu")
    with (
        tempfile.TemporaryDirectory() as folder,
        running_stack(Path(folder), **(settings or {})) as stack,
    ):
        runs = asyncio.run(_all_loads(stack, seconds))
    return {
        "name": "overhead",
        "kind": "overhead",
        "machine": machine,
        "image_bytes": IMAGE_BYTES,
        "budget": BUDGET,
        "runs": runs,
    }


async def _all_loads(stack: Stack, seconds: float) -> list[dict[str, Any]]:
    prepared = requests()
    async with grpc.aio.insecure_channel(stack.target) as channel:
        await Load(channel, prepared).saturate(concurrency=32, seconds=_WARM_UP_S)
        runs = []
        for rate in _RATES:
            load = Load(channel, prepared)
            runs.append(await _watched(stack, load, seconds, rate=rate))
        for concurrency in _CONCURRENCIES:
            load = Load(channel, prepared)
            runs.append(await _watched(stack, load, seconds, concurrency=concurrency))
    return runs


async def _watched(
    stack: Stack, load: Load, seconds: float, *, rate: float = 0.0, concurrency: int = 0
) -> dict[str, Any]:
    machine, parts, own = BusyTime.now(tuple(stack.pids.values())), stack.busy_s(), _own_s()
    if rate:
        elapsed_s = await load.follow(rate=rate, seconds=seconds)
    else:
        elapsed_s = await load.saturate(concurrency=concurrency, seconds=seconds)
    busy = {name: now - parts[name] for name, now in stack.busy_s().items()}
    busy["load"] = _own_s() - own
    return {
        "rate": rate,
        "concurrency": concurrency,
        **figures(load.calls, elapsed_s),
        "cpu_ms_per_job": {
            name: round(1000 * spent_s / max(1, len(load.calls)), 3)
            for name, spent_s in busy.items()
        },
        "rss_bytes": stack.rss_bytes(),
        "others_cores": machine.others_cores(BusyTime.now(tuple(stack.pids.values())), elapsed_s),
    }


def figures(calls: Sequence[Call], elapsed_s: float) -> dict[str, Any]:
    """Return throughput and latencies of the calls that were answered, and how the others ended."""
    answered = [call.latency_s for call in calls if call.code == "OK"]
    parts = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {
        "jobs_per_s": len(answered) / elapsed_s,
        "codes": dict(Counter(call.code for call in calls)),
        "latency_s": {name: percentile(answered, part) for name, part in parts.items()},
    }


def _own_s() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system)
