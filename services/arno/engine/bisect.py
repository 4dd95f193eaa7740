"""Run a batch so that one poisonous member fails alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from arno.engine.device import clear_frames, require_device

Member = TypeVar("Member")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class Survivor(Generic[Member, Outcome]):
    """A member of a batch that ran."""

    member: Member
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Casualty(Generic[Member]):
    """A member that failed by itself."""

    member: Member
    fault: Exception


@dataclass(frozen=True, slots=True)
class Bisected(Generic[Member, Outcome]):
    """The outcome of every member of a batch.

    Attributes:
        survivors: Members that ran, in order.
        casualties: Members that failed, in order.
        failed_batch_count: Batches that raised.
    """

    survivors: tuple[Survivor[Member, Outcome], ...]
    casualties: tuple[Casualty[Member], ...] = ()
    failed_batch_count: int = 0


def run_bisecting(
    members: Sequence[Member], run: Callable[[Sequence[Member]], Sequence[Outcome]]
) -> Bisected[Member, Outcome]:
    """Run a batch; if it raises, run its halves instead, down to single members.

    A batch too large for the device's memory succeeds in parts, too.

    Raises:
        DeviceLostError: The device does not work any more.
    """
    if not members:
        return Bisected(())
    try:
        outcomes = run(members)
    except Exception as fault:  # noqa: BLE001 - whatever it is, the other members must not share it
        require_device(fault)
        clear_frames(fault)
        if len(members) == 1:
            return Bisected((), (Casualty(members[0], fault),), 1)
    else:
        pairs = zip(members, outcomes, strict=True)
        return Bisected(tuple(Survivor(member, outcome) for member, outcome in pairs))
    middle = len(members) // 2
    first, second = run_bisecting(members[:middle], run), run_bisecting(members[middle:], run)
    return Bisected(
        first.survivors + second.survivors,
        first.casualties + second.casualties,
        first.failed_batch_count + second.failed_batch_count + 1,
    )
