"""`python -m observe`: real load, real outages, and what a real Prometheus says of them."""

from __future__ import annotations

import asyncio
import datetime
import json
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
Calls come for a minute, then it happens, and alerts are watched for minutes more. No other alert
fires than those of its row, and "after" is the time from the deed to the first of them. In the
first row PromQL equals the ledger of the calls (by code, lane and task, bytes and time), and every
panel for gateways and workers has data.

Version {version}, {cpu_count} CPUs; "load" is that of the machine at the end of a row.

| what happens | calls | alerts | after | watched | day | load |
| --- | --- | --- | --- | --- | --- | --- |
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
    "--results",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep the newest result of each scenario here; one of them may run alone.",
)
@click.option(
    "--page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the results here, once there is one of each scenario.",
)
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), help="Keep logs in this folder."
)
def main(
    only: Sequence[str],
    watch_s: float,
    results: Path | None,
    page: Path | None,
    keep: Path | None,
) -> None:
    """Run every scenario side by side; fail where an alert fires that must not, or does not."""
    if not kafka_available():
        raise click.ClickException(WAYS_TO_GET_IT)
    if not prometheus_available():
        raise click.ClickException(WAYS_TO_GET_PROMETHEUS)
    chosen = [one for one in SCENARIOS if not only or one.name in only]
    with tempfile.TemporaryDirectory() as temporary:
        found = asyncio.run(_observe_all(chosen, keep or Path(temporary), watch_s))
    rows = json.loads(results.read_text()) if results is not None and results.exists() else {}
    for one in found:
        row = _row(one, watch_s)
        click.echo(f"{one.scenario.name:12} {'ok' if not one.faults else 'WRONG'}  {row}")
        for fault in one.faults:
            click.echo(f"  {fault}")
        if not one.faults:
            rows[one.scenario.name] = row
    if results is not None:
        results.write_text(json.dumps(rows, indent=2) + "\n")
    if any(one.faults for one in found):
        sys.exit(1)
    if page is not None and all(one.name in rows for one in SCENARIOS):
        page.write_text(
            _PAGE.format(
                version=arno.__version__,
                cpu_count=os.cpu_count(),
                rows="\n".join(rows[one.name] for one in SCENARIOS),
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


def _row(one: Observed, watch_s: float) -> str:
    cells = (
        one.scenario.what,
        str(one.call_count),
        ", ".join(filter(None, (one.scenario.fires, *sorted(one.scenario.fires_too)))) or "none",
        "" if one.after_s is None else f"{one.after_s:.0f} s",
        f"{watch_s:.0f} s",
        str(datetime.datetime.now(datetime.UTC).date()),
        f"{os.getloadavg()[0]:.1f}",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
