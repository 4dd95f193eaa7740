"""Processes that are started during an outage: they wait, say so, and are there after it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from arno.api.v1 import vision_pb2, vision_pb2_grpc
from arno.bus import make_admin
from chaos.machine import Machine, MachineOptions
from chaos.workload import make_question
from support.eventually import eventually

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Nothing of it runs."""
    machine = Machine(tmp_path, MachineOptions(bus="redis", gateways=1, workers=1))
    yield machine
    machine.stop()


def test_gateway_and_worker_wait_for_a_store_that_comes_later(machine: Machine) -> None:
    (gateway,), (worker,) = machine.gateways, machine.workers
    gateway.launch()
    worker.launch()
    eventually(lambda: _waits(gateway.log), timeout_s=60, what="the gateway waits")
    eventually(lambda: "is away" in worker.log.read_text(), timeout_s=60, what="the worker waits")
    machine.redis.start()
    admin = make_admin(machine.settings)
    admin.ensure_topics()
    admin.close()
    question = make_question(1, "late")
    request = vision_pb2.InferRequest(image=question.image, tasks=question.tasks)
    with grpc.insecure_channel(machine.addresses[0]) as channel:
        stub = vision_pb2_grpc.VisionServiceStub(channel)
        response = stub.Infer(request, timeout=60, wait_for_ready=True)
    assert question.fault(response) == ""
    assert gateway.log.read_text().count("waits for the result store") == 1


def test_gateway_that_waits_leaves_when_it_is_told_to(machine: Machine) -> None:
    (gateway,) = machine.gateways
    gateway.launch()
    eventually(lambda: _waits(gateway.log), timeout_s=60, what="the gateway waits")
    gateway.ask_to_leave()
    assert gateway.wait(timeout_s=30) == 0


def _waits(log: Path) -> bool:
    return "waits for the result store" in log.read_text()
