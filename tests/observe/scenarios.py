"""What happens to each installation, and which alerts must fire, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from observe.installation import Installation
from observe.ledger import Load
from observe.worker_process import BREAKING_PROMPT, KILLING_PROMPT

Act = Callable[[Installation, Load], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One outage, or none.

    Attributes:
        name: For the command line.
        what: What happens, in words.
        act: Makes it happen, and returns when it has happened.
        fires: The alert that must fire first of all; empty on a healthy day.
        within_s: At most so long after it has happened.
        fires_too: Alerts that are as true, and must fire within the watch. No other one may.
        gateways: How many there are.
        workers: How many there are.
        rate_per_s: Calls a second.
        timeout_s: Of each call.
        own_redis: Whether its store is killed.
        keeps_workers: Whether workers that end are started again.
    """

    name: str
    what: str
    act: Act
    fires: str = ""
    within_s: float = 120.0
    fires_too: frozenset[str] = frozenset()
    gateways: int = 1
    workers: int = 1
    rate_per_s: float = 3.0
    timeout_s: float = 5.0
    own_redis: bool = False
    keeps_workers: bool = False


async def _nothing(_: Installation, __: Load) -> None:
    """Let it run."""


async def _kill_workers(installation: Installation, _: Load) -> None:
    for worker in installation.workers:
        worker.kill()


async def _kill_gateways(installation: Installation, _: Load) -> None:
    for gateway in installation.gateways.values():
        gateway.kill()


async def _kill_redis(installation: Installation, _: Load) -> None:
    installation.redis.kill()


async def _break_engine(_: Installation, load: Load) -> None:
    # The call ends well: its error is in its answer.
    assert await load.ask(BREAKING_PROMPT) == "OK"


async def _poison(_: Installation, load: Load) -> None:
    code = await asyncio.wait_for(load.ask(KILLING_PROMPT), 300)
    assert code == "ABORTED", f"a job that killed its workers ended with {code}"


SCENARIOS = (
    Scenario(
        "healthy",
        "two gateways, two workers, one call in twenty is wrong",
        _nothing,
        gateways=2,
        workers=2,
        rate_per_s=10.0,
    ),
    Scenario("no-workers", "SIGKILL of the only worker", _kill_workers, "ArnoNoWorkers"),
    Scenario("no-gateways", "SIGKILL of all gateways", _kill_gateways, "ArnoNoGateways"),
    Scenario("no-store", "SIGKILL of Redis", _kill_redis, "ArnoBackendDown", own_redis=True),
    Scenario(
        "engine-fails",
        "from one call on the engine of the only worker fails every task; calls end with OK",
        _break_engine,
        "ArnoEngineFails",
        within_s=180.0,
    ),
    Scenario(
        "poison",
        "the first job ever that kills its workers, three times in turn",
        _poison,
        "ArnoDeadLetters",
        # Three deaths on two workers: one of them has been started anew twice. Between two deaths a
        # session runs out, so that Prometheus sees each start.
        fires_too=frozenset({"ArnoWorkerRestarts"}),
        workers=2,
        keeps_workers=True,
    ),
)
