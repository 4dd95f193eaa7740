"""How much a worker holds at once: the back-pressure of every bus."""

from __future__ import annotations

_RESERVING_LIMIT = 16


class Window:
    """A bound on unfinished deliveries: full at the limit, open again at half of it.

    The distance keeps a consumer from pausing and resuming with every record. There is one number,
    the count of unfinished deliveries, and it is looked at in every poll, so no missed event can
    leave a consumer paused.
    """

    __slots__ = ("_limit", "paused")

    def __init__(self, limit: int) -> None:
        """Take the most deliveries that may be unfinished, at least 1."""
        self._limit = limit
        self.paused = False

    def look(self, unfinished_count: int) -> bool:
        """Decide whether to pause, from the count of this moment."""
        if unfinished_count >= self._limit:
            self.paused = True
        elif unfinished_count <= self._limit // 2:
            self.paused = False
        return self.paused

    def share(self, line_count: int) -> int:
        """Return how many unfinished deliveries one of so many lines may have, at least 1."""
        return -(-self._limit // max(1, line_count))

    def unreserved(self, unfinished_count: int) -> int:
        """Return how many more deliveries fit from lines that have some already.

        A quarter is kept for lines without any. A small window is too dear for that.
        """
        reserved = self._limit // 4 if self._limit >= _RESERVING_LIMIT else 0
        return max(0, self._limit - reserved - unfinished_count)

    def crowded(self, unfinished_count: int) -> bool:
        """Say whether so much is unfinished that who comes next should be chosen with care."""
        return unfinished_count > self._limit // 4

    def room(self, unfinished_count: int) -> int:
        """Return how many more deliveries fit; 0 while paused."""
        return 0 if self.look(unfinished_count) else self._limit - unfinished_count
