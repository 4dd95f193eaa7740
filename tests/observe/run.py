"""Run a scenario from the first call to the last look at the alerts."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from observe.installation import Installation, Servers, install
from observe.ledger import Ledger, Load
from observe.scenarios import Scenario
from support.prometheus_server import PrometheusServer
from support.redis_server import RedisServer

_ROOT = Path(__file__).parents[2]
_STARTS_S = 240.0
# Prometheus must have seen it well, for rates of a minute.
_WELL_S = 60.0
_TICK_S = 1.0
# Two scrapes, and a rule's evaluation.
_SEEN_S = 12.0
# No calls are streams, and these processes are not run here.
_UNSEEN_BOARDS = frozenset({"video"})
_UNSEEN_PROCESSES = ("arno_web_", "arno_ingest_", "arno_notify_")
# Answers of this engine are never cut, and where no job waits no wait is predicted.
_UNSEEN_PANELS = frozenset({"Answers that were cut", "Backlog in seconds of one worker"})


@dataclass(slots=True)
class Observed:
    """What came of a scenario.

    Attributes:
        scenario: What was done.
        fired: All alerts that have fired.
        after_s: From the deed to the alert; None where it did not fire.
        call_count: Calls that have ended.
        faults: What is not as it must be, in words; empty where all is well.
    """

    scenario: Scenario
    fired: set[str] = field(default_factory=set)
    after_s: float | None = None
    call_count: int = 0
    faults: list[str] = field(default_factory=list)


async def observe(
    scenario: Scenario,
    servers: Servers,
    folder: Path,
    watch_s: float,
    say: Callable[[str], None],
) -> Observed:
    """Start an installation, disturb it, and compare what Prometheus says with what must be.

    Args:
        scenario: What is done and what must fire.
        servers: The broker and the store that all share.
        folder: Logs land in a folder of the scenario's name in it.
        watch_s: How long to look for alerts when it has happened.
        say: Gets lines of progress.
    """
    own = RedisServer(folder / "redis", servers.redis.executable) if scenario.own_redis else None
    installation = install(
        folder / scenario.name,
        servers,
        gateways=scenario.gateways,
        workers=scenario.workers,
        redis=own,
    )
    observed = Observed(scenario)
    try:
        installation.start()
        await _serving(installation)
        load = Load(
            installation.addresses, rate_per_s=scenario.rate_per_s, timeout_s=scenario.timeout_s
        )
        async with load:
            await asyncio.sleep(_WELL_S)
            if early := await asyncio.to_thread(installation.prometheus.fired):
                observed.faults.append(f"fired while all was well: {sorted(early)}")
            await _disturb(observed, installation, load, watch_s, say)
            await load.end()
            observed.call_count = load.ledger.codes.total()
            if not scenario.fires:
                await asyncio.sleep(_SEEN_S)
                observed.faults += await asyncio.to_thread(
                    unequal, installation.prometheus, load.ledger
                )
                observed.faults += await asyncio.to_thread(empty_panels, installation.prometheus)
    finally:
        installation.stop()
        if own is not None:
            own.stop()
    return observed


async def _serving(installation: Installation) -> None:
    end_s = time.monotonic() + _STARTS_S
    parts = (*installation.gateways.values(), *installation.workers)
    while not all(part.ready for part in parts):
        if time.monotonic() > end_s:
            raise AssertionError(f"not started: {[p.log.name for p in parts if not p.ready]}")
        await asyncio.sleep(0.2)
    installation.prometheus.await_ready()


async def _disturb(
    observed: Observed,
    installation: Installation,
    load: Load,
    watch_s: float,
    say: Callable[[str], None],
) -> None:
    scenario, prometheus = observed.scenario, installation.prometheus
    deed = asyncio.ensure_future(scenario.act(installation, load))
    # The watch begins when it has happened: it takes minutes until a job is given up.
    since_s: float | None = None
    while since_s is None or time.monotonic() - since_s < watch_s:
        if scenario.keeps_workers:
            installation.keep_workers()
        if deed.done() and since_s is None:
            deed.result()
            since_s = time.monotonic()
        firing = await asyncio.to_thread(prometheus.firing)
        if scenario.fires in firing and observed.after_s is None:
            now_s = time.monotonic()
            observed.after_s = now_s - (since_s or now_s)
            say(f"{scenario.name}: {scenario.fires} after {observed.after_s:.0f} s")
        await asyncio.sleep(_TICK_S)
    observed.fired = await asyncio.to_thread(prometheus.fired)
    _judge_alerts(observed)


def _judge_alerts(observed: Observed) -> None:
    scenario = observed.scenario
    wanted = {scenario.fires, *scenario.fires_too} - {""}
    if missing := wanted - observed.fired:
        observed.faults.append(f"did not fire: {sorted(missing)}")
    elif observed.after_s is not None and observed.after_s > scenario.within_s:
        observed.faults.append(
            f"{scenario.fires} fired after {observed.after_s:.0f} s, allowed: {scenario.within_s:g}"
        )
    if more := observed.fired - wanted:
        observed.faults.append(f"fired as well: {sorted(more)}")


def unequal(prometheus: PrometheusServer, ledger: Ledger) -> list[str]:
    """Return where PromQL and the ledger differ, after the last call has been scraped."""
    wanted: dict[str, dict[str, float]] = {
        'sum by (code) (arno_gateway_requests_total{method="Infer"})': dict(ledger.codes),
        'sum by (lane) (arno_gateway_jobs_total{outcome="served"})': dict(ledger.served),
        "sum by (lane) (arno_gateway_job_seconds_count)": dict(ledger.served),
        'sum by (task) (arno_worker_tasks_total{outcome="answer"})': dict(ledger.tasks),
        "sum by (lane) (arno_worker_queue_seconds_count)": dict(ledger.served),
        'sum(arno_worker_jobs_total{state="SUCCEEDED"})': {"": ledger.served.total()},
        'sum(arno_gateway_request_seconds_count{method="Infer"})': {"": ledger.codes.total()},
        "sum(arno_gateway_image_bytes_sum)": {"": ledger.image_bytes},
        "sum(arno_worker_dead_letters_total)": {"": 0},
        "sum(arno_gateway_refusals_total)": {"": 0},
        'sum(arno_gateway_jobs_total{outcome="failed"})': {"": 0},
        "sum(arno_gateway_jobs_in_flight)": {"": 0},
        "max(arno_gateway_backlog_records)": {"": 0},
    }
    faults = []
    for expression, counts in wanted.items():
        found = {
            next(iter(labels.values()), ""): value
            for labels, value in prometheus.query(f"{expression} != 0 or {expression}")
        }
        if found != counts:
            faults.append(f"{expression}: Prometheus says {found}, the ledger {counts}")
    ((_, seconds),) = prometheus.query('sum(arno_gateway_request_seconds_sum{method="Infer"})')
    # What callers measure holds what the gateway measures, and the way there and back.
    if not 0.2 * ledger.took_s < seconds <= ledger.took_s:
        faults.append(f"calls took {ledger.took_s:.1f} s, and {seconds:.1f} s in the gateways")
    return faults


def empty_panels(prometheus: PrometheusServer) -> list[str]:
    """Return the questions of the dashboards to which Prometheus has no answer."""
    faults = []
    for path in sorted((_ROOT / "deploy/grafana/dashboards").glob("*.json")):
        panels = [] if path.stem in _UNSEEN_BOARDS else json.loads(path.read_text())["panels"]
        for panel in panels:
            asked = [
                one["expr"].replace("$__rate_interval", "1m")
                for one in panel["targets"]
                if not any(process in one["expr"] for process in _UNSEEN_PROCESSES)
            ]
            seen = panel["title"] not in _UNSEEN_PANELS and asked
            if seen and not any(map(prometheus.query, asked)):
                faults.append(f"the panel {path.stem}/{panel['title']} is empty")
    return faults
