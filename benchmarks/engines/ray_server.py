"""Florence-2 behind Ray Serve, by its page on dynamic batching: python -m ... SERVING PORT."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from benchmarks.ask import Ask, Serving
from benchmarks.engines.florence import Florence


def deployment(serving: Serving) -> Any:
    """Return the application."""

    @serve.deployment(
        max_ongoing_requests=1024,
        # Without them Ray gives its workers one thread.
        ray_actor_options={"num_cpus": 1, "runtime_env": {"env_vars": _threads()}},
    )
    class FlorenceDeployment:
        def __init__(self) -> None:
            self._florence = Florence(serving)

        @serve.batch(max_batch_size=serving.batch_max, batch_wait_timeout_s=0.01)
        async def _answer(self, asks: list[Ask]) -> list[dict[str, Any]]:
            return [{"token_ids": list(answer)} for answer in self._florence.answer(asks)]

        async def __call__(self, request: Request) -> dict[str, Any]:
            answer: dict[str, Any] = await self._answer(Ask.from_json(await request.json()))
            return answer

    application: Any = FlorenceDeployment  # the decorator made a deployment of it
    return application.bind()


def _threads() -> dict[str, str]:
    count = str(len(os.sched_getaffinity(0)))
    return {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "PYTHONPATH": str(Path.cwd())}


def main() -> None:
    """Serve until killed."""
    serving, port = Serving(**json.loads(sys.argv[1])), int(sys.argv[2])
    ray.init(
        num_cpus=4,
        include_dashboard=False,
        configure_logging=False,
        _node_ip_address="127.0.0.1",
        object_store_memory=200 * 1024**2,
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(deployment(serving))
    threading.Event().wait()


if __name__ == "__main__":
    main()
