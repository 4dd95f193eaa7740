"""Measure what a start of the engine costs, from the first import to the end of its warm-up.

Each start is a process of its own. Its processor time depends least on what else the machine does.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from benchmarks.ask import Serving
from benchmarks.machine import BusyTime, describe

logger = logging.getLogger(__name__)

_START: Final = """
import json, resource, sys, time
began_s = time.monotonic()
from arno.engine import EngineSettings, create_engine
engine = create_engine(EngineSettings.model_validate(json.loads(sys.argv[1])))
engine.warm_up()
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "took_s": time.monotonic() - began_s,
    "busy_s": used.ru_utime + used.ru_stime,
    "rss_bytes": used.ru_maxrss * 1024,
}))
"""


@dataclass(frozen=True, slots=True)
class Starts:
    """Starts in several modes, in turn.

    Attributes:
        name: Of the result.
        modes: Number format, and whether the vision encoder is compiled; the first is the
            reference.
        rounds: Starts in each mode; one before them, which compiles and fills the caches of the
            machine, does not count.
    """

    name: str
    modes: tuple[tuple[str, bool], ...] = (
        ("float32", False),
        ("float32", True),
        ("int8", False),
        ("int8", True),
    )
    rounds: int = 3


def measure_starts(work: Starts, model: str, serving: Serving) -> dict[str, Any]:
    """Return the medians of each mode, ready for JSON."""
    machine, began_s, busy = describe(serving.device), time.monotonic(), BusyTime.now()
    found: dict[str, list[dict[str, float]]] = {}
    for number in range(1 + work.rounds):
        for dtype, compiled in work.modes:
            name = f"{dtype}, compiled" if compiled else dtype
            start = _start(serving, dtype, compiled=compiled)
            logger.info("%s: %s: %s", work.name, name, start)
            if number:
                found.setdefault(name, []).append(start)
    return {
        "kind": "starts",
        "name": work.name,
        "model": model,
        "machine": machine,
        "rounds": work.rounds,
        "others_cores": busy.others_cores(BusyTime.now(), time.monotonic() - began_s),
        "modes": {
            name: {key: median(start[key] for start in starts) for key in starts[0]}
            for name, starts in found.items()
        },
    }


def _start(serving: Serving, dtype: str, *, compiled: bool) -> dict[str, float]:
    settings = {
        "model": serving.model,
        "device": serving.device,
        "dtype": dtype,
        "vision_compile": "on" if compiled else "off",
        "allow_untrained": True,
    }
    done = subprocess.run(
        [sys.executable, "-c", _START, json.dumps(settings)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    start: dict[str, float] = json.loads(done.stdout)
    return start
