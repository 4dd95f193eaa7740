"""Watch the memory of all processes while streams of every kind run for an hour.

Everything is slow, so that it can run beside other work; what could grow is what happens again and
again: frames that a model twenty times slower than its camera cannot answer, a camera that dies and
returns, one that never answers, records that are garbage, pages that are fetched, events of jobs.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from arno.ops.ports import free_port
from kafka import KafkaProducer
from support import tied_process
from support.kafka_topics import Topics
from support.rtsp_server import WAYS_TO_GET_IT as RTSP_IS_MISSING
from support.rtsp_server import RtspServer, rtsp_available

from benchmarks.machine import BusyTime, busy_s, describe
from benchmarks.overhead import IMAGE_BYTES, noise_jpeg
from benchmarks.stack import Stack, running_stack
from benchmarks.streams.ingesting import lines_of, order_of, running_ingest, when_answered
from benchmarks.streams.scenes import Film, alone, crossing
from benchmarks.streams.slow_worker import ANSWER_S, SLOW_TASKS

logger = logging.getLogger(__name__)

_RATE: Final = 10
_POLICIES: Final = ("latest", "adaptive", "all")
"""Each with a model that answers a frame in the time of twenty."""
SLOWER: Final = _RATE * ANSWER_S

_IMAGES_PER_S: Final = 2.0
_GARBAGE_EVERY: Final = 20
_CAMERA_DIES_S: Final = 300.0
_VISIT_S: Final = 60.0
_SETTLES_S: Final = 300.0
_SPARE_S: Final = 600.0
_TICK_S: Final = 0.5
_WAIT_S: Final = 10.0
_SHORT_LIVED: Final = {"retention.ms": "300000", "segment.ms": "60000"}
_PARTS: Final = ("ingest", "gateway", "worker", "notify")
"""Arno's; Redis keeps results for a time, and Kafka is not ours."""


@dataclass(frozen=True, slots=True)
class MemoryLoad:
    """How long, and how often memory is looked at.

    Attributes:
        minutes: From the moment at which every source is answered.
        every_s: Between two looks.
        name: Of one run of several that are kept.
        note: Says in the page what was measured, where it is not the present state.
    """

    minutes: float = 60.0
    every_s: float = 15.0
    name: str = ""
    note: str = ""


def measure_memory(load: MemoryLoad) -> Iterator[dict[str, Any]]:
    """Yield the result once a minute, and at the end; Ctrl-C ends it with what it has.

    The last one also says what became of frames and images.
    """
    if not rtsp_available():
        sys.exit(RTSP_IS_MISSING)
    machine = describe("cpu")
    with tempfile.TemporaryDirectory() as name, ExitStack() as opened:
        folder = Path(name)
        stack = opened.enter_context(
            running_stack(
                folder / "stack",
                bus="redis",
                kafka=True,
                worker_module="benchmarks.streams.slow_worker",
            )
        )
        camera = RtspServer(folder)
        opened.callback(camera.stop)
        camera.start()
        feed = opened.enter_context(_feeding(stack))
        notify = opened.enter_context(_notify(stack))
        lines = folder / "lines"
        lines.mkdir()
        watch = _Watch(load, stack, {"notify": notify}, camera, feed)
        sources = _sources(load, folder, camera)
        with running_ingest(
            stack,
            lines,
            sources=sources,
            topics=[_ROUTE],
            metrics_port=watch.port,
            preview=True,
        ) as ingest:
            when_answered(lines, [name for name in sources if name != "away"], ingest)
            watch.processes["ingest"] = ingest
            for found in watch.run():
                yield _result(load, machine, **found)
        yield _result(
            load,
            machine,
            **found,
            sources={name: order_of(lines_of(lines, name)) for name in sources if name != "away"},
            topics={name: feed.topics.size(name) for name in _TOPICS},
        )


_TOPICS: Final = ("photos", "photos.results", "photos.dead", "gate.seen", "arno.results")
_ROUTE: Final = {
    "topic": "photos",
    "results": "photos.results",
    "dead_letters": "photos.dead",
    "tasks": ["OD"],
}


