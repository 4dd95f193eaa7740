"""When which part of an installation is disturbed, and how: drawn from a seed. Pure.

A schedule can be saved, loaded and cut: `chaos.shrink` looks for the shortest one that still breaks
a promise.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final


class Part(StrEnum):
    """A kind of process of the installation."""

    GATEWAY = "gateway"
    WORKER = "worker"
    BROKER = "broker"
    REDIS = "redis"
    BRIDGE = "bridge"
    """`arno ingest` between two topics; only in the runs of `chaos.bridge`."""


class Nemesis(StrEnum):
    """What is done to a part."""

    KILL = "kill"
    """SIGKILL; the part starts again after a while, with its data."""

    FREEZE = "freeze"
    """SIGSTOP for longer than others wait for it, then SIGCONT."""

    CLOCK = "clock"
    """The wall clock of one process jumps by half a minute for a while, ahead or back."""

    DEAF = "deaf"
    """A one-way partition: the process's requests reach the store, no answer comes back."""

    MUTE = "mute"
    """A one-way partition: nothing that the process sends reaches the store."""

    FULL = "full"
    """The store refuses writes for want of memory for a while."""

    FLUSH = "flush"
    """FLUSHALL while clients are connected: the store is empty from one moment to the next."""

    RESTORE = "restore"
    """The store is killed; another comes up in its place from a copy of the append-only file."""

    SLOW = "slow"
    """Images take seconds to prepare in one worker for a while."""


KILLS_AND_FREEZES: Final = frozenset({Nemesis.KILL, Nemesis.FREEZE})

_TARGETS: Final[Mapping[Nemesis, frozenset[Part]]] = {
    Nemesis.KILL: frozenset(Part),
    Nemesis.FREEZE: frozenset({Part.WORKER, Part.GATEWAY}),
    Nemesis.CLOCK: frozenset({Part.WORKER, Part.GATEWAY}),
    Nemesis.DEAF: frozenset({Part.WORKER, Part.GATEWAY}),
    Nemesis.MUTE: frozenset({Part.WORKER, Part.GATEWAY}),
    Nemesis.FULL: frozenset({Part.REDIS}),
    Nemesis.FLUSH: frozenset({Part.REDIS}),
    Nemesis.RESTORE: frozenset({Part.REDIS}),
    Nemesis.SLOW: frozenset({Part.WORKER}),
}

_DOUBLE_SHARE: Final = 0.2
_KILL_SHARE: Final = 0.7
_DOWN_S_MAX: Final = 3.0


@dataclass(frozen=True, slots=True)
class Disruption:
    """One part is disturbed.

    Attributes:
        at_s: When, from the beginning of the run.
        part: The kind of part.
        index: Which one of its kind.
        nemesis: What is done to it.
        lasts_s: How long until it is undone; for a kill, until the part may start again.
    """

    at_s: float
    part: Part
    index: int
    nemesis: Nemesis
    lasts_s: float

    def __str__(self) -> str:
        return f"{self.at_s:6.1f} s  {self.nemesis} {self.part} {self.index}, {self.lasts_s:.1f} s"


@dataclass(frozen=True, slots=True)
class Pace:
    """How often, how long and with what an installation is disturbed.

    Attributes:
        seconds: Length of the run; the last disruption comes early enough to be survived in it.
        every_s: Mean time between two disruptions.
        freeze_s: How long whatever must outlast others' patience lasts.
        nemeses: What may happen.
    """

    seconds: float
    every_s: float
    freeze_s: float
    nemeses: frozenset[Nemesis] = KILLS_AND_FREEZES


def plan(seed: int, counts: Mapping[Part, int], pace: Pace) -> list[Disruption]:
    """Return the disruptions of a run, in their order.

    Args:
        seed: The same seed gives the same disruptions.
        counts: How many parts of each kind there are.
        pace: How often, how long and with what.
    """
    chance = random.Random(seed)
    parts = _in_turn(chance, [part for part, count in counts.items() if count])
    found: list[Disruption] = []
    at_s = pace.every_s / 2
    while at_s < pace.seconds - pace.every_s / 2:
        together = 2 if chance.random() < _DOUBLE_SHARE else 1
        for _ in range(together):
            part = next(parts)
            nemesis = _nemesis(chance, part, pace.nemeses)
            lasts_s = chance.uniform(0.0, _DOWN_S_MAX)
            if nemesis not in {Nemesis.KILL, Nemesis.FLUSH, Nemesis.RESTORE}:
                lasts_s += pace.freeze_s
            found.append(Disruption(at_s, part, chance.randrange(counts[part]), nemesis, lasts_s))
        at_s += pace.every_s * chance.uniform(0.5, 1.5)
    return found


def save(disruptions: Sequence[Disruption], path: Path) -> None:
    """Write a schedule as JSON."""
    path.write_text(json.dumps([asdict(one) for one in disruptions], indent=1) + "\n")


def load(path: Path) -> list[Disruption]:
    """Read a schedule that ``save`` wrote."""
    return [
        Disruption(**{**facts, "part": Part(facts["part"]), "nemesis": Nemesis(facts["nemesis"])})
        for facts in json.loads(path.read_text())
    ]


def _nemesis(chance: random.Random, part: Part, nemeses: frozenset[Nemesis]) -> Nemesis:
    fitting = sorted(one for one in nemeses if part in _TARGETS[one])
    others = [one for one in fitting if one is not Nemesis.KILL]
    if not others or (Nemesis.KILL in fitting and chance.random() < _KILL_SHARE):
        return Nemesis.KILL
    return chance.choice(others)


def _in_turn(chance: random.Random, parts: Sequence[Part]) -> Iterator[Part]:
    # Every kind once before any comes again, so that a short run disturbs them all.
    while True:
        yield from chance.sample(parts, len(parts))
