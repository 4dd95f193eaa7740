"""Callers that never stop asking: a plain gRPC client with the retries that gRPC itself offers."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence

import grpc
from arno.api.v1 import vision_pb2, vision_pb2_grpc
from arno.vocabulary.job import HEALTH_OF_ROUTING
from chaos.workload import make_question
from support.background import Background

# What docs/api.md tells clients to use.
SERVICE_CONFIG = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": HEALTH_OF_ROUTING},
        "methodConfig": [
            {
                "name": [{"service": "arno.api.v1.VisionService"}],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.2s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
                },
            }
        ],
    }
)
_DEADLINE_S = 30.0


class Callers(Background):
    """So many callers, each with one call open at any time, from ``with`` to the end of it."""

    def __init__(self, addresses: Sequence[str], *, count: int, run: str) -> None:
        """Take the gateways, all of them behind one channel."""
        super().__init__("callers")
        self._target = f"ipv4:{','.join(addresses)}"
        self._count = count
        self._run_name = run
        self._numbers = itertools.count()
        self.answered_count = 0
        self.failures: list[str] = []

    def work(self) -> None:
        """Ask until told to stop, and wait for what is open."""
        asyncio.run(self._ask_all())

    async def _ask_all(self) -> None:
        options = [("grpc.service_config", SERVICE_CONFIG), ("grpc.enable_retries", 1)]
        async with grpc.aio.insecure_channel(self._target, options=options) as channel:
            stub = vision_pb2_grpc.VisionServiceStub(channel)
            await asyncio.gather(*(self._ask(stub) for _ in range(self._count)))

    async def _ask(self, stub: vision_pb2_grpc.VisionServiceAsyncStub) -> None:
        while not self.stopping.is_set():
            question = make_question(next(self._numbers), self._run_name)
            request = vision_pb2.InferRequest(
                image=question.image, tasks=question.tasks, idempotency_key=question.key
            )
            try:
                response = await stub.Infer(request, timeout=_DEADLINE_S, wait_for_ready=True)
            except grpc.aio.AioRpcError as error:
                self.failures.append(f"{error.code().name}: {error.details()}")
                continue
            fault = question.fault(response)
            if fault:
                self.failures.append(fault)
            self.answered_count += 1
