"""Two gateways behind one name: how calls are shared, and what a drain costs their callers.

The gateways drain as those of ``k8s/`` do: with the notice that their manifest gives them.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Final

import yaml
from arno.client import AsyncClient
from arno.errors import ArnoError

from benchmarks.figures import percentile
from benchmarks.overhead import noise_jpeg
from benchmarks.stack import Stack, running_stack

_MANIFEST: Final = Path(__file__).resolve().parents[2] / "k8s/base/gateway.yaml"
_CLIENTS: Final = 4
_RATE: Final = 16.0
"""Calls a second of each client: well below what the two gateways carry."""

_PHASE_S: Final = 12.0
_CLOSE_S: Final = 2.0
"""In which a gateway without calls has left, after its notice."""

_TASK: Final = "CAPTION"
_COUNT: Final = re.compile(r'^arno_gateway_requests_total\{code="OK",method="Infer"\} (\S+)$', re.M)


def measure_two_gateways(size: float) -> dict[str, Any]:
    """Return the shares, and the times of calls before and while one gateway leaves.

    Args:
        size: 1 for the whole measurement; a gateway takes the same time to leave at any size.
    """
    drains = drains_of_the_manifest()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_stack(Path(folder), bus="redis", gateway=drains, gateways=2) as stack,
    ):
        return asyncio.run(_measure(stack, _PHASE_S * size, drains["drain_notice_s"]))


def drains_of_the_manifest() -> dict[str, float]:
    """Return the settings, in seconds, by which a gateway in Kubernetes leaves."""
    objects = yaml.safe_load_all(_MANIFEST.read_text())
    pod = next(one for one in objects if one["kind"] == "Deployment")["spec"]["template"]["spec"]
    variables = {one["name"]: one["value"] for one in pod["containers"][0]["env"]}
    return {
        "drain_notice_s": float(variables["ARNO_DRAIN_NOTICE_S"]),
        "drain_s": float(variables["ARNO_DRAIN_S"]),
    }


async def _measure(stack: Stack, phase_s: float, notice_s: float) -> dict[str, Any]:
    address = "ipv4:" + ",".join(stack.targets)
    image = noise_jpeg(100_000, 1)
    async with _Callers(address, image) as callers:
        await asyncio.sleep(3.0)  # connections, and the first calls of new processes
        first = await _counts(stack)
        callers.took_s.clear()
        await asyncio.sleep(phase_s)
        second = await _counts(stack)
        usual = list(callers.took_s)
        callers.took_s.clear()
        os.kill(stack.pids["gateway-2"], signal.SIGTERM)
        await asyncio.sleep(notice_s + _CLOSE_S)
        draining = list(callers.took_s)
        callers.took_s.clear()
        # One gateway carries all calls now: its times without any change beside it.
        await asyncio.sleep(phase_s)
        alone = list(callers.took_s)
        faults = list(callers.faults)
    shares = [after - before for before, after in zip(first, second, strict=True)]
    limit_s = max(percentile(usual, 0.99), percentile(alone, 0.99)) + 0.1
    return {
        "clients": _CLIENTS,
        "rate": _RATE * _CLIENTS,
        "notice_s": notice_s,
        "shares": [round(share / sum(shares), 4) for share in shares],
        "usual_s": _figures(usual),
        "draining_s": _figures(draining),
        "alone_s": _figures(alone),
        "slower_than_p99_and_100_ms": sum(took > limit_s for took in draining),
        "errors": faults,
    }


class _Callers:
    """Clients that call at a steady rate until the block ends; each has a connection of its own.

    Times count from when a call was due: what waits behind a slow one is slow, too.
    """

    def __init__(self, address: str, image: bytes) -> None:
        self._address, self._image = address, image
        self.took_s: list[float] = []
        self.faults: list[str] = []
        self._ending = False

    async def __aenter__(self) -> _Callers:
        self._tasks = [asyncio.create_task(self._call(number)) for number in range(_CLIENTS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ending = True
        await asyncio.gather(*self._tasks)

    async def _call(self, number: int) -> None:
        due_s = time.monotonic() + number / (_CLIENTS * _RATE)
        async with AsyncClient(self._address) as client:
            while not self._ending:
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                try:
                    await client.infer(self._image, _TASK)
                except ArnoError as error:
                    self.faults.append(f"{error.reason}: {error.message}")
                self.took_s.append(time.monotonic() - due_s)
                due_s += 1 / _RATE


async def _counts(stack: Stack) -> list[float]:
    names = ("gateway", "gateway-2")
    return [
        await asyncio.to_thread(_answered, f"{stack.metrics_urls[name]}/metrics") for name in names
    ]


def _answered(url: str) -> float:
    with urllib.request.urlopen(url, timeout=5) as page:  # noqa: S310 - our own child
        return sum(float(count) for count in _COUNT.findall(page.read().decode()))


def _figures(took_s: list[float]) -> dict[str, float]:
    parts = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {
        "count": len(took_s),
        **{name: percentile(took_s, part) for name, part in parts.items()},
    }
