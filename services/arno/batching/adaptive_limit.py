"""A limit that halves when it proves too high, and feels its way up again."""

from dataclasses import dataclass, field
from typing import Final

_DOUBLINGS_MAX: Final = 6


@dataclass(slots=True)
class AdaptiveLimit:
    """How many may run together on a device whose memory also others use.

    What proves too high costs all that had run: so each time it waits twice as long before it tries
    more, until it is back at the most. Else work that takes long might never come to an end.

    Attributes:
        most: Never more than this.
        calm: So many good steps in a row raise it by one; twice as many after a failure, four times
            as many after two, and so on.
        value: The limit now; at least 1.
    """

    most: int
    calm: int = 64
    value: int = field(init=False)
    _good: int = field(init=False, default=0)
    _failures: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Start at the most."""
        self.value = self.most

    def too_high(self, running: int) -> None:
        """Note that so many were too many."""
        self.value = max(1, min(self.value, running) // 2)
        self._good = 0
        self._failures = min(self._failures + 1, _DOUBLINGS_MAX)

    def went_well(self) -> None:
        """Note a good step."""
        if self.value == self.most:
            self._failures = 0
            return
        self._good += 1
        if self._good >= self.calm << self._failures:
            self.value += 1
            self._good = 0
