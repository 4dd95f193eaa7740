"""All sequences that decode: one continuous batch for each set of options."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import torch

from arno.engine.decoding.batch import DecodeBatch
from arno.engine.decoding.beam_table import Hypothesis
from arno.engine.decoding.cache import slot_bytes
from arno.engine.decoding.constraint_table import TokenKinds
from arno.engine.decoding.decoder import Decoder, Started
from arno.engine.decoding.launchers import StepLauncher, StepShape, choose_launcher
from arno.engine.decoding.step import StepChoice
from arno.engine.device import require_device
from arno.engine.interface import DecodingOptions
from arno.engine.sequences.sequence import BatchKey, Sequence, SequenceStage, batch_key

_DEFAULT: Final = batch_key(DecodingOptions()).options


@dataclass(frozen=True, slots=True)
class FailedBatch:
    """A batch whose step raised; it is dropped with all that it had computed.

    Attributes:
        sequences: Its members.
        fault: What was raised.
    """

    sequences: tuple[Sequence, ...]
    fault: Exception


@dataclass(frozen=True, slots=True)
class PoolStep:
    """The outcome of one step of all batches.

    Attributes:
        over: Sequences whose search is over.
        failed: Batches that failed.
        widest: Sequences in the widest batch.
        token_count: Tokens decoded.
        beam_count: Tokens decoded, counted over all beams.
    """

    over: tuple[Sequence, ...]
    failed: tuple[FailedBatch, ...]
    widest: int
    token_count: int
    beam_count: int


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Limits of the batches.

    Attributes:
        sequences_max: Most sequences of one batch.
        cache_bytes: Most memory of all caches, with every answer at its longest.
        positions: Most tokens that the model can write.
        encoded_max: Most positions of an encoded prompt.
    """

    sequences_max: int
    cache_bytes: int
    positions: int
    encoded_max: int


