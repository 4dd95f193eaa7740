"""`python -m cluster`: the shipped manifests and KEDA in a real control plane, under real load.

Pods run no containers: kwok says that they are ready, and for each ready worker's pod a real worker
process of a known pace is started here. Gateway, Kafka, Redis and Prometheus are real processes.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import arno
import click
from cluster.control_plane import ControlPlane
from cluster.dry_run import dry_run, overlays
from cluster.fleet import Fleet
from cluster.keda import WAYS_TO_GET_IT, keda_available, start_keda, start_nodes
from cluster.manifests import Shortened, apply_scaled, pace_of
from cluster.timeline import Load as Shape
from cluster.timeline import Moment, draw, faults, figures
from cluster.worker_process import JOBS_PER_S
from observe.installation import Installation, Servers, install
from observe.ledger import Load
from support.eventually import eventually_async
from support.kafka_broker import KafkaBroker, kafka_available
from support.prometheus_server import prometheus_available
from support.redis_server import RedisServer, redis_executables

_WORKERS_MAX = 12
_CALLS_PER_S = 8.0
_IDLE_S = 10.0
_TICK_S = 1.0
_GONE_WITHIN_S = 300.0
_PLOT = "benchmarks/autoscaling.png"

_PAGE = """\
# Autoscaling, observed

Written by `make k8s-test`. The API server, controllers, scheduler and KEDA are the real ones, and
so are Kafka, Redis, Prometheus and the gateway. Nodes are kwok's: pods run no containers. For each
pod of a worker that is ready a real worker process starts; when the pod is deleted, it gets
SIGTERM. A worker ends {jobs_per_s:g} jobs a second.

The manifests are `k8s/base`, `keda-seconds` and the thresholds that `make scaling` writes for such
a worker. Only the number of workers and the way down are other than shipped: 0 to {workers_max}
workers; {stable_s} s until fewer are enough, two leave every {step_s} s, {cooldown_s} s without
jobs until the last one leaves.

Version {version}, {day}, {cpu_count} CPUs, load {load:.1f} at the end.

![Workers, jobs and refusals over time]({plot})

{calls_per_s:g} calls a second came for {lasted_s:.0f} s. That is the work of {needed} workers that
are always busy; there was no worker when the first call came.

| what | figure |
| --- | --- |
| the first worker takes jobs | {figures.first_worker_s:.0f} s after the first call |
| {needed} workers take jobs | {figures.enough_s:.0f} s after the first call |
| the last call is refused | {figures.last_refusal_s:.0f} s after the first call |
| most workers that KEDA asked for | {figures.most} |
| workers taken away and asked for again | {figures.reversals} times |
| no worker is left | {figures.gone_s:.0f} s after the last call |
| calls by code | {calls} |

UNAVAILABLE are calls that would wait longer than their lane allows; the client of this test does
not try them again, and the SDK does. One call of twenty is wrong on purpose (INVALID_ARGUMENT).

