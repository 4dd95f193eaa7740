"""When which part is struck: drawn from a seed, so that a run can be had again. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

_DOUBLE_SHARE = 0.2
_FREEZE_SHARE = 0.25
_DOWN_S_MAX = 3.0


class Kind(StrEnum):
    """What kind of part is struck."""

    GATEWAY = "gateway"
    WORKER = "worker"
    BROKER = "broker"
    REDIS = "redis"


class Blow(StrEnum):
    """What is done to it."""

    KILL = "kill"
    FREEZE = "freeze"


@dataclass(frozen=True, slots=True)
class Strike:
    """One part goes down.

    Attributes:
        at_s: When, from the beginning of the run.
        kind: What kind of part.
        index: Which one of its kind.
        blow: SIGKILL, or SIGSTOP for longer than others wait for it.
        down_s: How long it stays down.
    """

    at_s: float
    kind: Kind
    index: int
    blow: Blow
    down_s: float


def plan(
    seed: int, *, counts: Mapping[Kind, int], seconds: float, every_s: float, freeze_s: float
) -> list[Strike]:
    """Return the strikes of a run, in their order.

    Args:
        seed: The same seed gives the same strikes.
        counts: How many parts of each kind there are.
        seconds: Length of the run; the last strike comes early enough to be survived in it.
        every_s: Mean time between two strikes.
        freeze_s: How long a frozen worker stands still.
    """
    chance = random.Random(seed)
    kinds = _in_turn(chance, [kind for kind, count in counts.items() if count])
    strikes: list[Strike] = []
    at_s = every_s / 2
    while at_s < seconds - every_s / 2:
        together = 2 if chance.random() < _DOUBLE_SHARE else 1
        for _ in range(together):
            kind = next(kinds)
            strikes.append(_strike(chance, at_s, kind, counts[kind], freeze_s))
        at_s += every_s * chance.uniform(0.5, 1.5)
    return strikes


def _strike(chance: random.Random, at_s: float, kind: Kind, count: int, freeze_s: float) -> Strike:
    index = chance.randrange(count)
    if kind is Kind.WORKER and chance.random() < _FREEZE_SHARE:
        return Strike(at_s, kind, index, Blow.FREEZE, freeze_s)
    return Strike(at_s, kind, index, Blow.KILL, chance.uniform(0.0, _DOWN_S_MAX))


def _in_turn(chance: random.Random, kinds: Sequence[Kind]) -> Iterator[Kind]:
    # Every kind once before any comes again, so that a short run strikes them all.
    while True:
        yield from chance.sample(kinds, len(kinds))
