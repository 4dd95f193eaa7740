"""Every process leaves in order while calls are open, and none of them fails."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos.callers import Callers
from chaos.machine import Machine, MachineOptions
from chaos.parts import ProcessPart
from support.availability import require
from support.eventually import eventually
from support.kafka_broker import WAYS_TO_GET_IT, kafka_available

pytestmark = [pytest.mark.timeout(400), pytest.mark.slow]

_CALLERS = 8


@pytest.fixture(params=["kafka", "redis"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    if request.param == "kafka":
        require(kafka_available(), WAYS_TO_GET_IT)
    machine = Machine(tmp_path, MachineOptions(bus=request.param))
    machine.start()
    yield machine
    machine.stop()


def test_rolling_restart_of_every_process_under_load_fails_no_call(machine: Machine) -> None:
    with Callers(machine.addresses, count=_CALLERS, run=uuid.uuid4().hex[:8]) as callers:
        _answers(callers)
        for part in (*machine.workers, *machine.gateways):
            eventually(lambda part=part: part.ready, timeout_s=60, what="the part is ready")
        for part in (*machine.workers, *machine.gateways):
            part.ask_to_leave()
            # The callers ask on, and are answered by the others.
            assert part.wait(timeout_s=60) == 0
            _answers(callers)
            part.launch()
            eventually(lambda part=part: part.ready, timeout_s=60, what="the part is back")
            _answers(callers)
        callers.close()
    assert callers.failures == []


@pytest.mark.parametrize("machine", ["kafka"], indirect=True)
def test_sigterm_of_the_only_worker_finishes_its_work_and_the_next_one_takes_the_rest(
    machine: Machine,
) -> None:
    first, second = machine.workers
    with Callers(machine.addresses, count=_CALLERS, run=uuid.uuid4().hex[:8]) as callers:
        _answers(callers)
        _end(second)
        _end(first)
        # Nobody works now; what is asked meanwhile waits.
        second.launch()
        _answers(callers)
        callers.close()
    assert callers.failures == []


def _end(part: ProcessPart) -> None:
    eventually(lambda: part.ready, timeout_s=60, what="the part is ready")
    part.ask_to_leave()
    assert part.wait(timeout_s=60) == 0


def _answers(callers: Callers) -> None:
    """Return when every caller has been answered anew, on average twice."""
    wanted = callers.answered_count + 2 * _CALLERS
    eventually(lambda: callers.answered_count >= wanted, timeout_s=60, what="calls are answered")