def _sources(load: MemoryLoad, folder: Path, camera: RtspServer) -> dict[str, dict[str, Any]]:
    # Longer than the measurement, so that none ends before it.
    seconds = 60 * load.minutes + _SPARE_S
    file = crossing().write(folder / "file.mp4", seconds=seconds)
    hd = Film(crossing().walkers, size_px=(1280, 720), rate=_RATE, key_every=_RATE)
    slow = alone("cat").write(folder / "slow.mp4", seconds=seconds)
    return {
        "gate": {
            "source": str(file),
            "fps": 2,
            "track": True,
            "lines": {"door": [160, 0, 160, 320]},
            "topic": "gate.seen",
        },
        "hd": {
            "source": str(hd.write(folder / "hd.mp4", seconds=seconds)),
            "fps": 1,
            "policy": "adaptive",
            "hold_bits": 0,
            "video": str(folder / "seen.mp4"),
        },
        "camera": {"source": camera.url, "fps": 2},
        "away": {"source": "rtsp://127.0.0.1:1/away", "fps": 1},
        **{
            f"slow_{policy}": {"source": str(slow), "policy": policy, "tasks": [task.value]}
            for policy, task in zip(_POLICIES, SLOW_TASKS, strict=True)
        },
    }


class _Feed:
    """Writes images to the topic, some of them garbage."""

    def __init__(self, topics: Topics) -> None:
        self.topics = topics
        self._producer = KafkaProducer(bootstrap_servers=topics.bootstrap)
        self._images = [noise_jpeg(IMAGE_BYTES, seed) for seed in range(8)]
        self._sent = 0

    def until(self, elapsed_s: float) -> None:
        """Send what is due by a moment."""
        while self._sent < elapsed_s * _IMAGES_PER_S:
            garbage = self._sent % _GARBAGE_EVERY == _GARBAGE_EVERY - 1
            image = b"no image" if garbage else self._images[self._sent % len(self._images)]
            self._producer.send("photos", image, key=b"%d" % (self._sent % 5))
            self._sent += 1

    def close(self) -> None:
        self._producer.close(10)
        self.topics.close()


@contextmanager
def _feeding(stack: Stack) -> Iterator[_Feed]:
    topics = Topics(stack.kafka_bootstrap)
    for name in _TOPICS:
        topics.create(name, partitions=4, **_SHORT_LIVED)
    feed = _Feed(topics)
    try:
        yield feed
    finally:
        feed.close()


@contextmanager
def _notify(stack: Stack) -> Iterator[psutil.Process]:
    config = stack.folder / "events.yaml"
    settings = {
        "redis_url": stack.redis_url,
        "kafka_bootstrap": stack.kafka_bootstrap,
        "metrics_port": 0,
        "subscriptions": [{"name": "all", "topic": "arno.results"}],
    }
    # JSON is YAML.
    config.write_text(json.dumps(settings))
    child = tied_process.start_tied(
        [sys.executable, "-m", "arno.cli", "notify", "--config", config],
        log=stack.folder / "notify.log",
    )
    try:
        yield psutil.Process(child.pid)
    finally:
        tied_process.stop(child, timeout_s=_WAIT_S)


