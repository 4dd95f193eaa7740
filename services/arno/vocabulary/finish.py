"""Name the reasons for which decoding ends."""

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
