"""Name the engines and start one."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Protocol

from benchmarks.ask import Ask, Serving


class UnavailableError(Exception):
    """An engine cannot be measured here; the message says why."""


class RunningEngine(Protocol):
    """An engine that is warm, in processes of its own."""

    @property
    def pid(self) -> int:
        """Its process; children count as it."""

    def submit(self, ask: Ask) -> Future[tuple[int, ...]]:
        """Ask; the answer's token ids come later."""

    def close(self) -> None:
        """End its processes."""


@dataclass(frozen=True, slots=True)
class EngineKind:
    """One way to serve Florence-2.

    Attributes:
        name: On the command line and in results.
        description: For the page.
        needs: The package that it is made of; empty for what Arno's own extras bring.
        server: Module with the server of a peer over HTTP; empty for what runs through a pipe.
        path: Where that server takes requests.
        dtype: Number format that it always has; empty for that of the comparison.
    """

    name: str
    description: str
    needs: str = ""
    server: str = ""
    path: str = ""
    dtype: str = ""


ENGINES: Final[Mapping[str, EngineKind]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            EngineKind("arno", "Arno's engine in the worker's own loop"),
            EngineKind(
                "arno-bfloat16", "the same with `--dtype bfloat16`, its fastest", dtype="bfloat16"
            ),
            EngineKind("transformers", "transformers `generate`, request by request"),
            EngineKind(
                "static", "transformers `generate` over padded batches of whatever has arrived"
            ),
            EngineKind(
                "litserve",
                "LitServe with `max_batch_size` and `batch_timeout`, over `generate`",
                "litserve",
                "benchmarks.engines.litserve_server",
                "/predict",
            ),
            EngineKind(
                "mosec",
                "mosec with `max_batch_size` and `max_wait_time`, over `generate`",
                "mosec",
                "benchmarks.engines.mosec_server",
                "/inference",
            ),
            EngineKind(
                "ray-serve",
                "Ray Serve with `@serve.batch`, over `generate`",
                "ray",
                "benchmarks.engines.ray_server",
                "/",
            ),
        )
    }
)


def start(name: str, serving: Serving) -> RunningEngine:
    """Start an engine and return it once it answers.

    Raises:
        UnavailableError: It is not installed, or does not start.
    """
    kind = ENGINES[name]
    serving = replace(serving, dtype=kind.dtype or serving.dtype)
    if kind.needs and importlib.util.find_spec(kind.needs) is None:
        raise UnavailableError(f"{name}: {kind.needs} is not installed")
    if kind.server:
        from benchmarks.engines.over_http import HttpEngine

        return HttpEngine(kind.server, kind.path, serving)
    from benchmarks.engines.hosted import HostedEngine

    return HostedEngine(name, serving)
