"""A limit that halves when it proves too high, and feels its way up again."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class AdaptiveLimit:
    """How many may run together on a device whose memory also others use.

    Attributes:
        most: Never more than this.
        calm: So many good steps in a row raise it by one.
        value: The limit now; at least 1.
    """

    most: int
    calm: int = 64
    value: int = field(init=False)
    _good: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Start at the most."""
        self.value = self.most

    def too_high(self, running: int) -> None:
        """Note that so many were too many."""
        self.value = max(1, min(self.value, running) // 2)
        self._good = 0

    def went_well(self) -> None:
        """Note a good step."""
        if self.value == self.most:
            return
        self._good += 1
        if self._good >= self.calm:
            self.value += 1
            self._good = 0
