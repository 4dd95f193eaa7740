"""Calls whose server stops, or whose connection leads nowhere any more, are answered."""

from __future__ import annotations

import asyncio
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from arno.api.v1 import vision_pb2_grpc
from arno.client import Client, channel
from arno.errors import CancelledError
from arno.gateway.settings import GatewayLimits
from support.background import Background
from support.eventually import eventually
from support.scripted_gateway import ScriptedGateway, refusal, scripted_gateway
from support.tcp_proxy import proxy_on_a_thread

_CALLS = 8


class StuckServer(Background):
    """A server that stops before its loop has looked at the calls that have arrived."""

    def __init__(self) -> None:
        super().__init__("stuck server")
        self.port = 0
        self.ready = threading.Event()
        self.taken_count = 0

    def work(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        server = grpc.aio.server()
        vision_pb2_grpc.add_VisionServiceServicer_to_server(self, server)
        self.port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        # One turn, in which gRPC begins to wait for the first call.
        await asyncio.sleep(0)
        self.ready.set()
        # Blocks the loop: calls arrive in gRPC, and the loop hears of none.
        self.stopping.wait()
        await server.stop(None)

    async def Infer(self, request, context):
        self.taken_count += 1

    InferStream = ListModels = Infer


def test_calls_that_no_gateway_has_seen_are_sent_to_another_one():
    with StuckServer() as stuck, scripted_gateway() as gateway:
        assert stuck.ready.wait(30)
        address = f"ipv4:127.0.0.1:{stuck.port},{gateway.address}"
        with Client(address) as client, ThreadPoolExecutor(_CALLS) as threads:
            first = client.infer(b"image", "OD")
            asked = [threads.submit(client.infer, b"image", "OD") for _ in range(_CALLS)]
            # In turns: the other half lies in the server that is stuck.
            eventually(lambda: len(gateway.requests) >= _CALLS // 2)
            stuck.close()
            assert [one.result().ok for one in asked] == [first.ok] * _CALLS


def test_call_whose_job_was_cancelled_is_not_sent_again():
    gateway = ScriptedGateway()
    gateway.refuse = refusal(1, "CANCELLED", "the job was cancelled")
    pushed_back = ("grpc-retry-pushback-ms", "-1")
    gateway.refuse = gateway.refuse._replace(
        trailing_metadata=(*gateway.refuse.trailing_metadata, pushed_back)
    )
    # The address is there only when the gateway listens.
    with (
        scripted_gateway(gateway),
        Client(gateway.address) as client,
        pytest.raises(CancelledError, match="the job was cancelled"),
    ):
        client.infer(b"image", "OD")
    assert len(gateway.requests) == 1


def test_wait_ends_where_a_router_has_forgotten_its_connection(monkeypatch):
    # The gateway alone speaks while a job runs, so that TCP notices nothing.
    often = {"grpc.keepalive_time_ms": 300, "grpc.http2.ping_timeout_ms": 300}
    monkeypatch.setattr(channel, "OPTIONS", [*{**dict(channel.OPTIONS), **often}.items()])
    with (
        scripted_gateway() as gateway,
        proxy_on_a_thread(int(gateway.address.rpartition(":")[2])) as proxy,
        ThreadPoolExecutor(1) as threads,
        Client(f"127.0.0.1:{proxy.port}") as client,
    ):
        gateway.hang = True
        waiting = threads.submit(client.wait, "job-1")
        eventually(lambda: gateway.keys, what="the job is watched")
        proxy.mute()
        gateway.hang = False
        assert waiting.result(10).ended


def test_pings_are_as_rare_as_a_gateway_wants_them_and_come_before_calls_time_out():
    options = dict(channel.OPTIONS)
    ping_s, answer_s = (options[f"grpc.keepalive_{one}_ms"] / 1000 for one in ("time", "timeout"))
    assert ping_s > GatewayLimits().ping_interval_s_min
    assert ping_s + answer_s < inspect.signature(Client).parameters["timeout_s"].default
