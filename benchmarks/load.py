"""Put load on one engine: as much as it takes, or by a schedule that does not wait for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

from benchmarks.ask import Ask
from benchmarks.engines.registry import RunningEngine
from benchmarks.figures import Outcome, Run
from benchmarks.machine import BusyTime, busy_s, tree

_MEMORY_EVERY_S = 0.25


def saturate(engine: RunningEngine, asks: Sequence[Ask], *, concurrency: int) -> Run:
    """Keep so many requests in the engine until all are answered."""
    free = threading.Semaphore(concurrency)
    with _watched(engine) as watch:
        for ask in asks:
            free.acquire()
            watch.send(ask, time.monotonic(), free)
    return watch.run()


def follow(engine: RunningEngine, asks: Sequence[Ask], arrivals_s: Sequence[float]) -> Run:
    """Send each request at its time, whatever the engine does; latency counts from that time."""
    began_s = time.monotonic()
    with _watched(engine) as watch:
        for ask, arrival_s in zip(asks, arrivals_s, strict=True):
            due_s = began_s + arrival_s
            time.sleep(max(0.0, due_s - time.monotonic()))
            watch.send(ask, due_s, None)
    return watch.run()


@dataclass(slots=True)
class _Watch:
    engine: RunningEngine
    began_s: float = field(default_factory=time.monotonic)
    elapsed_s: float = 0.0
    rss_bytes: int = 0
    others_cores: float = 0.0
    busy_s: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list)
    pending: list[Future[tuple[int, ...]]] = field(default_factory=list)

    def send(self, ask: Ask, due_s: float, free: threading.Semaphore | None) -> None:
        def done(future: Future[tuple[int, ...]]) -> None:
            latency_s = time.monotonic() - due_s
            fault = future.exception()
            tokens = () if fault else future.result()
            self.outcomes.append(
                Outcome(ask.ask_id, ask.task, latency_s, tokens, repr(fault) if fault else "")
            )
            if free is not None:
                free.release()

        future = self.engine.submit(ask)
        self.pending.append(future)
        future.add_done_callback(done)

    def run(self) -> Run:
        ordered = tuple(sorted(self.outcomes, key=lambda outcome: outcome.ask_id))
        return Run(ordered, self.elapsed_s, self.rss_bytes, self.others_cores, self.busy_s)


@contextmanager
def _watched(engine: RunningEngine) -> Iterator[_Watch]:
    """Wait for all answers at the end, and note memory and foreign load on the way."""
    busy = BusyTime.now((engine.pid,))
    watch, own_s = _Watch(engine), busy_s(engine.pid)
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            watch.rss_bytes = max(watch.rss_bytes, rss_bytes(engine.pid))
            stop.wait(_MEMORY_EVERY_S)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield watch
        for future in watch.pending:
            future.exception()
        watch.elapsed_s = time.monotonic() - watch.began_s
    finally:
        stop.set()
        looking.join()
    watch.busy_s = busy_s(engine.pid) - own_s
    watch.others_cores = busy.others_cores(BusyTime.now((engine.pid,)), watch.elapsed_s)


def rss_bytes(pid: int) -> int:
    """Return the memory of a process and its children, shared pages counted once a process."""
    total = 0
    for process in tree(pid):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total
