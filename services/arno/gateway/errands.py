"""What is left to do for callers that have gone: nobody waits for it, and it is not forgotten."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

logger = logging.getLogger(__name__)

_CLOSE_S: Final = 3.0


class Errands:
    """Runs in the background. Lives in one asyncio loop."""

    def __init__(self) -> None:
        """Start with nothing to do."""
        self._pending: set[asyncio.Task[None]] = set()

    def send(self, errand: Coroutine[Any, Any, None]) -> None:
        """Begin it, and return at once. It says itself what goes wrong."""
        pump = asyncio.create_task(errand)
        self._pending.add(pump)
        pump.add_done_callback(self._pending.discard)

    async def close(self) -> None:
        """Finish what was begun; a store that hangs holds up the leaving for seconds only."""
        if not self._pending:
            return
        _, late = await asyncio.wait(self._pending, timeout=_CLOSE_S)
        for pump in late:
            pump.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        if late:
            logger.warning("%d cancellations and releases were not sent in time", len(late))
