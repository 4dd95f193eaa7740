"""The one word that the gateway is leaving, for calls that would otherwise not end."""

from __future__ import annotations

import asyncio

from arno.errors import DrainingError


class Drain:
    """Begins once and never ends. Lives in one asyncio loop."""

    def __init__(self) -> None:
        """Start with the gateway staying."""
        self._begun = asyncio.Event()

    @property
    def begun(self) -> bool:
        """Whether the gateway is leaving."""
        return self._begun.is_set()

    def begin(self) -> None:
        """Say that the gateway is leaving. Idempotent."""
        self._begun.set()

    async def wait(self) -> None:
        """Return when the gateway begins to leave."""
        await self._begun.wait()

    def refusal(self) -> DrainingError:
        """Return the error for callers that come too late."""
        return DrainingError("this gateway is shutting down; another one takes the request")
