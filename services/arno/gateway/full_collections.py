"""Choose when the garbage collector visits all objects: seldom, and while few calls are open.

A full collection visits every object of the oldest generation and stops all threads meanwhile. The
interpreter starts one when the number of objects has grown by a quarter, which is when calls pile
up: with 1,000 calls open it took 150 to 330 ms (two cores, busy), and delayed refusals by as much.

Three measures bound that. Objects that exist after the start (half of all: modules, classes,
descriptors) are frozen. The interpreter starts no full collection; those of young objects take some
5 ms. One runs here every ``CALM_INTERVAL_S`` while few calls are open, where it takes some 5 ms, or
after ``INTERVAL_S_MAX`` in any case: gRPC leaves a reference cycle of 1 kB with each call, so that
at 600 calls a second 36 MB wait for it at most. Calls of Arno leave none (``interceptor``), because
their images would wait with them.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any, Final

from arno.ops.clock import SYSTEM_CLOCK, Clock

CALM_CALLS_MAX: Final = 32
CALM_INTERVAL_S: Final = 10.0
INTERVAL_S_MAX: Final = 60.0

_LOOK_INTERVAL_S: Final = 1.0
_NEVER: Final = 2**31 - 1


class FullCollections:
    """Runs full collections when they are due. Lives in one asyncio loop."""

    def __init__(
        self,
        open_count: Callable[[], int],
        *,
        clock: Clock = SYSTEM_CLOCK,
        collect: Callable[[], Any] = gc.collect,
    ) -> None:
        """Take how many calls are open, the clock, and what collects."""
        self._open_count = open_count
        self._clock = clock
        self._collect = collect
        self._collected_at_s = clock.monotonic_s()

    def look(self) -> None:
        """Collect if a full collection is due."""
        calm = self._open_count() <= CALM_CALLS_MAX
        interval_s = CALM_INTERVAL_S if calm else INTERVAL_S_MAX
        if self._clock.monotonic_s() - self._collected_at_s >= interval_s:
            self._collect()
            self._collected_at_s = self._clock.monotonic_s()

    async def run(self) -> None:
        """Collect until cancelled. Start it once in a process, after everything else."""
        take_over()
        while True:
            await asyncio.sleep(_LOOK_INTERVAL_S)
            self.look()


def take_over() -> None:
    """Freeze the objects that exist, and disable automatic full collections."""
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)
