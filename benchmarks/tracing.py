"""Measure what tracing costs a job where no trace is sent.

python -m benchmarks.tracing

One job's calls of `arno.ops.tracing`, as gateway and worker make them, on one thread of this
process; compared with the CPU time that gateway and worker take for a job in the newest run of the
overhead benchmark (`benchmarks/results/overhead.json`). `ids` is what ties logs together: the trace
id from the caller's header to the worker. `stages` is what traces add to it: the look whether each
stage and each histogram is to tell of the trace. The last line of docs/traces.md is written here.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from arno.ops import tracing
from opentelemetry.trace import SpanKind

_JOBS: Final = 2_000
_ROUNDS: Final = 15
_RATE: Final = 100.0
_HERE: Final = Path(__file__).resolve().parent
_PAGE: Final = _HERE.parent / "docs" / "traces.md"
_BEGINS: Final = "Measured by `python -m benchmarks.tracing`: "
_HEADERS: Final = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}


def _job(*, stages: bool) -> None:
    """Do what one job of one task does."""
    with tracing.span("gateway Infer", kind=SpanKind.SERVER, carrier=_HEADERS) as call:
        if stages:
            tracing.exemplar(call)
            for name in ("receive", "admit", "publish"):
                with tracing.stage(name):
                    pass
            tracing.exemplar()
        headers = tracing.trace_headers()
    job = tracing.start_span("arno.job", kind=SpanKind.CONSUMER, carrier=headers)
    job.set_attributes({"arno.job_id": "1", "arno.channel": "interactive"})
    if stages:
        for name in ("queue", "prepare", "encode", "decode", "store"):
            tracing.past_stage(job, name, took_s=0.001)
        tracing.exemplar(job)
    job.end()


def _us_a_job(work: Callable[[], None]) -> float:
    """Return the CPU time of one call in microseconds: the least of some rounds."""
    rounds = []
    for _ in range(_ROUNDS):
        started_s = time.thread_time()
        for _ in range(_JOBS):
            work()
        rounds.append((time.thread_time() - started_s) / _JOBS)
    return 1e6 * min(rounds)


def main() -> None:
    """Measure and write the figures."""
    for variable in [name for name in os.environ if name.startswith("OTEL_")]:
        del os.environ[variable]
    tracing.configure_tracing("benchmark")
    ids_us = _us_a_job(lambda: _job(stages=False))
    both_us = _us_a_job(lambda: _job(stages=True))
    overhead = json.loads((_HERE / "results/overhead.json").read_text())
    job_us = statistics.median(
        1e3 * (run["cpu_ms_per_job"]["gateway"] + run["cpu_ms_per_job"]["worker"])
        for run in overhead["runs"]
        if run["rate"] == _RATE
    )
    stages_us = both_us - ids_us
    said = (
        f"{_BEGINS}of the {job_us / 1e3:.1f} ms of CPU time that gateway and worker take for a "
        f"job, the ids take {ids_us:.0f} us ({ids_us / job_us:.2%}), and stages and exemplars that "
        f"tell of no trace {stages_us:.0f} us ({stages_us / job_us:.2%}); "
        f"load {os.getloadavg()[0]:.0f}."
    )
    kept = [line for line in _PAGE.read_text().splitlines() if not line.startswith(_BEGINS)]
    _PAGE.write_text("\n".join([*kept, said]) + "\n")
    print(said)


if __name__ == "__main__":
    main()
