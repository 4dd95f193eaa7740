"""A minute of `make chaos` on each bus: every part is killed under load, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from chaos.machine import MachineOptions
from chaos.run import RunOptions, run_chaos
from chaos.schedule import Blow, Kind
from support.availability import require
from support.kafka_broker import WAYS_TO_GET_IT, kafka_available

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize(
    ("bus", "kinds"),
    [
        ("kafka", {Kind.GATEWAY, Kind.WORKER, Kind.BROKER, Kind.REDIS}),
        ("redis", {Kind.GATEWAY, Kind.WORKER, Kind.REDIS}),
    ],
    ids=["kafka", "redis"],
)
def test_random_kills_under_load_break_no_promise(
    tmp_path: Path, bus: str, kinds: set[Kind]
) -> None:
    require(bus == "redis" or kafka_available(), WAYS_TO_GET_IT)
    options = RunOptions(
        seconds=12.0 * len(kinds),
        every_s=7.0,
        seed=7,
        rate_per_s=8.0,
        settle_s=180.0,
        machine=MachineOptions(bus=bus),
    )
    verdict = run_chaos(tmp_path, options, click.echo)
    assert verdict.kept, "\n".join(verdict.lines())
    assert {kind for kind, blow in verdict.blows if blow is Blow.KILL} == kinds
    assert verdict.accepted > 50
    assert verdict.waited > 20
