"""Choose when the interpreter looks for rings among all objects: seldom, and while little is open.

A full collection visits every object that has lived for a while, and nothing else runs meanwhile.
By itself it comes when the objects have grown by a quarter, which is when calls pile up: with 1,000
calls open it took 150 to 330 ms (two cores, busy), so that refusals in an outage came that late.

Three things keep it out of the way. What is there after the start (half of all objects: modules,
classes, descriptors) is never visited again. The interpreter starts none by itself: it still looks
among young objects, in some 5 ms. And one runs here every ``CALM_INTERVAL_S`` while few calls are
open, where it takes some 5 ms, or after ``INTERVAL_S_MAX`` whatever is open: gRPC leaves a ring of
1 kB with each call, so that at 600 calls a second 36 MB wait for it at most. Calls of Arno leave
none (``interceptor``), or their images would wait with them.
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
    """Runs full collections when it is their time. Lives in one asyncio loop."""

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
        """Collect if it is time to."""
        calm = self._open_count() <= CALM_CALLS_MAX
        interval_s = CALM_INTERVAL_S if calm else INTERVAL_S_MAX
        if self._clock.monotonic_s() - self._collected_at_s >= interval_s:
            self._collect()
            self._collected_at_s = self._clock.monotonic_s()

    async def run(self) -> None:
        """Look for ever. To be begun when everything has been started, once in a process."""
        take_over()
        while True:
            await asyncio.sleep(_LOOK_INTERVAL_S)
            self.look()


def take_over() -> None:
    """Leave what there is out of all collections, and let none that is full begin by itself."""
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)
