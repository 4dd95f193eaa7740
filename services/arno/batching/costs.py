"""Predict what work will cost, and learn from what it came to.

The unit of cost is the token of one beam: what a sequence takes of the decoder's time is its tokens
in all beams, and encoding an image takes as long as so many of them. `Pace` turns cost into
seconds. Nothing here is thread-safe.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

Kind = TypeVar("Kind", bound=Hashable)

IMAGE_TOKENS: Final = 200.0
"""What encoding an image costs until it is measured. For Florence-2 base in float32 on two CPU
cores it is 2 s, at 9 ms for a token; on a GPU both are about 250 times faster."""

_WEIGHT: Final = 1 / 16
"""How far a new observation moves an estimate: the last dozens count."""


class AnswerLengths(Generic[Kind]):
    """How many tokens answers take, by the kind of question."""

    def __init__(self, expected: Mapping[Kind, int]) -> None:
        """Start from guesses; every kind that will be asked for needs one."""
        self._expected: dict[Kind, float] = dict(expected)

    def expect(self, kind: Kind, limit: int | None = None) -> int:
        """Return the predicted tokens of an answer, at least 1 and never more than its limit."""
        tokens = max(1, round(self._expected[kind]))
        return tokens if limit is None else max(1, min(tokens, limit))

    def cost(self, kind: Kind, *, beams: int, limit: int | None = None) -> float:
        """Return the predicted cost of decoding an answer."""
        return float(self.expect(kind, limit) * beams)

    def learn(self, kind: Kind, token_count: int) -> None:
        """Note how long an answer was that came to its own end, or to its limit."""
        self._expected[kind] += _WEIGHT * (token_count - self._expected[kind])


@dataclass(slots=True)
class ImagePrice:
    """What encoding an image costs on this device, in tokens of one beam.

    Attributes:
        image_s: Seconds that an image takes; None until one is measured.
        token_s: Seconds that a token of one beam takes, in batches as they come.
    """

    image_s: float | None = None
    token_s: float | None = None

    @property
    def tokens(self) -> float:
        """The price."""
        if not self.image_s or not self.token_s:
            return IMAGE_TOKENS
        return self.image_s / self.token_s

    def learn_images(self, count: int, took_s: float) -> None:
        """Note that so many images were encoded."""
        self.image_s = _moved(self.image_s, took_s / count)

    def learn_tokens(self, count: int, took_s: float) -> None:
        """Note a step that gave so many tokens, those of all beams counted."""
        self.token_s = _moved(self.token_s, took_s / count)


@dataclass(slots=True)
class Pace:
    """How much work gets done in a second, as seen from outside: by what ends while work waits.

    Attributes:
        cost_per_s: The estimate, and what it starts from.
        window_s: How long is watched before the estimate moves.
        look_count: How often it has moved.
    """

    cost_per_s: float
    window_s: float = 2.0
    look_count: int = field(init=False, default=0)
    _began_s: float | None = field(init=False, default=None)
    _done: float = field(init=False, default=0.0)

    def busy(self, now_s: float) -> None:
        """Note that there is work in hand; call it when work comes."""
        if self._began_s is None:
            self._began_s = now_s

    def idle(self) -> None:
        """Note that nothing is in hand: time spent waiting for work says nothing of the pace."""
        self._began_s, self._done = None, 0.0

    def done(self, cost: float, now_s: float) -> None:
        """Note that work of this cost has ended."""
        if self._began_s is None:
            return
        self._done += cost
        elapsed_s = now_s - self._began_s
        if elapsed_s >= self.window_s:
            # A longer look counts for more, so that one slow job weighs what it is worth; the first
            # ones count in full, for the guess is worth nothing against them.
            self.look_count += 1
            trust = 1.0 - (1.0 - _WEIGHT) ** (elapsed_s / self.window_s)
            trust = max(trust, 1.0 / self.look_count)
            self.cost_per_s += trust * (self._done / elapsed_s - self.cost_per_s)
            self._began_s, self._done = now_s, 0.0

    def seconds(self, cost: float) -> float:
        """Return how long work of this cost will take."""
        return cost / self.cost_per_s


def _moved(estimate: float | None, observed: float) -> float:
    return observed if estimate is None else estimate + _WEIGHT * (observed - estimate)
