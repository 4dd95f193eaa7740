"""Work in a thread of its own, from ``with`` to the end of it."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Self


class Background(ABC):
    """Runs ``work`` in a thread until it is closed; what went wrong there is raised here."""

    def __init__(self, name: str) -> None:
        """Take the thread's name; it starts with the ``with``."""
        self.stopping = threading.Event()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name)

    @abstractmethod
    def work(self) -> None:
        """Do it until ``stopping`` is set."""

    def close(self) -> None:
        """Ask it to stop, wait until it has, and raise what went wrong. Idempotent."""
        self.stopping.set()
        self._thread.join()
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        try:
            self.work()
        # Raised again by whoever closes it.
        except BaseException as fault:  # noqa: BLE001
            self._fault = fault
