"""Florence-2 behind mosec, by its page on dynamic batching: python -m ... SERVING PORT."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from mosec import Server, Worker

from benchmarks.ask import Ask, Serving
from benchmarks.engines.florence import Florence

_WAIT_MS = 10
_TIMEOUT_S = 900
_SERVING = "ARNO_BENCHMARK_SERVING"


class FlorenceWorker(Worker):
    """Answers batches, in a process of mosec's."""

    def __init__(self) -> None:
        """Load the model; mosec gives arguments to its processes by their environment."""
        self._florence = Florence(Serving(**json.loads(os.environ[_SERVING])))

    def forward(self, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answer a batch."""
        answers = self._florence.answer([Ask.from_json(fields) for fields in data])
        return [{"token_ids": list(answer)} for answer in answers]


def main() -> None:
    """Serve."""
    serving, port = sys.argv[1:3]
    sys.argv[1:] = ["--address", "127.0.0.1", "--port", port, "--timeout", str(_TIMEOUT_S * 1000)]
    server: Any = Server()  # type: ignore[no-untyped-call]  # mosec's
    server.append_worker(
        FlorenceWorker,
        max_batch_size=max(2, Serving(**json.loads(serving)).batch_max),
        max_wait_time=_WAIT_MS,
        timeout=_TIMEOUT_S,
        env=[{_SERVING: serving}],
    )
    server.run()


if __name__ == "__main__":
    main()
