"""The recorded history of a load shows each planted bug of the product, and shows none without one.

`tests/unit/chaos/test_checker.py` plants them in histories; here a real gateway, bus and store are
broken, and the load of `make chaos` must meet the bug, record it, and be judged.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid

import pytest
from arno.bus.v1.records_pb2 import JobOutcome, JobRecord
from arno.gateway.settings import GatewaySettings
from arno.vocabulary import build_prompt
from arno.vocabulary.wire import spec_from_wire
from chaos.checker import RULES
from chaos.echo_engine import echo
from chaos.history import History
from chaos.load import Load
from chaos.planted import BUGS, Bug, apply
from chaos.run import in_flight
from chaos.workload import SIZE
from prometheus_client import generate_latest
from support.eventually import eventually_async
from support.redis_server import RedisServer
from support.running_gateway import RunningGateway, running
from support.stand_in_worker import StandInWorker, answer, success

_REQUESTS = 24
_RATE_PER_S = 100.0


class EchoWorker(StandInWorker):
    """A worker that gives the true answer of the load's questions."""

    def finish(self, record: JobRecord, outcome: JobOutcome | None = None) -> bool:
        outcome = success(record)
        sha256 = hashlib.sha256(self.image(record) or b"").hexdigest()
        del outcome.response.results[:]
        for spec in record.tasks:
            prompt = build_prompt(spec_from_wire(spec).task, size=SIZE)
            outcome.response.results.append(answer(spec, echo(sha256, prompt)))
        return super().finish(record, outcome)


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
async def test_history_of_a_load_shows_a_planted_bug(
    bug: Bug, redis_server: RedisServer, unique_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(bug, monkeypatch)
    settings = GatewaySettings(
        bus="redis",
        redis_url=redis_server.url,
        redis_key_prefix=unique_prefix,
        topic_prefix=unique_prefix,
        listen="127.0.0.1:0",
        drain_s=2,
    )
    history = History()
    async with running(settings) as gateway:
        with EchoWorker(settings):
            await _load(gateway, history, bug)
    found = {name for name, rule in RULES.items() if any(rule(history))}
    assert found == ({bug.rule.__name__} if bug.rule else set())


def test_every_rule_has_a_bug_that_it_finds_in_the_product() -> None:
    assert {bug.rule.__name__ for bug in BUGS.values() if bug.rule} == set(RULES)


async def _load(gateway: RunningGateway, history: History, bug: Bug) -> None:
    address = f"127.0.0.1:{gateway.gateway.port}"
    load = Load([address], history, run=uuid.uuid4().hex[:8], rate_per_s=_RATE_PER_S)
    load.start()

    async def asked() -> bool:
        return len(history.requests) >= _REQUESTS

    async def answered() -> bool:
        return load.open_count <= bug.hanging_count

    try:
        await eventually_async(asked, what="the load asks")
        load.stop_asking()
        await eventually_async(answered, what="all requests end but those that the bug keeps")
    finally:
        await asyncio.to_thread(load.close)

    def counted() -> dict[str, float]:
        return in_flight(generate_latest(gateway.registry).decode())

    async def released() -> bool:
        return sum(counted().values()) <= bug.leaked_count

    await eventually_async(released, what="the gateway releases what its calls held")
    for name, value in counted().items():
        history.leaked(f"{value:g} in {name}")