class DecodePool:
    """The batches. The engine's thread only."""

    def __init__(
        self,
        decoder: Decoder,
        limits: PoolLimits,
        kinds: TokenKinds,
        make_launcher: Callable[[], StepLauncher] | None = None,
        compiled: StepChoice = lambda _: None,
    ) -> None:
        """Start empty.

        Args:
            decoder: The model.
            limits: Limits of the batches.
            kinds: Classes of tokens, for batches whose members are held to grammars, and the
                location tokens.
            make_launcher: Makes how the steps of a new batch are launched; by default what suits
                the device.
            compiled: Chooses compiled steps for batches whose members have no grammars.
        """
        self._decoder = decoder
        self._compiled = compiled
        self._make_launcher = make_launcher or (lambda: choose_launcher(decoder.device))
        self._kinds = kinds
        self._limits = limits
        self._batches: dict[BatchKey, DecodeBatch] = {}

    def __len__(self) -> int:
        """Return how many sequences decode."""
        return sum(map(len, self._batches.values()))

    @property
    def sequences(self) -> list[Sequence]:
        """The sequences that decode."""
        return [sequence for batch in self._batches.values() for sequence in batch.sequences]

    @property
    def taken_bytes(self) -> int:
        """Memory promised to the batches that hold sequences."""
        return sum(
            self.slot_bytes(key) * (batch.slot_count if batch.reserves else len(batch))
            for key, batch in self._batches.items()
            if len(batch)
        )

    def slot_bytes(self, key: BatchKey) -> int:
        """Return the memory of one sequence of a batch, with its answer at its longest."""
        limits = self._limits
        return slot_bytes(
            self._decoder, key.options.num_beams, limits.encoded_max, limits.positions
        )

    def free_slots(self, key: BatchKey) -> int:
        """Return how many more sequences a batch has slots for."""
        batch = self._batches.get(key)
        return self._slot_count(key) - (len(batch) if batch is not None else 0)

    def affordable(self, key: BatchKey) -> int:
        """Return how many more sequences may join a batch by the memory that all batches share.

        At least 1 where none decodes: a sequence that needs more than all memory must run too.
        """
        batch = self._batches.get(key)
        if batch is not None and batch.reserves:
            return batch.slot_count - len(batch)
        return max(self._left_bytes() // self.slot_bytes(key), 0 if len(self) else 1)

    @torch.inference_mode()
    def warm(self, options: DecodingOptions, shapes: Iterable[StepShape]) -> None:
        """Run steps of these shapes, so that nothing is recorded while callers wait."""
        self._batch(batch_key(options)).warm(shapes)

    def start(self, states: torch.Tensor, padding: torch.Tensor | None) -> Started:
        """Run what comes before the first step; see `Decoder.start`."""
        return self._decoder.start(states, padding)

    def join(self, started: Started, sequences: list[Sequence]) -> list[Sequence]:
        """Take started sequences of one batch key into their batch, which has slots for them.

        Returns:
            Those whose search is over already.
        """
        over = self._batch(sequences[0].batch_key).join(started, sequences)
        for sequence in sequences:
            sequence.stage = SequenceStage.RUNNING
        return over

    def step(self) -> PoolStep:
        """Decode one more token of every sequence of every batch.

        Raises:
            DeviceLostError: The device does not work any more.
        """
        over: list[Sequence] = []
        failed: list[FailedBatch] = []
        sizes, beam_count = [0], 0
        for key, batch in list(self._batches.items()):
            if not len(batch):
                continue
            sizes.append(len(batch))
            beam_count += len(batch) * key.options.num_beams
            try:
                over += batch.step()
            except Exception as fault:  # noqa: BLE001 - whatever it is, other batches go on
                require_device(fault)
                failed.append(FailedBatch(batch.sequences, fault))
                del self._batches[key]
        return PoolStep(tuple(over), tuple(failed), max(sizes), sum(sizes), beam_count)

    def best(self, sequence: Sequence) -> Hypothesis:
        """Return the best hypothesis of a sequence so far."""
        return self._batches[sequence.batch_key].best([sequence])[0]

    def leave(self, sequences: Iterable[Sequence]) -> list[tuple[Sequence, Hypothesis]]:
        """Take sequences out, those of one batch together; return each with its best hypothesis."""
        members: dict[BatchKey, list[Sequence]] = {}
        for sequence in sequences:
            members.setdefault(sequence.batch_key, []).append(sequence)
        found: list[tuple[Sequence, Hypothesis]] = []
        for key, leaving in members.items():
            found += zip(leaving, self._batches[key].leave(leaving), strict=True)
            if key.alone is not None:
                del self._batches[key]
        return found

    def clear(self) -> None:
        """Drop all batches."""
        self._batches.clear()

    def _batch(self, key: BatchKey) -> DecodeBatch:
        """Return the batch of a key, made where there is none, as the last one used."""
        batch = self._batches.pop(key, None)
        if batch is None:
            launcher, count = self._make_launcher(), self._slot_count(key)
            self._make_room(count * self.slot_bytes(key))
            batch = DecodeBatch(
                self._decoder,
                key.options,
                StepShape(count, self._limits.positions, self._limits.encoded_max),
                kinds=self._kinds if key.constrained else None,
                location_ids=self._kinds.location_ids,
                launcher=launcher,
                compiled=None if key.constrained else self._compiled(key.options),
            )
        self._batches[key] = batch
        return batch

    def _make_room(self, wanted_bytes: int) -> None:
        """Drop empty batches: those without recordings, then the least recently used.

        Those with recordings are dropped only for their memory, the one of the default options
        last, because to record again takes seconds.
        """
        idle = [key for key, batch in self._batches.items() if not len(batch)]
        for key in sorted(idle, key=lambda each: each.options == _DEFAULT):
            kept = (
                batch.slot_count * self.slot_bytes(other)
                for other, batch in self._batches.items()
                if batch.reserves
            )
            fits = sum(kept) + wanted_bytes <= self._limits.cache_bytes
            if not (fits and self._batches[key].reserves):
                del self._batches[key]

    def _slot_count(self, key: BatchKey) -> int:
        batch = self._batches.get(key)
        if batch is not None:
            return batch.slot_count
        if key.alone is not None:
            return 1
        reserves = self._make_launcher().few_shapes
        memory = self._left_bytes() if reserves else self._limits.cache_bytes
        return max(1, min(self._limits.sequences_max, memory // self.slot_bytes(key)))

    def _left_bytes(self) -> int:
        """Return the memory that no batch with sequences takes."""
        return max(0, self._limits.cache_bytes - self.taken_bytes)