class _Watch:
    """Feeds, disturbs, and looks at the memory of everything."""

    def __init__(
        self,
        load: MemoryLoad,
        stack: Stack,
        processes: dict[str, psutil.Process],
        camera: RtspServer,
        feed: _Feed,
    ) -> None:
        self.processes = processes
        self.port = free_port()
        self._load = load
        self._stack = stack
        self._camera = camera
        self._feed = feed
        self._samples: list[dict[str, Any]] = []
        self._deaths = 0
        self._visits = 0
        self._began_s = 0.0
        self._before: tuple[BusyTime, dict[str, float]] | None = None

    def run(self) -> Iterator[dict[str, Any]]:
        """Watch for as long as was asked; yield what is known, once a minute."""
        self._began_s = time.monotonic()
        self._before = self._busy()
        try:
            while (elapsed_s := self._elapsed_s()) <= 60 * self._load.minutes:
                self._feed.until(elapsed_s)
                if elapsed_s >= len(self._samples) * self._load.every_s:
                    self._samples.append({"at_s": round(elapsed_s, 1), **self._rss_bytes()})
                if elapsed_s >= (self._deaths + 1) * _CAMERA_DIES_S:
                    self._deaths += 1
                    self._camera.kill()
                    self._camera.start()
                if elapsed_s >= self._visits * _VISIT_S:
                    self._visits += 1
                    self._visit()
                    logger.info("%s", self._progress(elapsed_s))
                    yield self._found()
                time.sleep(_TICK_S)
        except KeyboardInterrupt:
            logger.info("interrupted: what was seen until now is kept")
        yield self._found()

    def _found(self) -> dict[str, Any]:
        """Return what is known now."""
        assert self._before is not None
        (machine, before), (machine_now, now) = self._before, self._busy()
        elapsed_s = self._elapsed_s()
        return {
            "seconds": round(elapsed_s),
            "samples": self._samples,
            "parts": {part: growth(self._samples, part) for part in (*_PARTS, "redis")},
            "cores": {part: round((now[part] - before[part]) / elapsed_s, 3) for part in now},
            "others_cores": machine.others_cores(machine_now, elapsed_s),
            "camera_deaths": self._deaths,
        }

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began_s

    def _rss_bytes(self) -> dict[str, int]:
        own = {name: one.memory_info().rss for name, one in self.processes.items()}
        return {**self._stack.rss_bytes(), **own}

    def _busy(self) -> tuple[BusyTime, dict[str, float]]:
        pids = {**self._stack.pids, **{name: one.pid for name, one in self.processes.items()}}
        # All are children of this process; the camera changes.
        return BusyTime.now(), {name: busy_s(pid) for name, pid in pids.items()}

    def _visit(self) -> None:
        """Fetch what a Prometheus, a probe and a viewer fetch."""
        for page in ("metrics", "readyz"):
            # Never ready: one camera is away.
            with contextlib.suppress(urllib.error.HTTPError):
                self._get(page, -1)
        self._get("preview/hd", 1000)

    def _get(self, page: str, count: int) -> None:
        url = f"http://127.0.0.1:{self.port}/{page}"
        with urllib.request.urlopen(url, timeout=_WAIT_S) as answer:
            answer.read(count)

    def _progress(self, elapsed_s: float) -> str:
        last = self._samples[-1]
        memory = ", ".join(f"{part} {last[part] / 1e6:.1f}" for part in (*_PARTS, "redis"))
        return f"{elapsed_s / 60:.0f} of {self._load.minutes:g} minutes; MB: {memory}"


def growth(samples: Sequence[Mapping[str, float]], part: str) -> dict[str, float]:
    """Return the memory of a part once caches are filled, at the end, at most, and its slope."""
    settles_s = min(_SETTLES_S, samples[-1]["at_s"] / 2)
    settled = [one for one in samples if one["at_s"] >= settles_s]
    slope = 0.0
    if len(settled) > 1:
        hours = [one["at_s"] / 3600 for one in settled]
        slope = float(np.polyfit(hours, [one[part] for one in settled], 1)[0])
    return {
        "settled_at_s": settled[0]["at_s"],
        "settled_bytes": settled[0][part],
        "end_bytes": settled[-1][part],
        "peak_bytes": max(one[part] for one in samples),
        "bytes_per_hour": round(slope),
    }


def _result(load: MemoryLoad, machine: Mapping[str, Any], **found: Any) -> dict[str, Any]:
    return {
        "name": f"streams-memory{'-' * bool(load.name)}{load.name}",
        "kind": "streams-memory",
        "machine": machine,
        "minutes": load.minutes,
        "note": load.note,
        "slower": SLOWER,
        **found,
    }
