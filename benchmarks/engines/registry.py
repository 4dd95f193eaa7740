"""List the engines and start one."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Protocol

from benchmarks.ask import Ask, Serving, UnavailableError
from benchmarks.engines.hosted import HostedEngine
from benchmarks.engines.over_http import HttpEngine


class RunningEngine(Protocol):
    """A warm engine in processes of its own."""

    @property
    def pid(self) -> int:
        """Its process; measurements include the children."""

    def submit(self, ask: Ask) -> Future[tuple[int, ...]]:
        """Ask; the future gets the answer's token ids."""

    def close(self) -> None:
        """End its processes."""


@dataclass(frozen=True, slots=True)
class EngineKind:
    """One way to serve Florence-2.

    Attributes:
        name: Its name on the command line and in results.
        description: Its line on the page of results.
        needs: The package that it needs; empty if Arno's own extras are enough.
        server: Module with the server of a peer over HTTP; empty for an engine behind a pipe.
        path: URL path of that server's requests.
        dtype: Number format that it always has; empty takes that of the comparison.
        compiled: Whether its vision encoder is compiled, before it is measured.
        image_side: Side in pixels to which it always scales images; 0 takes the model's own.
    """

    name: str
    description: str
    needs: str = ""
    server: str = ""
    path: str = ""
    dtype: str = ""
    compiled: bool = False
    image_side: int = 0


ENGINES: Final[Mapping[str, EngineKind]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            EngineKind("arno", "Arno's engine in the worker's own loop"),
            EngineKind("arno-compiled", "the same after `arno model compile`", compiled=True),
            EngineKind("arno-bfloat16", "the same with `--dtype bfloat16`", dtype="bfloat16"),
            EngineKind(
                "arno-int8",
                "the same with `--dtype int8`: the vision encoder's products in 8 bits; inexact",
                dtype="int8",
            ),
            EngineKind(
                "arno-int8-compiled",
                "the same after `arno model compile --dtype int8`",
                dtype="int8",
                compiled=True,
            ),
            EngineKind(
                "arno-int8-compiled-384",
                "the same with `--image-side 384`: a quarter of the pixels",
                dtype="int8",
                compiled=True,
                image_side=384,
            ),
            EngineKind("transformers", "transformers `generate`, request by request"),
            EngineKind(
                "static", "transformers `generate` over padded batches of whatever has arrived"
            ),
            EngineKind(
                "onnxruntime",
                "ONNX Runtime on four exported parts (vision, embedding, encoder, decoder with its "
                "past), float32, under `generate`, request by request",
                "onnxruntime",
                dtype="float32",
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
    serving = replace(
        serving,
        dtype=kind.dtype or serving.dtype,
        compiled=kind.compiled,
        image_side=kind.image_side,
    )
    if kind.needs and importlib.util.find_spec(kind.needs) is None:
        raise UnavailableError(f"{name}: {kind.needs} is not installed")
    if kind.server:
        return HttpEngine(kind.server, kind.path, serving)
    return HostedEngine(name, serving)
