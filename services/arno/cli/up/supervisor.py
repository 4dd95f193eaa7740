"""Keep a group of child processes alive: start in order, restart with backoff, stop in reverse.

It does not depend on what the children do. One thread, one loop; time comes from `time.monotonic`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from arno.cli.up.child import Child
from arno.errors import ArnoError, Code
from arno.ops.signals import SignalEvent

_TICK_S: Final = 0.1
_BACKOFF_S_MIN: Final = 0.2
_BACKOFF_S_MAX: Final = 5.0
_DEATHS_MAX: Final = 5
"""This many deaths within the window are a crash loop; another restart would only hide it."""

_DEATHS_WINDOW_S: Final = 60.0
_FIRST_STARTS_MAX: Final = 2
"""A child that never became ready is broken rather than unlucky, and a user waits for it."""

_EXIT_USAGE: Final = 2


class ChildFailedError(ArnoError):
    """A child process cannot be kept alive, or did not become ready."""

    code = Code.INTERNAL
    reason = "CHILD_FAILED"


@dataclass(slots=True)
class _Life:
    child: Child
    ready: bool = False
    ever_ready: bool = False
    restart_at_s: float | None = None
    deaths_s: deque[float] = field(default_factory=lambda: deque(maxlen=_DEATHS_MAX))


@dataclass(frozen=True, slots=True)
class Announcements:
    """Callbacks for what happens to the children.

    Attributes:
        ready: A child became ready.
        died: A child ended by itself; it is started again after the given seconds.
        warned: A child logged a warning or worse.
    """

    ready: Callable[[Child], None]
    died: Callable[[Child, float], None]
    warned: Callable[[Child, str], None]


class Supervisor:
    """Owns the children from the first start to the last stop. `request_stop` is signal-safe."""

    def __init__(self, announcements: Announcements) -> None:
        """Keep the callbacks; there are no children yet."""
        self._announce = announcements
        self._lives: list[_Life] = []
        self._stopping = SignalEvent()

    @property
    def stopping(self) -> bool:
        """Whether a stop was requested."""
        return self._stopping.is_set()

    def request_stop(self) -> None:
        """Make `start` and `watch` return soon."""
        self._stopping.set()

    def start(self, children: Sequence[Child], *, timeout_s: float) -> None:
        """Start these together, after those started before, and wait until all are ready.

        Raises:
            ChildFailedError: One keeps dying, or is not ready in time; the message has its log.
        """
        fresh = [_Life(child) for child in children]
        self._lives += fresh
        for life in fresh:
            life.child.start()
        deadline_s = time.monotonic() + timeout_s
        while not self.stopping and not all(life.ready for life in fresh):
            late = next((life for life in fresh if not life.ready), None)
            if late is not None and time.monotonic() > deadline_s:
                raise _failure(late.child, f"was not ready within {timeout_s:g} s")
            self._tick()

    def watch(self) -> None:
        """Keep the children alive until a stop is requested.

        Raises:
            ChildFailedError: One keeps dying; the message has the end of its log.
        """
        while not self.stopping:
            self._tick()

    def stop(self, *, grace_s: float, hurry: Callable[[], bool]) -> list[str]:
        """End all, the last started first; return the names of those that had to be killed.

        Args:
            grace_s: How long each may take after SIGTERM.
            hurry: Returns whether to kill what is left without waiting.
        """
        killed = []
        for life in reversed(self._lives):
            child = life.child
            child.terminate()
            deadline_s = time.monotonic() + grace_s
            while child.running and time.monotonic() < deadline_s and not hurry():
                self._tell_warnings(life)
                time.sleep(_TICK_S / 4)
            if child.running:
                killed.append(child.spec.name)
            child.kill()
        self._lives.clear()
        return killed

    def _tick(self) -> None:
        for life in self._lives:
            self._tell_warnings(life)
            if life.restart_at_s is not None:
                self._restart(life)
            elif not life.child.running:
                self._bury(life)
            elif not life.ready and life.child.spec.ready():
                life.ready = life.ever_ready = True
                self._announce.ready(life.child)
        self._stopping.wait(_TICK_S)

    def _bury(self, life: _Life) -> None:
        now_s = time.monotonic()
        life.ready = False
        life.deaths_s.append(now_s)
        code = life.child.exit_code
        if code == _EXIT_USAGE and not life.ever_ready:
            raise _failure(life.child, "cannot start with these settings")
        count_max = _DEATHS_MAX if life.ever_ready else _FIRST_STARTS_MAX
        recent = [death_s for death_s in life.deaths_s if now_s - death_s < _DEATHS_WINDOW_S]
        if len(recent) >= count_max:
            raise _failure(life.child, f"ended {len(recent)} times (exit code {code})")
        pause_s = min(_BACKOFF_S_MIN * 2 ** (len(recent) - 1), _BACKOFF_S_MAX)
        life.restart_at_s = now_s + pause_s
        self._announce.died(life.child, pause_s)

    def _restart(self, life: _Life) -> None:
        if life.restart_at_s is not None and time.monotonic() >= life.restart_at_s:
            life.restart_at_s = None
            life.child.start()

    def _tell_warnings(self, life: _Life) -> None:
        for warning in life.child.new_warnings():
            self._announce.warned(life.child, warning)


def _failure(child: Child, what: str) -> ChildFailedError:
    lines = "".join(f"\n    {line}" for line in child.tail())
    name = child.spec.name
    return ChildFailedError(
        f"{name} {what}; the end of {child.log}:{lines or ' it is empty'}", child=name
    )
