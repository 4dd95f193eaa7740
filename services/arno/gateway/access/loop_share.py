"""Share the event loop's time between tenants: the calls of one that fills it wait, unread.

A gateway has one event loop, which works in the order of arrival. A tenant that calls, leaves and
calls again as fast as it can would take all of its time, and each step of another tenant's call
would wait behind hundreds of its own. Quotas by number cannot see it, for no call stays open.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from arno.batching import Debts, RecentTenants
from arno.errors import OverloadedError
from arno.ops.clock import SYSTEM_CLOCK, Clock

_MEASURE_S: Final = 0.1
"""How often the cost of a call is measured."""

_WEIGHT: Final = 0.25
"""Of the newest measurement in the moving average of that cost."""

_BURST_S: Final = 0.1
"""A tenant may spend its share of so long at once."""

_PAUSE_S_MIN: Final = 0.002


class LoopShare:
    """The part of an event loop's time that each tenant takes. Lives in that loop.

    Each call that begins is charged what calls cost on average: the processor time of the loop's
    thread over the number of those that came. Those that wait cost time as well, which must not
    make the calls of others dearer. A tenant within its share never waits, and one that is alone
    has the whole loop.
    """

    def __init__(
        self,
        share: float,
        *,
        recent: RecentTenants,
        wait_s_max: float,
        retry_delay_s: float = 1.0,
        clock: Clock = SYSTEM_CLOCK,
        thread_s: Callable[[], float] = time.thread_time,
    ) -> None:
        """Start with nothing used.

        Args:
            share: Part of the loop's time for one tenant while others are active; 1: no bound.
            recent: Learns from each call which tenants are active.
            wait_s_max: How long a call waits for its turn before it is refused.
            retry_delay_s: Retry delay of a refusal.
            clock: Tells the time.
            thread_s: Returns the processor time of the loop's thread, called on it.
        """
        self._share = share
        self._recent = recent
        self._debts = Debts(share, burst_s=_BURST_S, recent=recent)
        self._wait_s_max = wait_s_max
        self._retry_delay_s = retry_delay_s
        self._clock = clock
        self._thread_s = thread_s
        # By tenant, in the order in which the calls came.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._call_s = 0.0
        self._measured_s = clock.monotonic_s()
        self._busy_before_s: float | None = None
        self._arrived_count = 0

    async def turn(self, tenant: str) -> None:
        """Return when the tenant may begin a call, or a frame: at once within its share.

        Raises:
            OverloadedError: Its calls take more than its share for too long. Retryable.
        """
        now_s = self._clock.monotonic_s()
        self._recent.note(tenant, now_s)
        if self._share >= 1:
            return
        self._measure(now_s)
        self._arrived_count += 1
        if tenant not in self._waiting and not self._debts.rest_s(tenant, now_s):
            self._debts.charge(tenant, self._call_s, now_s)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if tenant not in self._waiting:
            self._waiting[tenant] = deque()
            self._release_later(tenant, now_s)
        self._waiting[tenant].append(turn)
        try:
            async with asyncio.timeout(self._wait_s_max):
                await turn
        except TimeoutError as late:
            raise self._refusal(tenant) from late

    def _release_later(self, tenant: str, now_s: float) -> None:
        rest_s = max(_PAUSE_S_MIN, self._debts.rest_s(tenant, now_s))
        asyncio.get_running_loop().call_later(rest_s, self._release, tenant)

    def _release(self, tenant: str) -> None:
        now_s = self._clock.monotonic_s()
        self._measure(now_s)
        waiting = self._waiting[tenant]
        while waiting:
            # A caller that has left, or was refused, costs no turn.
            if not waiting[0].done():
                if self._debts.rest_s(tenant, now_s):
                    self._release_later(tenant, now_s)
                    return
                self._debts.charge(tenant, self._call_s, now_s)
                waiting[0].set_result(None)
            waiting.popleft()
        del self._waiting[tenant]

    def _measure(self, now_s: float) -> None:
        passed_s = now_s - self._measured_s
        if self._busy_before_s is not None and passed_s < _MEASURE_S:
            return
        busy_s = self._thread_s()
        # After a silence the time is that of checks and probes, and of few calls.
        if self._busy_before_s is not None and self._arrived_count and passed_s < 3 * _MEASURE_S:
            call_s = (busy_s - self._busy_before_s) / self._arrived_count
            self._call_s += _WEIGHT * (call_s - self._call_s)
        self._busy_before_s, self._measured_s, self._arrived_count = busy_s, now_s, 0

    def _refusal(self, tenant: str) -> OverloadedError:
        return OverloadedError(
            f"the gateway is full: calls of the tenant {tenant} take more than its part of the "
            f"event loop's time; allowed while others call: {self._share:g} (tenant_loop_share)",
            retry_delay_s=self._retry_delay_s,
            budget="time of the event loop",
            limit=f"{self._share:g}",
        )
