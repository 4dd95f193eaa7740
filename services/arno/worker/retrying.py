"""Try again until a backend answers: accepted work is kept while the backend is away."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from prometheus_client import Counter

from arno.errors import BackendUnavailableError

logger = logging.getLogger(__name__)

Value = TypeVar("Value")

_FIRST_PAUSE_S: Final = 0.05
_PAUSE_S_MAX: Final = 1.0


class AbandonedError(Exception):
    """The process leaves: unfinished jobs go back to the bus."""


class Backend:
    """One backend that may be away, as all threads of this process see it. Any thread."""

    def __init__(
        self, name: str, abandon: threading.Event, failures: Counter | None = None
    ) -> None:
        """Name the backend.

        Args:
            name: For the log.
            abandon: Ends all waiting for it.
            failures: Counts the calls that did not reach it.
        """
        self.name = name
        self._abandon = abandon
        self._available = True
        self._failures = failures

    @property
    def available(self) -> bool:
        """Whether the last call reached it."""
        return self._available

    def insist(self, call: Callable[[], Value]) -> Value:
        """Repeat a call until the backend answers, and return what it returns.

        Raises:
            AbandonedError: The process leaves.
        """
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                value = call()
            except BackendUnavailableError as error:
                self._lost(error)
            else:
                self._found()
                return value
            # Spread out, so that the threads of all workers do not come back in step.
            if self._abandon.wait(pause_s * random.uniform(0.5, 1.0)):  # noqa: S311 - no secret
                raise AbandonedError(self.name)
            pause_s = min(2 * pause_s, _PAUSE_S_MAX)

    def _lost(self, error: BackendUnavailableError) -> None:
        if self._failures is not None:
            self._failures.inc()
        if self._available:
            logger.warning("%s is away; jobs in flight are kept: %s", self.name, error)
        self._available = False

    def _found(self) -> None:
        if not self._available:
            logger.info("%s is back", self.name)
        self._available = True
