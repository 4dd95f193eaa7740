"""Half a minute of `make chaos` on each bus: each part is disturbed under load, nothing is lost."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from chaos.machine import MachineOptions
from chaos.run import RunOptions, run_chaos
from chaos.schedule import Part
from support.availability import require
from support.kafka_broker import WAYS_TO_GET_IT, kafka_available

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]


@pytest.mark.parametrize(
    ("bus", "parts"),
    [
        ("kafka", {Part.GATEWAY, Part.WORKER, Part.BROKER, Part.REDIS}),
        ("redis", {Part.GATEWAY, Part.WORKER, Part.REDIS}),
    ],
    ids=["kafka", "redis"],
)
def test_random_kills_under_load_break_no_promise(
    tmp_path: Path, bus: str, parts: set[Part]
) -> None:
    require(bus == "redis" or kafka_available(), WAYS_TO_GET_IT)
    options = RunOptions(
        seconds=8.0 * len(parts),
        every_s=5.0,
        seed=7,
        rate_per_s=8.0,
        settle_s=180.0,
        machine=MachineOptions(bus=bus),
    )
    verdict = run_chaos(tmp_path, options, click.echo)
    assert verdict.kept, "\n".join(verdict.lines())
    assert {part for part, _ in verdict.done} == parts
    assert verdict.accepted > 50
    assert verdict.waited > 20
