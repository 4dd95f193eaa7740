"""Carry what the engine decoded to the parsers, with the reason for which it ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class FinishReason(StrEnum):
    """Why a sequence stopped. Only STOP says that the model itself was finished."""

    STOP = "STOP"
    """The model wrote its end token."""

    LENGTH = "LENGTH"
    """The token limit or the last position was reached: the answer is a prefix."""

    LOOP = "LOOP"
    """The output had begun to repeat itself and was cut."""

    DEADLINE = "DEADLINE"
    """The request's time was over: the answer is a prefix."""

    CANCELLED = "CANCELLED"
    """The caller went away: the answer is a prefix."""

    ERROR = "ERROR"
    """Decoding failed: whatever was decoded before is kept."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The tokens of one finished (or cut) sequence: the best beam, in order.

    Begin, end and padding tokens may be among them and are passed over.

    Attributes:
        token_ids: What was generated.
        logprobs: The natural logarithm of each token's probability, at most 0; 0 for tokens that
            the decoder forced. Empty where the engine keeps none: then nothing has a score.
        finish_reason: Why decoding ended.
        deviations: How far, in bins, the model expected each location token's coordinate to be
            from the token's bin: the mean absolute deviation over its probabilities of all bins. 0
            for tokens that are no location. Empty where the engine computes none: then no place
            has a score.
        end_chances: The probability, 0..1, that the model gave to the end of the answer in place of
            each token; 0 for the first, which is forced. Empty where the engine keeps none: then
            nothing says how sure it was that there is a region.
    """

    token_ids: Sequence[int]
    logprobs: Sequence[float] = ()
    finish_reason: FinishReason = FinishReason.STOP
    deviations: Sequence[float] = ()
    end_chances: Sequence[float] = ()

    def __post_init__(self) -> None:
        """Refuse numbers that belong to other tokens.

        Raises:
            ValueError: There are some, but not one for each token.
        """
        if self.logprobs and len(self.logprobs) != len(self.token_ids):
            raise ValueError(f"{len(self.logprobs)} log-probs for {len(self.token_ids)} tokens")
        if self.deviations and len(self.deviations) != len(self.token_ids):
            raise ValueError(f"{len(self.deviations)} deviations for {len(self.token_ids)} tokens")
        if self.end_chances and len(self.end_chances) != len(self.token_ids):
            raise ValueError(f"{len(self.end_chances)} end chances, {len(self.token_ids)} tokens")
