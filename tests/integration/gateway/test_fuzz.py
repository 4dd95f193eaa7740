"""A slice of `make fuzz`: whatever is sent to a gateway ends with a code that blames the caller."""

from __future__ import annotations

import grpc
import pytest
from fuzz.calls import CallFuzzer
from support.gateway_calls import infer_request
from support.running_gateway import RunningGateway
from support.stand_in_worker import StandInWorker

pytestmark = pytest.mark.redis


async def test_mutated_calls_end_with_a_fault_of_the_caller(
    arno: RunningGateway, worker: StandInWorker
):
    fuzzer = CallFuzzer(f"127.0.0.1:{arno.gateway.port}")
    await fuzzer.run(1_000_000, 400)
    assert fuzzer.report.faults == []
    assert fuzzer.report.codes["INVALID_ARGUMENT"] > 100
    assert fuzzer.report.codes[grpc.StatusCode.OK.name] > 0
    await arno.vision.Infer(infer_request(), timeout=10)
