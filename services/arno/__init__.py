"""Arno: production serving of Florence-2.

``arno.Client`` and ``arno.AsyncClient`` are the Python SDK of a running server; ``arno.load`` runs
a model in this process; ``arno --help`` is the command line. The rest of the package is the server:
see ARCHITECTURE.md for the map.

    import arno
    with arno.Client("127.0.0.1:50051") as client:
        result = client.infer("photo.jpg", "OD")
        for region in result["OD"].regions:
            print(region.label, region.score, region.shape)

    with arno.load("tiny") as florence:
        print(florence.ask("photo.jpg", "CAPTION")["CAPTION"].answer_text)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from arno import client, errors
    from arno.client import AsyncClient, Client, Frame, StreamOptions, TaskRequest
    from arno.engine.in_process.florence import Florence, load
    from arno.errors import ArnoError
    from arno.vocabulary import Box, Task

__version__ = "0.1.0"

# Loaded when first asked for: a server process and `arno --help` need none of it.
_HOMES: Final = {
    "ArnoError": "arno.errors",
    "AsyncClient": "arno.client",
    "Box": "arno.vocabulary",
    "Client": "arno.client",
    "Florence": "arno.engine.in_process.florence",
    "Frame": "arno.client",
    "StreamOptions": "arno.client",
    "Task": "arno.vocabulary",
    "TaskRequest": "arno.client",
    "load": "arno.engine.in_process.florence",
}

_MODULES: Final = frozenset({"client", "errors"})
"""What a program names by its module: ``arno.client.Tls``, ``arno.errors.OverloadedError``."""

__all__ = [
    "ArnoError",
    "AsyncClient",
    "Box",
    "Client",
    "Florence",
    "Frame",
    "StreamOptions",
    "Task",
    "TaskRequest",
    "__version__",
    "client",
    "errors",
    "load",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(f"arno.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'arno' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
