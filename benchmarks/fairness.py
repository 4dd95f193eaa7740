"""Measure what a flood does to its neighbours: real Kafka, Redis, gateway and worker.

The engine is the null engine at a model's pace (`paced_worker`), so that the engine is what is
short, as it is in life. Two floods, each of thousands of submitted jobs: of the batch lane against
people who wait, and of one tenant against another on the same lane.
"""

from __future__ import annotations

import asyncio
import tempfile
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import grpc
from arno.api.v1 import job_pb2, types_pb2, vision_pb2
from arno.gateway.access.api_key import ApiKey, new_key
from arno.gateway.access.key_file import KeyEntry, KeyFile

from benchmarks.calls import Load
from benchmarks.machine import describe
from benchmarks.overhead import figures, noise_jpeg
from benchmarks.paced_worker import SLOT_COUNT, STEP_COUNT, STEP_S
from benchmarks.stack import Stack, running_stack

BUDGET: Final = {"p95_ratio": 1.5, "share_error": 0.2}

_CAPACITY: Final = SLOT_COUNT / (STEP_COUNT * STEP_S)
_PEOPLE_RATE: Final = 0.25 * _CAPACITY
_IMAGE_BYTES: Final = 20_000
_TENANTS: Final = ("people", "night")
_SUBMIT: Final = "/arno.api.v1.JobService/SubmitJob"
_LINE: Final = 40
"""Calls that a tenant keeps open who always has work waiting."""


def measure_fairness(*, seconds: float) -> dict[str, Any]:
    """Return the result of both floods, each of which is watched for so long."""
    machine = describe("cpu")
    keys = {tenant: new_key() for tenant in _TENANTS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keys_file = folder / "keys.json"
        keys_file.write_text(key_file(keys).model_dump_json())
        keys_file.chmod(0o600)
        with running_stack(
            folder, gateway={"keys_file": keys_file}, worker_module="benchmarks.paced_worker"
        ) as stack:
            found = asyncio.run(_floods(stack, keys, seconds))
    return {"name": "fairness", "kind": "fairness", "machine": machine, "budget": BUDGET, **found}


def key_file(keys: Mapping[str, ApiKey]) -> KeyFile:
    """Return the file with a key of each tenant."""
    now = datetime.now(UTC)
    return KeyFile(
        version=1,
        keys=tuple(
            KeyEntry(id=key.id, tenant=tenant, sha256=key.sha256, created_at=now)
            for tenant, key in keys.items()
        ),
    )


async def _floods(stack: Stack, keys: dict[str, ApiKey], seconds: float) -> dict[str, Any]:
    async with grpc.aio.insecure_channel(stack.target) as channel:
        site = _Site(channel, keys)
        await site.people().follow(rate=_PEOPLE_RATE, seconds=3.0)
        alone = site.people()
        alone_s = await alone.follow(rate=_PEOPLE_RATE, seconds=seconds)
        # Enough to outlast both measurements.
        flood_count = int(_CAPACITY * (2 * seconds + 20))
        await site.submit_flood(flood_count)
        crowded = site.people()
        crowded_s = await crowded.follow(rate=_PEOPLE_RATE, seconds=seconds)
        share = await _share(stack, site.people(lane=types_pb2.LANE_BATCH), seconds)
    before, after = figures(alone.calls, alone_s), figures(crowded.calls, crowded_s)
    return {
        "flood_jobs": flood_count,
        "alone": before,
        "during_flood_on_batch": after,
        "p95_ratio": after["latency_s"]["p95"] / before["latency_s"]["p95"],
        "second_tenant_share": share,
    }


async def _share(stack: Stack, load: Load, seconds: float) -> float:
    """Return the part of all ended jobs that are the load's, while both always have work waiting.

    So the first moments do not count, in which the flood has the places that it took while it was
    alone, nor the last ones, in which the load asks for no more.
    """
    asking = asyncio.create_task(load.saturate(concurrency=_LINE, seconds=seconds + 2.0))
    await asyncio.sleep(2.0)
    before, own_before = await _ended_jobs(stack), len(load.calls)
    await asyncio.sleep(seconds)
    after, own_after = await _ended_jobs(stack), len(load.calls)
    await asking
    return (own_after - own_before) / (after - before)


async def _ended_jobs(stack: Stack) -> float:
    def read() -> str:
        with urllib.request.urlopen(f"{stack.metrics_urls['worker']}/metrics") as page:  # noqa: S310
            return str(page.read(), "utf-8")

    lines = (await asyncio.to_thread(read)).splitlines()
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in lines
        if line.startswith("arno_worker_jobs_total{")
    )


class _Site:
    """Who calls, with which key."""

    def __init__(self, channel: grpc.aio.Channel, keys: dict[str, ApiKey]) -> None:
        self._channel = channel
        self._keys = keys
        self._image = types_pb2.Image(content=noise_jpeg(_IMAGE_BYTES, 0))
        self._task = types_pb2.TaskSpec(task=types_pb2.TASK_CAPTION)

    def people(self, lane: types_pb2.Lane.ValueType = types_pb2.LANE_INTERACTIVE) -> Load:
        """Return calls of the tenant that is flooded."""
        request = vision_pb2.InferRequest(image=self._image, tasks=[self._task], lane=lane)
        return Load(self._channel, [request.SerializeToString()], metadata=self._key("people"))

    async def submit_flood(self, count: int) -> None:
        """Put a night's work on the batch lane."""
        request = job_pb2.SubmitJobRequest(image=self._image, tasks=[self._task])
        content, numbers = request.SerializeToString(), iter(range(count))

        async def submit() -> None:
            for _ in numbers:
                call: Any = self._channel.unary_unary(_SUBMIT)
                await call(content, timeout=30, metadata=self._key("night"))

        await asyncio.gather(*(submit() for _ in range(16)))

    def _key(self, tenant: str) -> tuple[tuple[str, str], ...]:
        return (("x-api-key", self._keys[tenant].text),)
