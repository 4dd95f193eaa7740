"""Run `arno ingest` for a measurement, and read the lines that it writes about its sources."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import psutil
from support import tied_process

from benchmarks.stack import Stack
from benchmarks.streams.truth import Line

_LEAVES_S: Final = 120.0
_BEGINS_S: Final = 120.0
_TICK_S: Final = 0.1


@contextmanager
def running_ingest(
    stack: Stack,
    folder: Path,
    *,
    sources: Mapping[str, Mapping[str, Any]] | None = None,
    topics: Sequence[Mapping[str, Any]] = (),
    **settings: Any,
) -> Iterator[psutil.Process]:
    """Run it beside a stack, and stop it in order.

    Args:
        stack: With the gateway, and with Kafka where there are topics.
        folder: Empty; gets ``ingest.log`` and the lines of each source as ``NAME.jsonl``.
        sources: By name; asked ``OD`` and read as they play unless they say otherwise.
        topics: Routes.
        settings: Of the process.
    """
    config = folder / "streams.yaml"
    named = [
        {
            "name": name,
            "events": str(folder / f"{name}.jsonl"),
            "tasks": ["OD"],
            "realtime": True,
            **one,
        }
        for name, one in (sources or {}).items()
    ]
    given = {"address": stack.target, "metrics_port": 0, **settings}
    given |= {"kafka_bootstrap": stack.kafka_bootstrap} if stack.kafka_bootstrap else {}
    # JSON is YAML.
    config.write_text(json.dumps({**given, "sources": named, "topics": list(topics)}))
    child = tied_process.start_tied(
        [sys.executable, "-m", "arno.cli", "ingest", "--config", config], log=folder / "ingest.log"
    )
    try:
        yield psutil.Process(child.pid)
    finally:
        tied_process.stop(child, timeout_s=_LEAVES_S)


def when_answered(folder: Path, names: Iterable[str], process: psutil.Process) -> float:
    """Return the moment at which every source has its first line.

    Raises:
        RuntimeError: It took too long, or the process has ended; says the end of its log.
    """
    until_s = time.monotonic() + _BEGINS_S
    while not all((folder / f"{name}.jsonl").exists() for name in names):
        if time.monotonic() > until_s or not process.is_running():
            raise RuntimeError((folder / "ingest.log").read_text()[-2000:])
        time.sleep(_TICK_S)
    return time.monotonic()


def lines_of(folder: Path, name: str) -> list[Line]:
    """Return the lines of a source."""
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def answered(lines: Sequence[Line]) -> list[Line]:
    """Return those of answered frames."""
    return [line for line in lines if "results" in line]


def order_of(lines: Sequence[Line]) -> dict[str, int]:
    """Return the counts of one stream's lines, and how many are missing or out of order."""
    steps = [after["sequence"] - before["sequence"] for before, after in pairwise(lines)]
    times = [after["timestamp_ms"] - before["timestamp_ms"] for before, after in pairwise(lines)]
    return {
        "frames": len(lines),
        "answered": len(answered(lines)),
        "dropped": sum("dropped" in line for line in lines),
        "failed": sum("error" in line for line in lines),
        "missing": sum(step - 1 for step in steps if step > 1),
        "out_of_order": sum(step < 1 for step in steps) + sum(step <= 0 for step in times),
    }
