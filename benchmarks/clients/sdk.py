"""What the SDK adds to a call: its client against the bare stub of gRPC, call by call in turn."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from arno.api.v1 import types_pb2, vision_pb2, vision_pb2_grpc
from arno.client import AsyncClient, Client
from arno.client.channel import open_aio_channel, open_channel
from support.answers import detection, region, response
from support.scripted_gateway import ScriptedGateway, scripted_gateway

from benchmarks.figures import percentile
from benchmarks.overhead import noise_jpeg

_CALLS: Final = 400
_REGIONS: Final = 50


class _Canned(ScriptedGateway):
    """Answers every call at once with the boxes of fifty objects."""

    def __init__(self) -> None:
        super().__init__()
        boxes = [region(f"object {n}", n, n, n + 40.5, n + 30.25) for n in range(_REGIONS)]
        self._answer = response(detection(*boxes))

    def Infer(self, request: Any, context: Any) -> vision_pb2.InferResponse:  # noqa: N802
        """Answer."""
        return self._answer


def measure_sdk(size: float) -> dict[str, Any]:
    """Return what a call takes by the stub and by the clients, in seconds.

    Args:
        size: 1 for the whole measurement.
    """
    calls = int(_CALLS * size)
    with scripted_gateway(_Canned()) as gateway, tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        photo.write_bytes(noise_jpeg(100_000, 1))
        return {
            "calls": calls,
            "regions": _REGIONS,
            "image_bytes": photo.stat().st_size,
            "blocking": _blocking(gateway.address, photo, calls),
            "asyncio": asyncio.run(_asyncio(gateway.address, photo, calls)),
        }


def _request(photo: Path) -> vision_pb2.InferRequest:
    return vision_pb2.InferRequest(
        image=types_pb2.Image(content=photo.read_bytes()),
        tasks=[types_pb2.TaskSpec(task=types_pb2.TASK_OD)],
    )


def _blocking(address: str, photo: Path, calls: int) -> dict[str, float]:
    with open_channel(address, None) as channel, Client(address) as client:
        stub = vision_pb2_grpc.VisionServiceStub(channel)
        bare, whole = [], []
        for _ in range(calls):
            bare.append(_timed(lambda: stub.Infer(_request(photo))))
            whole.append(_timed(lambda: client.infer(photo, "OD")["OD"].regions))
    return _compared(bare, whole)


async def _asyncio(address: str, photo: Path, calls: int) -> dict[str, float]:
    async with open_aio_channel(address, None) as channel, AsyncClient(address) as client:
        stub = vision_pb2_grpc.VisionServiceStub(channel)
        bare, whole = [], []
        for _ in range(calls):
            bare.append(await _timed_async(lambda: stub.Infer(_request(photo))))
            whole.append(await _timed_async(lambda: client.infer(photo, "OD")))
    return _compared(bare, whole)


def _timed(call: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    call()
    return time.perf_counter() - started_s


async def _timed_async(call: Callable[[], Awaitable[object]]) -> float:
    started_s = time.perf_counter()
    await call()
    return time.perf_counter() - started_s


def _compared(bare: list[float], whole: list[float]) -> dict[str, float]:
    # The first calls connect.
    bare, whole = bare[10:], whole[10:]
    return {
        "stub_p50_s": percentile(bare, 0.5),
        "client_p50_s": percentile(whole, 0.5),
        "added_p50_s": percentile(whole, 0.5) - percentile(bare, 0.5),
        "added_p90_s": percentile(whole, 0.9) - percentile(bare, 0.9),
    }
