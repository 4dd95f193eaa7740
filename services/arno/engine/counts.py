"""Count what an engine does."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from arno.engine.interface import EngineStatistics


@dataclass(slots=True)
class Counts:
    """Counters since the start, and two of the moment; written by the engine's thread only.

    The attributes are those of `EngineStatistics`.
    """

    running_count: int = 0
    step_count: int = 0
    encoded_image_count: int = 0
    reused_image_count: int = 0
    token_count: int = 0
    batch_size_last: int = 0
    failed_batch_count: int = 0

    def encoded(self, fresh: Collection[str], digests: Sequence[str]) -> None:
        """Note that a group is encoded: the images that were new, and the image of each member."""
        self.encoded_image_count += len(fresh)
        self.reused_image_count += len(digests) - len(set(digests) & set(fresh))

    def decoded(self, token_count: int, widest: int) -> None:
        """Note a step: the tokens it gave, and the sequences of its widest batch."""
        self.step_count += 1
        self.token_count += token_count
        self.batch_size_last = widest

    def statistics(self, waiting_count: int) -> EngineStatistics:
        """Return the numbers of this moment."""
        return EngineStatistics(
            waiting_count=waiting_count,
            running_count=self.running_count,
            step_count=self.step_count,
            encoded_image_count=self.encoded_image_count,
            reused_image_count=self.reused_image_count,
            token_count=self.token_count,
            batch_size_last=self.batch_size_last,
            failed_batch_count=self.failed_batch_count,
        )
