"""Break one rule of delivery on purpose, to see that a test finds it.

Nothing here is in the product: a mutation patches the process that asks for it, which is a child of
a test (``python -m chaos.mutations MUTATION SETTINGS GATE`` is a worker) or the test itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from arno.engine import create_engine
from arno.results import worker_store
from arno.results.scripts import script_text
from arno.results.waiting import WakeUpLoop
from arno.worker.job import Job
from arno.worker.main import run_worker
from arno.worker.prepare_queue import PrepareQueue
from arno.worker.settings import WorkerSettings
from support.gated_engine import GatedEngine

NONE = "none"
COMMIT_BEFORE_STORE = "commit-before-store"
NO_FENCING = "no-fencing"
WAKE_UPS_ONLY = "wake-ups-only"


def apply(mutation: str, patch: pytest.MonkeyPatch) -> None:
    """Break the rule in this process."""
    _MUTATIONS[mutation](patch)


def _nothing(patch: pytest.MonkeyPatch) -> None:
    """Leave everything as it is: what the other tests of a rule are compared with."""


def _commit_before_store(patch: pytest.MonkeyPatch) -> None:
    put = PrepareQueue.put

    def done_when_delivered(self: PrepareQueue, job: Job) -> None:
        job.done()
        put(self, job)

    patch.setattr(PrepareQueue, "put", done_when_delivered)


def _no_fencing(patch: pytest.MonkeyPatch) -> None:
    fences = {
        "finish": "if over(state) then",
        "progress": "if number < tonumber(redis.call('HGET', job, 'attempt_count')) then",
    }

    def unfenced(name: str) -> str:
        text = script_text(name)
        if name not in fences:
            return text
        assert fences[name] in text, f"{name}.lua has changed: this mutation breaks nothing"
        return text.replace(fences[name], "if false then")

    patch.setattr(worker_store, "script_text", unfenced)


def _wake_ups_only(patch: pytest.MonkeyPatch) -> None:
    # As pub/sub does it: only what is said while one listens is heard, and nobody looks after it.
    original = WakeUpLoop._read

    async def read(self: WakeUpLoop) -> None:
        self._last_seen = b"$"
        await original(self)

    async def sweep(self: WakeUpLoop) -> None:
        self._swept_at_s = self._clock.monotonic_s()

    patch.setattr(WakeUpLoop, "_read", read)
    patch.setattr(WakeUpLoop, "_sweep", sweep)


_MUTATIONS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    NONE: _nothing,
    COMMIT_BEFORE_STORE: _commit_before_store,
    NO_FENCING: _no_fencing,
    WAKE_UPS_ONLY: _wake_ups_only,
}


def main() -> int:
    """Run a worker whose rule is broken."""
    apply(sys.argv[1], pytest.MonkeyPatch())
    settings = WorkerSettings.model_validate_json(Path(sys.argv[2]).read_text())
    gate = Path(sys.argv[3])
    return run_worker(settings, make_engine=lambda s: GatedEngine(create_engine(s), gate))


if __name__ == "__main__":
    sys.exit(main())
