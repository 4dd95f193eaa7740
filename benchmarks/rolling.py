"""Measure what callers feel when a gateway leaves: errors, the slowest call, and who answered.

python -m benchmarks.rolling

Two gateways on Kafka with the drain notice of `k8s/base/gateway.yaml`, a worker without a model,
and four clients of the SDK that ask without a pause. One gateway gets SIGTERM, as in a rolling
update; the calls of the seconds before are compared with those until some seconds after it has
gone. Some lines of docs/upgrade.md are written here.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
from arno.client import AsyncClient, TaskRequest
from arno.errors import ArnoError
from support.images import png

from benchmarks.kept_pages import write_block
from benchmarks.stack import Stack, running_stack

_ROOT: Final = Path(__file__).resolve().parents[1]
_CLIENTS: Final = 4
_CALM_S: Final = 10.0
_AFTER_S: Final = 5.0
_ROUNDS: Final = 3
_ANSWERED: Final = re.compile(
    r'^arno_gateway_requests_total\{code="OK",method="Infer"\} (\S+)', re.MULTILINE
)


@dataclass(slots=True)
class Felt:
    """What the clients of one round saw.

    Attributes:
        calm_s: How long calls took before the gateway was told to leave.
        leaving_s: How long they took from then on.
        errors: Calls that failed.
        shares: Parts of the calm calls that each gateway answered.
    """

    calm_s: list[float] = field(default_factory=list)
    leaving_s: list[float] = field(default_factory=list)
    errors: int = 0
    shares: tuple[float, ...] = ()


def main() -> None:
    """Measure, and write the lines of the page."""
    notice_s = _notice_s()
    rounds = []
    for _ in range(_ROUNDS):
        with (
            tempfile.TemporaryDirectory() as folder,
            running_stack(
                Path(folder), gateways=2, gateway={"drain_notice_s": notice_s, "drain_s": 30}
            ) as stack,
        ):
            rounds.append(asyncio.run(_round(stack)))
    said = _said(rounds, notice_s)
    write_block(_ROOT / "docs/upgrade.md", "rolling", said)
    print(said)


def _notice_s() -> float:
    text = (_ROOT / "k8s/base/gateway.yaml").read_text()
    (value,) = re.findall(r'ARNO_DRAIN_NOTICE_S, value: "([0-9.]+)"', text)
    return float(value)


async def _round(stack: Stack) -> Felt:
    felt, ending = Felt(), asyncio.Event()
    took_s: list[float] = []
    address = f"ipv4:{','.join(stack.targets)}"
    asking = [asyncio.create_task(_ask(address, took_s, felt, ending)) for _ in range(_CLIENTS)]
    # Each client has connections to both gateways after its first calls.
    await asyncio.sleep(2.0)
    before = _answered(stack)
    took_s.clear()
    await asyncio.sleep(_CALM_S)
    counts = [now - then for now, then in zip(_answered(stack), before, strict=True)]
    felt.shares = tuple(count / sum(counts) for count in counts)
    felt.calm_s, leaving = list(took_s), psutil.Process(stack.pids["gateway-2"])
    took_s.clear()
    leaving.send_signal(signal.SIGTERM)
    await asyncio.to_thread(leaving.wait, 90)
    await asyncio.sleep(_AFTER_S)
    ending.set()
    await asyncio.gather(*asking)
    felt.leaving_s = list(took_s)
    return felt


async def _ask(address: str, took_s: list[float], felt: Felt, ending: asyncio.Event) -> None:
    image = png()
    async with AsyncClient(address) as client:
        while not ending.is_set():
            started_s = time.monotonic()
            try:
                await client.infer(image, TaskRequest("CAPTION"))
            except ArnoError:
                felt.errors += 1
            took_s.append(time.monotonic() - started_s)


def _answered(stack: Stack) -> list[float]:
    """Return the calls that each gateway has answered."""
    found = []
    for name in ("gateway", "gateway-2"):
        with urllib.request.urlopen(f"{stack.metrics_urls[name]}/metrics", timeout=10) as response:  # noqa: S310
            found += [float(value) for value in _ANSWERED.findall(response.read().decode())]
    return found


def _said(rounds: Sequence[Felt], notice_s: float) -> str:
    rows = [
        f"| {len(felt.calm_s)} | {' : '.join(f'{share:.0%}' for share in felt.shares)} "
        f"| {max(felt.calm_s):.2f} s | {len(felt.leaving_s)} | {max(felt.leaving_s):.2f} s "
        f"| {felt.errors} |"
        for felt in rounds
    ]
    heading = (
        "| calls before | of each gateway | slowest | calls from SIGTERM on | slowest | errors |"
    )
    return "\n".join(
        [
            f"Written by `python -m benchmarks.rolling`: two gateways with the notice of "
            f"`k8s/base` ({notice_s:g} s), four clients of the SDK without a pause, a worker "
            f"without a model, real Kafka and Redis; one gateway leaves and the clients ask on. "
            f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end.",
            "",
            heading,
            "| ---: | --- | ---: | ---: | ---: | ---: |",
            *rows,
        ]
    )


if __name__ == "__main__":
    main()
