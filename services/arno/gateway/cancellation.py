"""Ask for jobs to be stopped while nobody waits for the asking: the caller is gone already."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from arno.errors import ArnoError
from arno.results.ports import JobStore

logger = logging.getLogger(__name__)

_CLOSE_S: Final = 3.0


class Canceller:
    """Sends cancellations in the background. Lives in one asyncio loop."""

    def __init__(self, store: JobStore) -> None:
        """Take the started store."""
        self._store = store
        self._pending: set[asyncio.Task[None]] = set()
        self._sent_count = 0

    @property
    def sent_count(self) -> int:
        """Cancellations asked for since the start."""
        return self._sent_count

    def cancel_soon(self, job_id: str) -> None:
        """Ask for a job to be stopped; return at once."""
        self._sent_count += 1
        pump = asyncio.create_task(self._cancel(job_id))
        self._pending.add(pump)
        pump.add_done_callback(self._pending.discard)

    async def close(self) -> None:
        """Send what was asked for; a store that hangs holds up the leaving for seconds only."""
        if not self._pending:
            return
        _, late = await asyncio.wait(self._pending, timeout=_CLOSE_S)
        for pump in late:
            pump.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        if late:
            logger.warning("%d cancellations were not sent in time", len(late))

    async def _cancel(self, job_id: str) -> None:
        try:
            await self._store.request_cancel(job_id)
        except ArnoError as error:
            # Its deadline ends the job all the same.
            logger.warning("could not cancel a job: %s", error, extra={"job_id": job_id})
