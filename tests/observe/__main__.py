"""`python -m observe`: real load, real outages, and what a real Prometheus says of them."""

from __future__ import annotations

import asyncio
import datetime
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import arno
import click
from observe.installation import Servers
from observe.run import Observed, observe
from observe.scenarios import SCENARIOS, Scenario
from support.kafka_broker import WAYS_TO_GET_IT, KafkaBroker, kafka_available
from support.prometheus_server import WAYS_TO_GET_IT as WAYS_TO_GET_PROMETHEUS
from support.prometheus_server import prometheus_available
from support.redis_server import RedisServer, redis_executables

_PAGE = """\
# Alerts, observed

Written by `make observe-test`: real gateways and workers (their engine has no model), a real
Kafka and Redis, and for each row a Prometheus of its own with the rules of `deploy/prometheus`.
Calls come for a minute, then it happens, and alerts are watched for {watch_s:.0f} s. No other alert
fires than those of its row. In the first row PromQL equals the ledger of the calls (by code, lane
and task, bytes and time), and every panel for gateways and workers has data.

Version {version}, {day}, {cpu_count} CPUs, load {load:.1f} at the end.

| what happens | calls | alert | after |
| --- | --- | --- | --- |
{rows}
"""


@click.command()
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([one.name for one in SCENARIOS]),
    help="Run these; repeat for several.",
)
@click.option(
    "--watch",
    "watch_s",
    default=390.0,
    show_default=True,
    help="How long to look for alerts after each disturbance, s.",
)
@click.option(
    "--page", type=click.Path(dir_okay=False, path_type=Path), help="Write the result here."
)
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), help="Keep logs in this folder."
)
def main(only: Sequence[str], watch_s: float, page: Path | None, keep: Path | None) -> None:
    """Run every scenario side by side; fail where an alert fires that must not, or does not."""
    if not kafka_available():
        raise click.ClickException(WAYS_TO_GET_IT)
    if not prometheus_available():
        raise click.ClickException(WAYS_TO_GET_PROMETHEUS)
    chosen = [one for one in SCENARIOS if not only or one.name in only]
    with tempfile.TemporaryDirectory() as temporary:
        found = asyncio.run(_observe_all(chosen, keep or Path(temporary), watch_s))
    for one in found:
        click.echo(f"{one.scenario.name:12} {'ok' if not one.faults else 'WRONG'}  {_row(one)}")
        for fault in one.faults:
            click.echo(f"  {fault}")
    if any(one.faults for one in found):
        sys.exit(1)
    if page is not None:
        page.write_text(
            _PAGE.format(
                watch_s=watch_s,
                version=arno.__version__,
                day=datetime.datetime.now(datetime.UTC).date(),
                cpu_count=os.cpu_count(),
                load=os.getloadavg()[0],
                rows="\n".join(map(_row, found)),
            )
        )


async def _observe_all(
    scenarios: Sequence[Scenario], folder: Path, watch_s: float
) -> list[Observed]:
    broker = KafkaBroker(folder / "broker")
    redis = RedisServer(folder / "store", next(iter(redis_executables().values())))
    servers = Servers(broker, redis)
    try:
        redis.start()
        broker.start()
        return await asyncio.gather(
            *(observe(one, servers, folder, watch_s, click.echo) for one in scenarios)
        )
    finally:
        broker.stop()
        redis.stop()


def _row(one: Observed) -> str:
    fires = one.scenario.fires or "none"
    more = one.fired - {one.scenario.fires}
    also = f"; {', '.join(sorted(more))}" if more else ""
    after = "" if one.after_s is None else f"{one.after_s:.0f} s"
    return f"| {one.scenario.what} | {one.call_count} | {fires}{also} | {after} |".replace(
        "  ", " "
    )


if __name__ == "__main__":
    main()
