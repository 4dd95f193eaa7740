"""The seeds of scenes for training, and those only for measuring.

Each split owns a range of seeds and the ranges are disjoint, so no scene can be in two splits
whatever the settings of a run.
"""

from __future__ import annotations

import enum

_HELD_OUT_COUNT = 1_000_000
_TRAIN_COUNT = 2**62


class Split(enum.Enum):
    """A range of seeds with one purpose."""

    TEST = range(_HELD_OUT_COUNT)
    VALIDATION = range(_HELD_OUT_COUNT, 2 * _HELD_OUT_COUNT)
    EXAMPLES = range(2 * _HELD_OUT_COUNT, 3 * _HELD_OUT_COUNT)
    TRAIN = range(3 * _HELD_OUT_COUNT, 3 * _HELD_OUT_COUNT + _TRAIN_COUNT)

    def seed(self, index: int) -> int:
        """Return the split's seed number ``index``.

        Raises:
            IndexError: ``index`` lies outside the split, so the seed would belong to another one.
        """
        if index < 0:
            raise IndexError(f"split {self.name} has no seed number {index}: indices start at 0")
        return self.value[index]
