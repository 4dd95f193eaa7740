"""Measure `arno ingest` between two topics: null engine, real Kafka, real Redis.

Two questions: how many images a second one process carries from a full topic, and how much later a
result is in its topic than a direct call of the gateway would have been answered.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import grpc
import psutil
from kafka import KafkaProducer
from support.kafka_topics import Found, Topics

from benchmarks.calls import Load
from benchmarks.figures import percentile
from benchmarks.machine import BusyTime, describe
from benchmarks.overhead import IMAGE_BYTES, noise_jpeg, requests
from benchmarks.stack import Stack, running_stack
from benchmarks.streams.ingesting import running_ingest

AIMS: Final = {"images_per_s": 300.0, "added_p50_s": 0.015}

_PARTITIONS: Final = 4
_IMAGE_COUNT: Final = 16
_WARM_UP: Final = 300
_RATE: Final = 50.0
_POLL_S: Final = 0.5
_ENDS_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class BridgeLoad:
    """What is measured.

    Attributes:
        images: How many wait in the topic when it is read as fast as it goes.
        latency_s: For how long images come one at a time.
        bus: Arno's own.
        rounds: How often the whole is repeated.
    """

    images: int = 3000
    latency_s: float = 10.0
    bus: Literal["kafka", "redis"] = "kafka"
    rounds: int = 3


def measure_bridge(load: BridgeLoad) -> dict[str, Any]:
    """Return the result of all rounds."""
    machine = describe("cpu")
    with (
        tempfile.TemporaryDirectory() as folder,
        running_stack(Path(folder), bus=load.bus, kafka=True) as stack,
    ):
        topics = Topics(stack.kafka_bootstrap)
        try:
            rounds = [_round(stack, topics, load, number) for number in range(load.rounds)]
        finally:
            topics.close()
    return {
        "name": f"streams-bridge-{load.bus}",
        "kind": "streams-bridge",
        "machine": machine,
        "bus": load.bus,
        "image_bytes": IMAGE_BYTES,
        "images": load.images,
        "rate": _RATE,
        "aims": AIMS,
        "rounds": rounds,
    }


def _round(stack: Stack, topics: Topics, load: BridgeLoad, number: int) -> dict[str, Any]:
    images = [noise_jpeg(IMAGE_BYTES, seed) for seed in range(_IMAGE_COUNT)]
    name = f"round{number}"
    for topic in (f"{name}.in", f"{name}.out", f"{name}.dead"):
        # The broker's own clock says when a result was there.
        kind = "LogAppendTime" if topic.endswith(".out") else "CreateTime"
        topics.create(topic, partitions=_PARTITIONS, **{"message.timestamp.type": kind})
    direct_s = asyncio.run(_ask_directly(stack, load.latency_s))
    topics.write(f"{name}.in", _records(images, _WARM_UP + load.images))
    with _bridge(stack, name) as bridge:
        throughput = _drain(stack, topics, name, bridge, load.images)
        latencies_s = _trickle(topics, name, images, load.latency_s)
    return {
        **throughput,
        "direct_p50_s": percentile(direct_s, 0.5),
        "direct_p99_s": percentile(direct_s, 0.99),
        "bridge_p50_s": percentile(latencies_s, 0.5),
        "bridge_p99_s": percentile(latencies_s, 0.99),
        "added_p50_s": percentile(latencies_s, 0.5) - percentile(direct_s, 0.5),
    }


async def _ask_directly(stack: Stack, seconds: float) -> list[float]:
    """Return the latencies of calls at the rate at which images come one at a time."""
    async with grpc.aio.insecure_channel(stack.target) as channel:
        await Load(channel, requests()).saturate(concurrency=8, seconds=2.0)
        load = Load(channel, requests())
        await load.follow(rate=_RATE, seconds=seconds)
    return [call.latency_s for call in load.calls if call.code == "OK"]


def _records(images: Sequence[bytes], count: int) -> list[dict[str, Any]]:
    return [
        {"value": images[number % len(images)], "key": b"%d" % (number % 64)}
        for number in range(count)
    ]


@contextmanager
def _bridge(stack: Stack, name: str) -> Iterator[psutil.Process]:
    folder = stack.folder / name
    folder.mkdir()
    route = {
        "topic": f"{name}.in",
        "results": f"{name}.out",
        "dead_letters": f"{name}.dead",
        "group": name,
        "tasks": ["CAPTION"],
    }
    with running_ingest(stack, folder, topics=[route]) as process:
        yield process


def _drain(
    stack: Stack, topics: Topics, name: str, bridge: psutil.Process, count: int
) -> dict[str, Any]:
    """Wait until all images are answered; return how fast that was, once it had begun."""
    pids = (*stack.pids.values(), bridge.pid)
    _await(topics, f"{name}.out", _WARM_UP)
    began = topics.size(f"{name}.out")
    machine, parts, at_s = BusyTime.now(pids), _busy_s(stack, bridge), time.monotonic()
    _await(topics, f"{name}.out", _WARM_UP + count)
    elapsed_s = time.monotonic() - at_s
    busy = {part: now - parts[part] for part, now in _busy_s(stack, bridge).items()}
    found = _in_time(topics.read(f"{name}.out"))[began:]
    answered_s = (found[-1].timestamp_ms - found[0].timestamp_ms) / 1000
    return {
        "images_per_s": (len(found) - 1) / answered_s,
        "cpu_ms_per_image": {
            part: round(1000 * spent_s / len(found), 3) for part, spent_s in busy.items()
        },
        "images_per_core_s": len(found) / sum(busy.values()),
        "cores": sum(busy.values()) / elapsed_s,
        "rss_bytes": bridge.memory_info().rss,
        "others_cores": machine.others_cores(BusyTime.now(pids), elapsed_s),
    }


def _busy_s(stack: Stack, bridge: psutil.Process) -> dict[str, float]:
    times = bridge.cpu_times()
    return {**stack.busy_s(), "bridge": float(times.user + times.system)}


def _await(topics: Topics, topic: str, count: int) -> None:
    until_s = time.monotonic() + _ENDS_S
    while topics.size(topic) < count:
        if time.monotonic() > until_s:
            raise RuntimeError(f"{topics.size(topic)} of {count} records in {topic}")
        time.sleep(_POLL_S)


def _in_time(records: Sequence[Found]) -> list[Found]:
    return sorted(records, key=lambda record: record.timestamp_ms)


def _trickle(topics: Topics, name: str, images: Sequence[bytes], seconds: float) -> list[float]:
    """Write images one at a time; return how long each took from its sending to its result."""
    before = topics.size(f"{name}.in")
    sent_at: list[float] = []
    producer = KafkaProducer(bootstrap_servers=topics.bootstrap, linger_ms=0)
    try:
        producer.partitions_for(f"{name}.in")
        began_s = time.monotonic()
        for number in range(int(seconds * _RATE)):
            time.sleep(max(0.0, began_s + number / _RATE - time.monotonic()))
            sent_at.append(time.time())
            headers = [("number", b"%d" % number)]
            producer.send(
                f"{name}.in", images[number % len(images)], headers=headers, key=b"%d" % number
            )
    finally:
        producer.close(10)
    _await(topics, f"{name}.out", before + len(sent_at))
    return [
        record.timestamp_ms / 1000 - sent_at[int(record.header("number"))]
        for record in topics.read(f"{name}.out")
        if "number" in dict(record.headers)
    ]
