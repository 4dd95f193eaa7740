"""Where sequences are before they decode: queued, with their image encoded, ready to join."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch

from arno.batching import Budget, Clock, LanePolicy, Scheduler
from arno.engine.decoding.pool import BatchKey, DecodePool
from arno.engine.image_encoding import EncodedImages
from arno.engine.image_stage import ImageStage
from arno.engine.live_sequences import LiveSequence
from arno.errors import LimitExceededError


@dataclass(frozen=True, slots=True)
class Member:
    """A sequence whose image is encoded.

    Attributes:
        sequence: It.
        features: Its image, [V, D].
        key: The batch that it belongs to.
    """

    sequence: LiveSequence
    features: torch.Tensor
    key: BatchKey

    @property
    def sequence_id(self) -> str:
        """The sequence's name."""
        return self.sequence.request.sequence_id

    def alone(self) -> Member:
        """Return it as the member of a batch of its own."""
        return Member(self.sequence, self.features, replace(self.key, alone=self.sequence_id))


@dataclass(frozen=True, slots=True)
class Encoded:
    """What became of a group whose images are encoded.

    Attributes:
        members: Ready to join a batch.
        faults: Those that cannot go on, and why.
        images: What was done for it.
    """

    members: tuple[Member, ...]
    faults: tuple[tuple[LiveSequence, Exception], ...]
    images: EncodedImages


class WaitingRoom:
    """The queue, those whose images are being encoded, and those that are ready.

    The engine's thread only.
    """

    def __init__(self, images: ImageStage, positions: int, clock: Clock) -> None:
        """Start empty.

        Args:
            images: Encodes them.
            positions: How long image and prompt may be together.
            clock: For deadlines and ageing.
        """
        self._images = images
        self._positions = positions
        self._clock = clock
        self._scheduler = Scheduler(LanePolicy())
        self._queued: dict[str, LiveSequence] = {}
        self._encoding: dict[str, LiveSequence] = {}
        self._ready: deque[Member] = deque()

    @property
    def queued_count(self) -> int:
        """Sequences whose turn has not come."""
        return len(self._scheduler)

    @property
    def taken(self) -> list[LiveSequence]:
        """Those that have left the queue: being encoded, or ready."""
        return [*self._encoding.values(), *(member.sequence for member in self._ready)]

    @property
    def encoding(self) -> bool:
        """Whether a group's images are being encoded."""
        return self._images.busy

    @property
    def overlaps(self) -> bool:
        """Whether they are encoded beside decoding."""
        return self._images.overlaps

    def enter(self, sequence: LiveSequence, image_tokens: float) -> None:
        """Queue a sequence.

        Args:
            sequence: It.
            image_tokens: What encoding an image costs; the first to bring an image is charged.
        """
        digest = sequence.request.image.sha256
        before = [*self._queued.values(), *self._encoding.values()]
        known = self._images.keeps(digest) or any(
            other.request.image.sha256 == digest for other in before
        )
        self._queued[sequence.request.sequence_id] = sequence
        self._scheduler.admit(sequence.entry(0.0 if known else image_tokens))

    def begin(self, budget: Budget) -> tuple[str, ...]:
        """Take sequences off the queue, by its rules, and have their images encoded.

        Returns:
            The ids of those that left it because they were too late to be started.
        """
        decision = self._scheduler.schedule(budget, self._clock.now_s())
        expired_ids = tuple(entry.entry_id for entry in decision.expired)
        for sequence_id in expired_ids:
            del self._queued[sequence_id]
        group = [entry.entry_id for entry in decision.group]
        self._encoding = {name: self._queued.pop(name) for name in group}
        if group:
            self._images.begin([each.request.image for each in self._encoding.values()])
        return expired_ids

    def finish(self, *, wait: bool = False) -> Encoded | None:
        """Make the group ready whose images are encoded; None where there is none.

        Args:
            wait: For the group whose images are being encoded.
        """
        images = self._images.take(wait=wait)
        if images is None:
            return None
        members: list[Member] = []
        faults: list[tuple[LiveSequence, Exception]] = []
        for sequence in self._encoding.values():
            digest = sequence.request.image.sha256
            fault = images.faults.get(digest) or self._too_long(sequence, images.features[digest])
            if fault is not None:
                faults.append((sequence, fault))
                continue
            sequence.encode_s = images.encode_s if digest in images.fresh else 0.0
            constrained = sequence.grammar is not None
            key = BatchKey.of(sequence.request.options, constrained=constrained)
            members.append(Member(sequence, images.features[digest], key))
        self._encoding = {}
        self._ready += members
        return Encoded(tuple(members), tuple(faults), images)

    def joining(self, pool: DecodePool, most: int) -> list[Member]:
        """Return those that can join next, all of one batch; they stay until `take`.

        A batch without a free slot holds up only those that want to join it. Who waits for memory
        is overtaken by nobody: those who need less would take each bit that becomes free.

        Args:
            pool: Says how many more a batch can take, and how many the memory allows.
            most: Never more than this.
        """
        for key in dict.fromkeys(member.key for member in self._ready):
            free = min(pool.room(key), most)
            if free > 0:
                count = min(free, pool.affordable(key))
                return [member for member in self._ready if member.key == key][:count]
        return []

    def take(self, members: Iterable[Member]) -> None:
        """Let members go into their batch."""
        for member in members:
            self._ready.remove(member)

    def put_back(self, members: Iterable[Member]) -> None:
        """Let members, who were in a batch, join again before all others."""
        self._ready.extendleft(reversed(list(members)))

    def remove(self, sequence_id: str) -> None:
        """Forget a sequence, wherever it is here."""
        self._queued.pop(sequence_id, None)
        encoding = self._encoding.pop(sequence_id, None) is not None
        if not encoding and not self._scheduler.withdraw(sequence_id):
            self._ready = deque(m for m in self._ready if m.sequence_id != sequence_id)

    def clear(self) -> None:
        """Forget all, once the images that are being encoded are."""
        self._images.close()
        for sequence_id in self._queued:
            self._scheduler.withdraw(sequence_id)
        self._queued.clear()
        self._encoding.clear()
        self._ready.clear()

    def _too_long(
        self, sequence: LiveSequence, features: torch.Tensor
    ) -> LimitExceededError | None:
        """Return the fault of a prompt that does not fit the encoder's positions."""
        longest = self._positions - features.shape[0]
        if len(sequence.prompt_ids) <= longest:
            return None
        return LimitExceededError(
            field="prompt",
            problem="the prompt is too long for the model",
            limit=f"{longest} tokens",
            sent=f"{len(sequence.prompt_ids)} tokens",
        )
