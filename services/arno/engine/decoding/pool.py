"""All that decodes: one continuous batch for each set of options."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from arno.engine.decoding.batch import DecodeBatch, Joining
from arno.engine.decoding.beam_table import Hypothesis
from arno.engine.decoding.cache import slot_bytes
from arno.engine.decoding.constraint_table import TokenKinds
from arno.engine.decoding.decoder import Decoder, Started
from arno.engine.decoding.stepping import AsItComes, Stepping, StepShape, choose_stepping
from arno.engine.interface import DecodingOptions


@dataclass(frozen=True, slots=True)
class BatchKey:
    """Which batch a sequence belongs to.

    Attributes:
        options: Shared by all of its members; the limit on tokens is each one's own.
        constrained: Whether each is held to a grammar of its own.
        alone: The sequence that has it for itself, because its last batch failed.
    """

    options: DecodingOptions
    constrained: bool = False
    alone: str | None = None

    @classmethod
    def of(cls, options: DecodingOptions, *, constrained: bool = False) -> BatchKey:
        """Return the key of a sequence's options."""
        return cls(dataclasses.replace(options, max_new_tokens=0), constrained)


@dataclass(frozen=True, slots=True)
class BatchFault:
    """A batch that failed, and is gone with all that it had computed.

    Attributes:
        sequence_ids: Its members.
        fault: What was raised.
    """

    sequence_ids: tuple[str, ...]
    fault: Exception


@dataclass(frozen=True, slots=True)
class PoolStep:
    """What a step of all batches came to.

    Attributes:
        over: Sequences whose search is over.
        faults: Batches that failed.
        widest: Sequences in the widest batch.
        token_count: Tokens decoded.
        beam_count: The same, in all beams.
    """

    over: tuple[str, ...]
    faults: tuple[BatchFault, ...]
    widest: int
    token_count: int
    beam_count: int


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """What the batches may take.

    Attributes:
        sequences_max: Most sequences of one batch.
        cache_bytes: Most memory of all caches, at their longest.
        positions: Most tokens that the model can write.
        encoded_max: Most places of an encoded prompt.
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
        make_stepping: Callable[[], Stepping] | None = None,
    ) -> None:
        """Start empty.

        Args:
            decoder: The model.
            limits: Of the batches.
            kinds: What its tokens are, for batches that are held to grammars.
            make_stepping: How the steps of a new batch are launched; by default what suits the
                device.
        """
        self._decoder = decoder
        self._make_stepping = make_stepping or (lambda: choose_stepping(decoder.device))
        self._kinds = kinds
        self._limits = limits
        self._batches: dict[BatchKey, DecodeBatch] = {}
        self._keys: dict[str, BatchKey] = {}

    def __len__(self) -> int:
        """Return how many sequences decode."""
        return len(self._keys)

    def __contains__(self, sequence_id: str) -> bool:
        """Return whether a sequence decodes."""
        return sequence_id in self._keys

    def room(self, key: BatchKey) -> int:
        """Return how many more a batch has slots for."""
        batch = self._batches.get(key)
        return self._slots(key) - (len(batch) if batch is not None else 0)

    def affordable(self, key: BatchKey) -> int:
        """Return how many more may join a batch by the memory that all batches share.

        At least 1 where nothing decodes: one that needs more than there is must run too.
        """
        batch = self._batches.get(key)
        if batch is not None and batch.reserves:
            return batch.slot_count - len(batch)
        return max(self._left_bytes() // self._slot_bytes(key), 0 if self._keys else 1)

    def start(self, states: torch.Tensor, padding: torch.Tensor | None) -> Started:
        """Run what comes before the first step; see `Decoder.start`."""
        return self._decoder.start(states, padding)

    def join(self, key: BatchKey, started: Started, joining: Sequence[Joining]) -> list[str]:
        """Take started sequences into a batch that has room for them.

        Returns:
            The ids of those that are over already.
        """
        if key not in self._batches:
            self._forget_idle()
            self._batches[key] = DecodeBatch(
                self._decoder,
                key.options,
                StepShape(self._slots(key), self._limits.positions, self._limits.encoded_max),
                kinds=self._kinds if key.constrained else None,
                stepping=self._stepping(key),
            )
        over = self._batches[key].join(started, joining)
        self._keys.update((each.sequence_id, key) for each in joining)
        return over

    def step(self) -> PoolStep:
        """Give every sequence of every batch one more token."""
        over: list[str] = []
        faults: list[BatchFault] = []
        sizes, beam_count = [0], 0
        for key, batch in list(self._batches.items()):
            if not len(batch):
                continue
            sizes.append(len(batch))
            beam_count += len(batch) * key.options.num_beams
            try:
                over += batch.step()
            except Exception as fault:  # noqa: BLE001 - whatever it is, other batches go on
                faults.append(BatchFault(tuple(batch.sequence_ids), fault))
                self._drop(key)
        return PoolStep(tuple(over), tuple(faults), max(sizes), sum(sizes), beam_count)

    def token_count(self, sequence_id: str) -> int:
        """Return how many tokens a sequence has."""
        return self._batches[self._keys[sequence_id]].token_count(sequence_id)

    def best(self, sequence_id: str) -> Hypothesis:
        """Return the best that a sequence has found so far."""
        return self._batches[self._keys[sequence_id]].best(sequence_id)

    def leave(self, sequence_id: str) -> Hypothesis:
        """Let a sequence go, with the best that it found."""
        key = self._keys.pop(sequence_id)
        best = self._batches[key].leave(sequence_id)
        if key.alone is not None:
            del self._batches[key]
        return best

    def _drop(self, key: BatchKey) -> None:
        self._batches.pop(key, None)
        self._keys = {name: of for name, of in self._keys.items() if of != key}

    def _forget_idle(self) -> None:
        """Give back the memory of batches that hold nobody."""
        self._batches = {key: batch for key, batch in self._batches.items() if len(batch)}

    def _slots(self, key: BatchKey) -> int:
        batch = self._batches.get(key)
        if batch is not None:
            return batch.slot_count
        if key.alone is not None:
            return 1
        reserves = self._stepping(key).few_shapes
        memory = self._left_bytes() if reserves else self._limits.cache_bytes
        return max(1, min(self._limits.sequences_max, memory // self._slot_bytes(key)))

    def _left_bytes(self) -> int:
        """Return what is left of the memory, those batches not counted that hold nobody."""
        taken = sum(
            self._slot_bytes(key) * (batch.slot_count if batch.reserves else len(batch))
            for key, batch in self._batches.items()
            if len(batch)
        )
        return max(0, self._limits.cache_bytes - taken)

    def _slot_bytes(self, key: BatchKey) -> int:
        limits = self._limits
        return slot_bytes(
            self._decoder, key.options.num_beams, limits.encoded_max, limits.positions
        )

    def _stepping(self, key: BatchKey) -> Stepping:
        # The tables of grammars grow, which no recording survives.
        return AsItComes() if key.constrained else self._make_stepping()
