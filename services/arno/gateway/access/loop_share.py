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
from dataclasses import dataclass, field
from typing import Final

from arno.errors import OverloadedError
from arno.ops.clock import SYSTEM_CLOCK, Clock

_MEASURE_S: Final = 0.1
"""How often the cost of a call is measured."""

_WEIGHT: Final = 0.25
"""Of the newest measurement in the moving average of that cost."""

_BURST_S: Final = 0.1
"""A tenant may spend its share of so long at once."""

_ACTIVE_S: Final = 5.0
"""A tenant that called so lately counts as active."""

_PAUSE_S_MIN: Final = 0.002


@dataclass(slots=True)
class _Account:
    """What a tenant took of the loop's time, and its calls that wait.

    Attributes:
        owed_s: Time taken that its share has not paid back.
        paid_s: When that was last reckoned, monotonic.
        called_s: When its last call came, monotonic.
        waiting: In the order in which they came.
    """

    owed_s: float = 0.0
    paid_s: float = 0.0
    called_s: float = 0.0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


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
        wait_s_max: float,
        retry_delay_s: float = 1.0,
        clock: Clock = SYSTEM_CLOCK,
        thread_s: Callable[[], float] = time.thread_time,
    ) -> None:
        """Start with nothing used.

        Args:
            share: Part of the loop's time for one tenant while others are active.
            wait_s_max: How long a call waits for its turn before it is refused.
            retry_delay_s: Retry delay of a refusal.
            clock: Tells the time.
            thread_s: Returns the processor time of the loop's thread, called on it.
        """
        self._share = share
        self._wait_s_max = wait_s_max
        self._retry_delay_s = retry_delay_s
        self._clock = clock
        self._thread_s = thread_s
        self._accounts: dict[str, _Account] = {}
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
        self._measure(now_s)
        self._arrived_count += 1
        # Tenants come from the keys file, so there are never more accounts than it ever named.
        account = self._accounts.setdefault(tenant, _Account(paid_s=now_s))
        account.called_s = now_s
        if not account.waiting and self._may_begin(account, now_s):
            self._begin(account)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        account.waiting.append(turn)
        if len(account.waiting) == 1:
            self._release_later(account)
        try:
            async with asyncio.timeout(self._wait_s_max):
                await turn
        except TimeoutError as late:
            raise self._refusal(tenant) from late

    def _may_begin(self, account: _Account, now_s: float) -> bool:
        account.owed_s = max(0.0, account.owed_s - self._share * (now_s - account.paid_s))
        account.paid_s = now_s
        if account.owed_s < self._share * _BURST_S:
            return True
        since_s = now_s - _ACTIVE_S
        others = (each for each in self._accounts.values() if each is not account)
        return not any(each.called_s > since_s for each in others)

    def _begin(self, account: _Account) -> None:
        # Nothing is saved up against a tenant that has the loop for itself.
        account.owed_s = min(account.owed_s + self._call_s, self._share * 2 * _BURST_S)

    def _release_later(self, account: _Account) -> None:
        left_s = account.owed_s / self._share - _BURST_S
        loop = asyncio.get_running_loop()
        loop.call_later(max(_PAUSE_S_MIN, left_s), self._release, account)

    def _release(self, account: _Account) -> None:
        now_s = self._clock.monotonic_s()
        self._measure(now_s)
        while account.waiting:
            turn = account.waiting[0]
            # A caller that has left, or was refused, costs no turn.
            if not turn.done():
                if not self._may_begin(account, now_s):
                    self._release_later(account)
                    return
                self._begin(account)
                turn.set_result(None)
            account.waiting.popleft()

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
