"""A fixed number of slots that callers wait for, fair by tenant."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from arno.vocabulary import DEFAULT_TENANT


class FairSlots:
    """Slots for short pieces of work, such as receiving a message. Lives in one asyncio loop.

    A slot that becomes free goes to the waiting tenant that uses the fewest, in its own order of
    arrival. One tenant never uses more than its share, so that another that comes finds a free slot
    even where those in use are held for long.
    """

    def __init__(self, count: int, *, tenant_share: float) -> None:
        """Start with all slots free.

        Args:
            count: Number of slots.
            tenant_share: Part of them that one tenant may use, at least one; callers without a
                tenant may use all.
        """
        self.count = count
        self._tenant_max = max(1, int(tenant_share * count))
        self._used: Counter[str] = Counter()
        # In the order in which tenants began to wait.
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def used_count(self) -> int:
        """Slots in use."""
        return self._used.total()

    @asynccontextmanager
    async def hold(self, tenant: str, *, timeout_s: float | None = None) -> AsyncIterator[None]:
        """Use a slot for as long as the block runs.

        Raises:
            TimeoutError: None became free in time.
        """
        await self._acquire(tenant, timeout_s)
        try:
            yield
        finally:
            self._release(tenant)

    async def _acquire(self, tenant: str, timeout_s: float | None) -> None:
        if tenant not in self._waiting and self._may_use(tenant):
            self._used[tenant] += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                # Granted and cancelled in the same turn of the loop.
                self._release(tenant)
            else:
                self._leave(tenant, turn)
            raise

    def _may_use(self, tenant: str) -> bool:
        own_max = self.count if tenant == DEFAULT_TENANT else self._tenant_max
        return self.used_count < self.count and self._used[tenant] < own_max

    def _release(self, tenant: str) -> None:
        self._used[tenant] -= 1
        if not self._used[tenant]:
            del self._used[tenant]
        while ready := [each for each in self._waiting if self._may_use(each)]:
            chosen = min(ready, key=lambda each: self._used[each])
            turn = self._waiting[chosen][0]
            self._leave(chosen, turn)
            # A turn that was cancelled in this turn of the loop has not left by itself yet.
            if not turn.cancelled():
                self._used[chosen] += 1
                turn.set_result(None)
                return

    def _leave(self, tenant: str, turn: asyncio.Future[None]) -> None:
        line = self._waiting.get(tenant, deque())
        if turn not in line:
            return
        line.remove(turn)
        if line:
            self._waiting.move_to_end(tenant)
        else:
            del self._waiting[tenant]
