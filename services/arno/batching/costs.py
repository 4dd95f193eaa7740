"""Predict what work will cost, and learn from what it took.

The unit of cost is one token of one beam: a sequence costs its tokens in all beams, and encoding an
image costs as much as a number of tokens. `Pace` is the cost that a worker completes in a second.
Nothing here is thread-safe.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

Kind = TypeVar("Kind", bound=Hashable)

IMAGE_TOKENS: Final = 200.0
"""Cost of encoding an image until it is measured. For Florence-2 base in float32 on two CPU cores,
an image takes 2 s and a token 9 ms; on a GPU both are about 250 times faster."""

_WEIGHT: Final = 1 / 16
"""How far a new observation moves an estimate: the last few dozen count."""


class AnswerLengths(Generic[Kind]):
    """Predicted tokens of an answer, by the kind of question."""

    def __init__(self, expected: Mapping[Kind, int]) -> None:
        """Start from guesses; every kind that is asked for later needs one."""
        self._expected: dict[Kind, float] = dict(expected)

    def expect(self, kind: Kind, limit: int | None = None) -> int:
        """Return the predicted tokens of an answer, at least 1 and never more than its limit."""
        tokens = max(1, round(self._expected[kind]))
        return tokens if limit is None else max(1, min(tokens, limit))

    def cost(self, kind: Kind, *, beams: int, limit: int | None = None) -> float:
        """Return the predicted cost of decoding an answer."""
        return float(self.expect(kind, limit) * beams)

    def learn(self, kind: Kind, token_count: int) -> None:
        """Note the length of an answer that came to its own end, or to its limit."""
        self._expected[kind] += _WEIGHT * (token_count - self._expected[kind])


@dataclass(slots=True)
class ImagePrice:
    """Cost of encoding an image on this device, in tokens of one beam.

    Attributes:
        image_s: Seconds per image; None until one is measured.
        token_s: Seconds per token of one beam, in batches of whatever width ran.
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
        """Note how long encoding this many images took."""
        self.image_s = _moved(self.image_s, took_s / count)

    def learn_tokens(self, count: int, took_s: float) -> None:
        """Note how long a step took that decoded this many tokens, counted over all beams."""
        self.token_s = _moved(self.token_s, took_s / count)


@dataclass(slots=True)
class Pace:
    """Cost per second, measured from outside: by what ends while work waits.

    Measured from one end to another. From where the work began it would be too slow: a batch of
    eight that takes a second to its first end has ended one in that second, and the seven others a
    moment later. So the first ends after idle time only set the clock, and an observation closes
    when it is looked at, once all ends of a moment are in.

    Attributes:
        cost_per_s: The estimate; set it to where the estimate starts.
        window_s: Time observed before the estimate moves.
        look_count: How often the estimate has moved.
    """

    cost_per_s: float
    window_s: float = 2.0
    look_count: int = field(init=False, default=0)
    _busy: bool = field(init=False, default=False)
    _began_s: float | None = field(init=False, default=None)
    _ended_s: float | None = field(init=False, default=None)
    _done: float = field(init=False, default=0.0)

    def busy(self) -> None:
        """Look while work waits; several looks a second group what ends together."""
        self._busy = True
        if self._ended_s is None:
            return
        if self._began_s is None:
            self._began_s, self._ended_s, self._done = self._ended_s, None, 0.0
        elif self._ended_s - self._began_s >= self.window_s:
            self._observe(self._ended_s - self._began_s)
            self._began_s, self._ended_s, self._done = self._ended_s, None, 0.0

    def idle(self) -> None:
        """Note that no work waits: idle time says nothing about the pace."""
        self._busy, self._began_s, self._ended_s, self._done = False, None, None, 0.0

    def done(self, cost: float, now_s: float) -> None:
        """Note that work of this cost has ended."""
        if self._busy:
            self._done += cost
            self._ended_s = now_s

    def _observe(self, elapsed_s: float) -> None:
        # A longer window counts for more, so that one slow job has its full weight. The first
        # windows count fully, because the initial guess is worth nothing against them.
        self.look_count += 1
        trust = 1.0 - (1.0 - _WEIGHT) ** (elapsed_s / self.window_s)
        trust = max(trust, 1.0 / self.look_count)
        self.cost_per_s += trust * (self._done / elapsed_s - self.cost_per_s)


def _moved(estimate: float | None, observed: float) -> float:
    return observed if estimate is None else estimate + _WEIGHT * (observed - estimate)
