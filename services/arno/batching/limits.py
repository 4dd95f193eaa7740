"""Limits that adapt to the device: sequences that run together, and time for each phase."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

_DOUBLINGS_MAX: Final = 6


@dataclass(slots=True)
class AdaptiveLimit:
    """How many sequences may run together on a device whose memory other processes use, too.

    The limit halves when it proves too high, and then rises again by ones. A limit that is too high
    costs the work of all that ran, so each failure doubles the calm that a rise needs, until the
    limit is back at its maximum. Otherwise long work might never end.

    Attributes:
        maximum: The limit is never higher.
        calm: Good steps in a row that raise the limit by one; twice as many after one failure, four
            times as many after two, and so on.
        value: The limit now; at least 1.
    """

    maximum: int
    calm: int = 64
    value: int = field(init=False)
    _good: int = field(init=False, default=0)
    _failures: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Start at the maximum."""
        self.value = self.maximum

    def too_high(self, running: int) -> None:
        """Note that this many sequences were too many."""
        self.value = max(1, min(self.value, running) // 2)
        self._good = 0
        self._failures = min(self._failures + 1, _DOUBLINGS_MAX)

    def went_well(self) -> None:
        """Note a good step."""
        if self.value == self.maximum:
            self._failures = 0
            return
        self._good += 1
        if self._good >= self.calm << self._failures:
            self.value += 1
            self._good = 0


class Phase(Enum):
    """What an engine can do next."""

    ADMIT = "admit"
    DECODE = "decode"


@dataclass(slots=True)
class PhaseShare:
    """Divides an engine's time between admitting sequences and decoding those that run.

    Admission goes first, for the wider the batch, the cheaper each of its tokens. But running
    sequences must not stand still for it: time spent on admission is owed to decoding, and paid
    back before the next admission. A batch that is half full is owed half of a full one's share.

    Attributes:
        decode_share: Part of the time that decoding gets while both have work and the batch is
            full; from 0 to below 1.
        owed_s: Time that decoding gets before the next admission.
    """

    decode_share: float
    owed_s: float = 0.0

    def choose(self, *, can_admit: bool, can_decode: bool) -> Phase | None:
        """Return the next phase; None where there is nothing to do."""
        if not can_decode:
            self.owed_s = 0.0  # a debt to no sequence
            return Phase.ADMIT if can_admit else None
        return Phase.ADMIT if can_admit and self.owed_s <= 0.0 else Phase.DECODE

    def charge(self, phase: Phase, spent_s: float, *, filled: float = 1.0) -> None:
        """Note how long a phase took.

        Args:
            phase: Which.
            spent_s: Seconds.
            filled: Part of the batch's slots that hold sequences.
        """
        if phase is Phase.ADMIT:
            share = self.decode_share * filled
            self.owed_s += spent_s * share / (1.0 - share)
        else:
            self.owed_s = max(0.0, self.owed_s - spent_s)
