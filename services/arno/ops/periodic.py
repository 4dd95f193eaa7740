"""A coroutine that is run again and again, at an interval, until it is closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from arno.ops.cancellation import raise_if_cancelled

logger = logging.getLogger(__name__)


class PeriodicTask:
    """Runs one function at an interval. Lives in one asyncio loop.

    An exception of the function is logged, and the next round runs all the same.
    """

    def __init__(self, name: str, run: Callable[[], Awaitable[None]], *, interval_s: float) -> None:
        """Take what to run.

        Args:
            name: Names the function in the log.
            run: Called once a round.
            interval_s: Time from the end of a round to the start of the next.
        """
        self._name = name
        self._run = run
        self._interval_s = interval_s
        self._task: asyncio.Task[None] | None = None

    def start(self, *, delay_s: float = 0.0) -> None:
        """Begin; the first round runs after `delay_s`."""
        self._task = asyncio.create_task(self._run_for_ever(delay_s))

    async def close(self) -> None:
        """Stop, and return once a round in progress has been cancelled. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run_for_ever(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        while True:
            try:
                await self._run()
            except Exception:
                logger.exception("%s failed; it is tried again", self._name)
            # Else `close` would wait for ever for a task that a round has kept from ending.
            raise_if_cancelled()
            await asyncio.sleep(self._interval_s)
