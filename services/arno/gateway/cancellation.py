"""Ask for jobs to be stopped while nobody waits for the asking: the caller is gone already."""

from __future__ import annotations

import logging
from collections.abc import Callable

from arno.errors import ArnoError
from arno.gateway.errands import Errands
from arno.results.gateway_store import GatewayStore

logger = logging.getLogger(__name__)


class Canceller:
    """Sends cancellations in the background. Lives in one asyncio loop."""

    def __init__(
        self, store: GatewayStore, errands: Errands, *, on_sent: Callable[[], None]
    ) -> None:
        """Take the started store, what runs in the background, and whom to tell of each."""
        self._store = store
        self._errands = errands
        self._on_sent = on_sent

    def cancel_soon(self, job_id: str) -> None:
        """Ask for a job to be stopped; return at once."""
        self._on_sent()
        self._errands.send(self._cancel(job_id))

    async def _cancel(self, job_id: str) -> None:
        try:
            await self._store.request_cancel(job_id)
        except ArnoError as error:
            # Its deadline ends the job all the same.
            logger.warning("could not cancel a job: %s", error, extra={"job_id": job_id})