Before that, the API server judged every overlay (`kubectl apply --dry-run=server`, in a namespace
with the policy `restricted`) and took all of it: {judged}.
`make k8s-check` does the same with each component alone.
"""


@dataclass(slots=True)
class Observed:
    """What a run has seen.

    Attributes:
        judged: Objects of each overlay that the API server would take.
        moments: The timeline.
        shape: The calls that came.
        codes: How calls ended.
        faults: What is not as it must be, in words.
    """

    judged: Mapping[str, int]
    shape: Shape
    moments: list[Moment] = field(default_factory=list)
    codes: Mapping[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


@click.command()
@click.option("--load-s", default=120.0, show_default=True, help="How long calls come, in seconds.")
@click.option(
    "--docs",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write autoscaling-observed.md and its plot into this folder.",
)
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), help="Keep logs in this folder."
)
def main(load_s: float, docs: Path | None, keep: Path | None) -> None:
    """Scale workers from none to many and back; fail where that does not go as it must."""
    if not (keda_available() and kafka_available() and prometheus_available()):
        raise click.ClickException(f"{WAYS_TO_GET_IT}; Kafka and Prometheus: make tools")
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        seen = asyncio.run(_run(folder, load_s))
        # Where it fails too, into --keep: the picture shows why.
        good = docs is not None and not seen.faults
        draw(seen.moments, seen.shape, docs / _PLOT if good else folder / "autoscaling.png")
    click.echo(f"{figures(seen.moments, seen.shape)}, calls {dict(seen.codes)}")
    for fault in dict.fromkeys(seen.faults):
        click.echo(fault)
    if seen.faults:
        sys.exit(1)
    if docs is not None:
        (docs / "autoscaling-observed.md").write_text(_page(seen))


def _page(seen: Observed) -> str:
    shape, shortened = seen.shape, Shortened()
    return _PAGE.format(
        jobs_per_s=JOBS_PER_S,
        workers_max=_WORKERS_MAX,
        stable_s=shortened.stable_s,
        step_s=shortened.step_s,
        cooldown_s=shortened.cooldown_s,
        version=arno.__version__,
        day=datetime.datetime.now(datetime.UTC).date(),
        cpu_count=os.cpu_count(),
        load=os.getloadavg()[0],
        plot=_PLOT,
        calls_per_s=shape.per_s,
        lasted_s=shape.until_s - shape.from_s,
        needed=shape.needed,
        figures=figures(seen.moments, shape),
        calls=", ".join(f"{count} {code}" for code, count in sorted(seen.codes.items())),
        judged=", ".join(f"`{name}` {count} objects" for name, count in seen.judged.items()),
    )


async def _run(folder: Path, load_s: float) -> Observed:
    broker = KafkaBroker(folder / "broker")
    redis = RedisServer(folder / "store", next(iter(redis_executables().values())))
    installation: Installation | None = None
    try:
        redis.start()
        broker.start()
        # The names in the manifests.
        shared = {"topic_prefix": "arno.jobs", "group": "arno-workers", "partitions": _WORKERS_MAX}
        installation = install(
            folder / "arno",
            Servers(broker, redis),
            gateways=1,
            workers=_WORKERS_MAX,
            engine="cluster.worker_process",
            shared=shared,
            of_workers={"window": pace_of(JOBS_PER_S).window},
        )
        with ControlPlane(folder / "plane") as plane:
            judged, refused = dry_run(plane, overlays())
            assert not refused, refused
            click.echo(f"the API server takes every overlay: {dict(judged)}")
            start_nodes(plane)
            start_keda(plane)
            return await _scale(plane, installation, broker, folder, load_s, judged)
    finally:
        if installation is not None:
            installation.stop()
        broker.stop()
        redis.stop()


async def _scale(
    plane: ControlPlane,
    installation: Installation,
    broker: KafkaBroker,
    folder: Path,
    load_s: float,
    judged: Mapping[str, int],
) -> Observed:
    (gateway,) = installation.gateways.values()
    gateway.launch()
    installation.prometheus.start()

    async def serving() -> bool:
        return gateway.ready

    await eventually_async(serving, timeout_s=60)
    apply_scaled(
        plane,
        folder,
        bootstrap=broker.bootstrap,
        prometheus=f"http://127.0.0.1:{installation.prometheus.port}",
        pace=pace_of(JOBS_PER_S),
        workers_max=_WORKERS_MAX,
        shortened=Shortened(),
    )
    fleet = Fleet(plane, installation.workers)
    await _settled(plane, fleet)
    seen = Observed(judged, Shape(_IDLE_S, _IDLE_S + load_s, _CALLS_PER_S, JOBS_PER_S))
    watch = Watch(fleet, installation, seen)
    await watch.until(_IDLE_S)
    load = Load(installation.addresses, rate_per_s=_CALLS_PER_S, timeout_s=120.0)
    watch.codes = load.ledger.codes
    async with load:
        await watch.until(_IDLE_S + load_s)
        ending = asyncio.ensure_future(load.end())
        await watch.until(_IDLE_S + load_s + _GONE_WITHIN_S, unless_gone=True)
        await ending
    seen.codes = dict(load.ledger.codes)
    seen.faults += faults(seen.moments, seen.shape)
    if others := load.ledger.codes.keys() - {"OK", "UNAVAILABLE", "INVALID_ARGUMENT"}:
        seen.faults.append(f"calls ended with {sorted(others)}")
    return seen


async def _settled(plane: ControlPlane, fleet: Fleet) -> None:
    """Return when KEDA has taken the workers over, and has taken away the one of the Deployment."""

    async def none_left() -> bool:
        fleet.follow()
        return fleet.wanted_count() == 0 and fleet.pod_count == 0

    await eventually_async(none_left, timeout_s=180, interval_s=0.5)
    for name in ("scaledobject/worker", "pods"):
        click.echo(plane.kubectl("--namespace", "arno", "get", name))


class Watch:
    """Looks at the cluster every second, and lets the fleet follow it."""

    def __init__(self, fleet: Fleet, installation: Installation, seen: Observed) -> None:
        """Begin the timeline."""
        self._fleet = fleet
        self._prometheus = installation.prometheus
        self._seen = seen
        self._began_s = time.monotonic()
        self.codes: Mapping[str, int] = {}

    async def until(self, end_s: float, *, unless_gone: bool = False) -> None:
        """Watch until a moment of the timeline, or until no worker is left."""
        while (at_s := time.monotonic() - self._began_s) < end_s:
            self._fleet.follow()
            self._seen.faults += self._fleet.faults()
            waiting = await asyncio.to_thread(
                self._prometheus.query, "sum(arno_gateway_backlog_records)"
            )
            now = Moment(
                at_s=at_s,
                wanted=self._fleet.wanted_count(),
                pods=self._fleet.pod_count,
                working=self._fleet.working_count,
                waiting=waiting[0][1] if waiting else 0.0,
                answered=self.codes.get("OK", 0),
                refused=self.codes.get("UNAVAILABLE", 0),
            )
            self._seen.moments.append(now)
            if len(self._seen.moments) % 15 == 0:
                click.echo(str(now))
            if unless_gone and not now.pods:
                return
            await asyncio.sleep(_TICK_S)


if __name__ == "__main__":
    main()
