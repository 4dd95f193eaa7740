"""How one engine divides its time between taking sequences in and decoding those that are in."""

from dataclasses import dataclass
from enum import Enum


class Stage(Enum):
    """What an engine can do next."""

    ADMIT = "admit"
    DECODE = "decode"


@dataclass(slots=True)
class StageShare:
    """Taking in goes first, for the wider the batch, the cheaper each of its tokens.

    But what decodes already may not stand still for it: time spent on taking in is owed to
    decoding, in a fixed proportion, and paid back before more is taken in.

    Attributes:
        decode_share: Part of the time that decoding gets while both have work; from 0 to below 1.
        owed_s: What decoding is to be given before more is taken in.
    """

    decode_share: float
    owed_s: float = 0.0

    def choose(self, *, can_admit: bool, can_decode: bool) -> Stage | None:
        """Return what is next; None where there is nothing to do."""
        if not can_decode:
            self.owed_s = 0.0  # to nobody
            return Stage.ADMIT if can_admit else None
        return Stage.ADMIT if can_admit and self.owed_s <= 0.0 else Stage.DECODE

    def charge(self, stage: Stage, spent_s: float) -> None:
        """Note how long a stage took."""
        if stage is Stage.ADMIT:
            self.owed_s += spent_s * self.decode_share / (1.0 - self.decode_share)
        else:
            self.owed_s = max(0.0, self.owed_s - spent_s)
