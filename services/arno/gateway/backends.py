"""Check at an interval whether the bus and the store answer, and whether the store is full.

While one of them cannot be used, new jobs are refused at once, so that an outage costs neither the
memory of the gateway nor the time of its callers; and the health service reports NOT_SERVING.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from arno.errors import ArnoError, BackendFullError, BackendUnavailableError
from arno.ops.periodic import PeriodicTask

logger = logging.getLogger(__name__)

Ping = Callable[[], Awaitable[None]]


AWAY: Final = "does not answer"
FULL: Final = "is full"


@dataclass(frozen=True, slots=True)
class BackendProblem:
    """Why a backend cannot be used.

    Attributes:
        what: In two or three words that every caller may read: `AWAY` or `FULL`.
        reason: In a sentence for operators, which may name hosts.
    """

    what: str
    reason: str


class BackendMonitor:
    """Pings each backend at an interval. Lives in one asyncio loop; read by any thread."""

    def __init__(
        self,
        pings: Mapping[str, Ping],
        *,
        interval_s: float,
        timeout_s: float,
        on_change: Callable[[], Awaitable[None]],
    ) -> None:
        """Take the backends.

        Args:
            pings: Name of a backend to a function that raises where it does not answer.
            interval_s: Time between two rounds.
            timeout_s: How long an answer may take.
            on_change: Called after a round with another set of problems.
        """
        self._pings = dict(pings)
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._on_change = on_change
        self._problems = dict.fromkeys(pings, BackendProblem(AWAY, "not asked yet"))
        self._asking = PeriodicTask(
            "the check of the backends", self._ask_all, interval_s=interval_s
        )

    @property
    def problems(self) -> Mapping[str, BackendProblem]:
        """The backends that cannot be used, and why."""
        return self._problems

    @property
    def names(self) -> tuple[str, ...]:
        """All backends."""
        return tuple(self._pings)

    def require(self) -> None:
        """Return if all backends could be used when they were last asked.

        Raises:
            BackendUnavailableError: One could not. Retryable after the interval.
        """
        for name, problem in self._problems.items():
            kind = BackendFullError if problem.what == FULL else BackendUnavailableError
            # The reason is in the log only: it names hosts.
            raise kind(
                f"the {name} {problem.what}",
                retry_delay_s=self._interval_s,
                backend=name,
            )

    async def start(self) -> None:
        """Ask once, then at the interval."""
        await self._ask_all()
        self._asking.start(delay_s=self._interval_s)

    async def close(self) -> None:
        """Stop asking. Idempotent."""
        await self._asking.close()

    async def _ask_all(self) -> None:
        answers = await asyncio.gather(*(self._ask(ping) for ping in self._pings.values()))
        found = {
            name: problem
            for name, problem in zip(self._pings, answers, strict=True)
            if problem is not None
        }
        before = {name: problem.what for name, problem in self._problems.items()}
        now = {name: problem.what for name, problem in found.items()}
        self._problems = found
        for name, problem in found.items():
            if before.get(name) != problem.what:
                logger.warning("the %s %s: %s", name, problem.what, problem.reason)
        if now != before:
            if not found:
                logger.info("all backends answer")
            await self._on_change()

    async def _ask(self, ping: Ping) -> BackendProblem | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await ping()
        except ArnoError as error:
            what = FULL if isinstance(error, BackendFullError) else AWAY
            return BackendProblem(what, error.message)
        except TimeoutError:
            return BackendProblem(AWAY, f"no answer within {self._timeout_s:g} s")
        except Exception as fault:
            # Whatever a client raises is the answer of this round; the next one asks again.
            logger.exception("a backend could not be asked")
            return BackendProblem(AWAY, f"could not be asked: {type(fault).__name__}")
        return None
