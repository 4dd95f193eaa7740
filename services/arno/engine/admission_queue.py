"""Sequences before they decode: queued, then their images encoded, then ready to join a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from arno.batching import Budget, LanePolicy, Scheduler
from arno.engine.decoding.pool import DecodePool
from arno.engine.encoding.image_encoding import EncodedImages
from arno.engine.encoding.image_stage import ImageStage
from arno.engine.sequences.sequence import Sequence, SequenceStage
from arno.errors import LimitExceededError

_STEPS_HELD_BACK: Final = 8
"""About ten milliseconds on a GPU."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A sequence that cannot be decoded, and the reason."""

    sequence: Sequence
    error: Exception


@dataclass(frozen=True, slots=True)
class EncodedGroup:
    """A group of sequences whose images went through the vision encoder.

    Attributes:
        ready: Sequences that can join a batch.
        refused: Sequences that cannot.
        images: What encoding their images came to.
    """

    ready: tuple[Sequence, ...]
    refused: tuple[Refused, ...]
    images: EncodedImages


class AdmissionQueue:
    """Sequences before they decode. The engine's thread only, but for `queued_count`."""

    def __init__(
        self,
        images: ImageStage,
        *,
        positions: int,
        group_max: int,
        size_max: int,
        ahead: int = 0,
        reserve_share: float = 0.0,
    ) -> None:
        """Start empty.

        Args:
            images: Encodes the images.
            positions: Most positions of image and prompt together.
            group_max: Most sequences whose images, or whose prompts, are encoded together.
            size_max: Largest total size of all sequences from their encoding to their end.
            ahead: Sequences whose images may be encoded before there is a slot for them. With any,
                sequences also join in larger groups.
            reserve_share: Largest part of the slots that one tenant leaves to the others.
        """
        self._images = images
        self._positions = positions
        self._group_max = group_max
        self._size_max = size_max
        self._ahead = ahead
        self._held_back = 0
        self._reserve_share = reserve_share
        self._scheduler = self._new_scheduler()
        self._encoding: list[Sequence] = []
        self._ready: list[Sequence] = []

    @property
    def queued_count(self) -> int:
        """Sequences that wait for their image to be encoded. Any thread."""
        return len(self._scheduler)

    @property
    def started(self) -> list[Sequence]:
        """Sequences that have left the queue and have not joined a batch yet."""
        return [*self._encoding, *self._ready]

    @property
    def encoding(self) -> bool:
        """Whether a group's images are being encoded."""
        return self._images.busy

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence."""
        sequence.stage = SequenceStage.QUEUED
        self._scheduler.admit(sequence)

    def budget(self, running: list[Sequence], limit: int, now_s: float) -> Budget | None:
        """Return what may leave the queue now; None where nothing may.

        Args:
            running: The sequences that decode.
            limit: Most sequences that decode together.
            now_s: Monotonic seconds.
        """
        if self.encoding or not self.queued_count:
            return None
        in_flight = [*running, *self._ready]
        count = min(limit + self._ahead - len(in_flight), self._group_max)
        if count <= 0:
            return None
        size = self._size_max - sum(sequence.size for sequence in in_flight)
        # A single sequence may be larger than the limit: it must run too.
        if size <= 0 and in_flight:
            return None
        started = Counter(sequence.tenant for sequence in in_flight)
        budget = Budget(count, size, limit + self._ahead, started)
        return budget if self._scheduler.any_may_start(budget, now_s) else None

    def encode(self, budget: Budget, now_s: float) -> None:
        """Take the next group off the queue and start to encode its images."""
        self._encoding = self._scheduler.schedule(budget, now_s)
        for sequence in self._encoding:
            sequence.stage = SequenceStage.ENCODING
        if self._encoding:
            self._images.begin([sequence.request.image for sequence in self._encoding])

    def take_encoded(self, *, wait: bool) -> EncodedGroup | None:
        """Make the group ready whose images are encoded by now; None where there is none.

        Args:
            wait: Wait for the group whose images are being encoded.
        """
        images = self._images.take(wait=wait)
        if images is None:
            return None
        ready: list[Sequence] = []
        refused: list[Refused] = []
        for sequence in self._encoding:
            error = self._accept(sequence, images)
            if error is None:
                ready.append(sequence)
            else:
                refused.append(Refused(sequence, error))
        self._encoding = []
        self._ready += ready
        return EncodedGroup(tuple(ready), tuple(refused), images)

    def joining(self, pool: DecodePool, free: int) -> list[Sequence]:
        """Return the ready sequences that can join next, all of one batch; they stay until `take`.

        A batch without a free slot holds up only the sequences that belong to it. A sequence that
        waits for memory is overtaken by none: smaller ones would take whatever becomes free.

        Args:
            pool: The batches, with their free slots and memory.
            free: Most sequences, by the limit on those that decode together.
        """
        for key in dict.fromkeys(sequence.batch_key for sequence in self._ready):
            if key.scored:  # they take no slot
                scored = [sequence for sequence in self._ready if sequence.batch_key == key]
                return scored[: self._group_max]
            count = min(pool.free_slots(key), free, self._group_max)
            if count > 0:
                count = min(count, pool.affordable(key))
                found = [sequence for sequence in self._ready if sequence.batch_key == key]
                return [] if self._hold_back(pool, len(found[:count])) else found[:count]
        return []

    def _hold_back(self, pool: DecodePool, count: int) -> bool:
        """Return whether so few sequences wait a few steps for others to join with them.

        To join takes a GPU as long for one sequence as for a group.
        """
        self._held_back += 1
        more = self.queued_count or len(self._ready) > count
        if 2 * count < self._ahead and more and len(pool) and self._held_back <= _STEPS_HELD_BACK:
            return True
        self._held_back = 0
        return False

    def take(self, sequences: Iterable[Sequence]) -> None:
        """Take ready sequences out, which join their batch."""
        for sequence in sequences:
            self._ready.remove(sequence)

    def put_back(self, sequences: Iterable[Sequence]) -> None:
        """Make sequences ready again that were in a batch, before all others."""
        first = list(sequences)
        for sequence in first:
            sequence.stage = SequenceStage.READY
        self._ready[:0] = first

    def go_on_later(self, sequences: Iterable[Sequence]) -> None:
        """Make sequences ready again that were taken and are not done, after all others."""
        self._ready += sequences

    def withdraw(self, sequence: Sequence) -> None:
        """Take out a sequence that ends before it has joined a batch."""
        match sequence.stage:
            case SequenceStage.QUEUED:
                self._scheduler.withdraw(sequence)
            case SequenceStage.ENCODING:
                self._encoding.remove(sequence)
            case SequenceStage.READY:
                self._ready.remove(sequence)

    def close(self) -> None:
        """Forget all sequences, once the images that are being encoded are done."""
        self._images.close()
        self._scheduler = self._new_scheduler()
        self._encoding.clear()
        self._ready.clear()

    def _new_scheduler(self) -> Scheduler[Sequence]:
        return Scheduler(LanePolicy(), reserve_share=self._reserve_share)

    def _accept(self, sequence: Sequence, images: EncodedImages) -> Exception | None:
        """Give a sequence its encoded image; return the error where it cannot be decoded."""
        digest = sequence.image_sha256
        if digest in images.faults:
            return images.faults[digest]
        features = images.features[digest]
        longest = self._positions - features.shape[0]
        if len(sequence.prompt_ids) > longest:
            return LimitExceededError(
                field="prompt",
                problem="the prompt is too long for the model",
                limit=f"{longest} tokens",
                sent=f"{len(sequence.prompt_ids)} tokens",
            )
        if max(map(len, sequence.candidates), default=0) > self._positions:
            return LimitExceededError(
                field="candidates",
                problem="one is too long for the model",
                limit=f"{self._positions} tokens",
                sent=f"{max(map(len, sequence.candidates))} tokens",
            )
        sequence.take_image(features, images.watch if digest in images.fresh else None)
        return None
