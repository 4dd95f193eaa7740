"""Compute the probabilities of given answers: one pass of the decoder over whole rows of tokens.

The tokens are known, so the decoder reads them all at once (teacher forcing) and no search is run.
Answers of several sequences are read together; each attends to its own image and prompt alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import Florence2ForConditionalGeneration

from arno.engine.checkpoints.tokenizer import END_ID, PAD_ID
from arno.engine.decoding.beam_table import Hypothesis
from arno.engine.decoding.decoder import Decoder, KeysValues
from arno.engine.device import upload
from arno.engine.encoding.prompt_encoding import encode_prompts
from arno.engine.sequences.sequence import Sequence as EngineSequence
from arno.vocabulary import Decoded

_ROWS_MAX: Final = 16
_TOKENS_MAX: Final = 4096
_LOGITS_MAX: Final = 512
"""Bounds of one pass: answers, their tokens with padding, and tokens whose logits exist at once.
With them the memory of a pass of the base model stays below half a GiB, whatever is asked."""

CALL_TOKENS_MAX: Final = 2048
"""Tokens that one call reads; more in a single answer. A task's candidates may have 16,000, which
take a CPU most of a minute: no other caller would get a token, and no cancellation be noticed."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One answer: whose it is, its place among all, and its tokens, begin and end included."""

    owner: int
    place: int
    ids: tuple[int, ...]


class AnswerScorer:
    """Scores the candidates of sequences. The engine's thread only."""

    def __init__(
        self, network: Florence2ForConditionalGeneration, decoder: Decoder, location_ids: range
    ) -> None:
        """Take the model.

        Args:
            network: Encodes the prompts.
            decoder: Reads the answers.
            location_ids: Ids of the location tokens, in the order of their bins.
        """
        self._network = network
        self._decoder = decoder
        self._location_ids = location_ids
        self._bins = torch.arange(len(location_ids), device=decoder.device)

    def score(self, sequences: Sequence[EngineSequence]) -> int:
        """Score the next candidates of sequences; return how many tokens were read.

        Those of the first sequence come first. What is not `all_scored` then needs another call.

        Args:
            sequences: READY, with candidates that are not scored.
        """
        rows = _next_rows(sequences)
        asked = sequences[: 1 + rows[-1].owner]
        encoded = encode_prompts(
            self._network,
            [sequence.features for sequence in asked],
            [sequence.prompt_ids for sequence in asked],
        )
        cross = self._decoder.cross(encoded.states)
        scored: dict[int, Decoded] = {}
        for part in _passes(rows):
            scored |= zip(
                (row.place for row in part), self._read(part, cross, encoded.padding), strict=True
            )
        for owner, own in itertools.groupby(rows, key=lambda row: row.owner):
            asked[owner].scored += tuple(scored[row.place] for row in own)
        return sum(len(row.ids) for row in rows)

    def _read(
        self, rows: Sequence[_Row], cross: list[KeysValues], padding: torch.Tensor | None
    ) -> Iterator[Decoded]:
        """Yield the tokens of each row with what the model computes for them."""
        device = self._decoder.device
        owners = upload([row.owner for row in rows], device)
        read = [torch.tensor((END_ID, *row.ids[:-1])) for row in rows]
        hidden = self._decoder.read(
            upload(pad_sequence(read, batch_first=True, padding_value=PAD_ID), device),
            [KeysValues(layer.keys[owners], layer.values[owners]) for layer in cross],
            None if padding is None else padding[owners],
        )
        states = torch.cat([hidden[n, : len(row.ids)] for n, row in enumerate(rows)])  # [P, E]
        targets = upload([token_id for row in rows for token_id in row.ids], device)
        facts = self._facts(states, targets).tolist()
        start = 0
        for row in rows:
            numbers = zip(*facts[start : start + len(row.ids)], strict=True)
            logprobs, deviations, end_chances = numbers
            start += len(row.ids)
            yield Decoded(
                row.ids,
                (0.0, *logprobs[1:]),  # the first token is forced
                deviations=deviations,
                end_chances=(0.0, *end_chances[1:]),
            )

    def _facts(self, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return log-probability, deviation and end chance of each, [P, 3] of [P, E] and [P]."""
        parts = zip(
            torch.split(states, _LOGITS_MAX), torch.split(targets, _LOGITS_MAX), strict=True
        )
        return torch.cat([self._facts_of_part(*part) for part in parts])

    def _facts_of_part(self, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        logits = self._decoder.logits(states).float()  # [P, V]
        sums = logits.logsumexp(-1)
        logprobs = logits.gather(1, targets[:, None])[:, 0] - sums
        ids = self._location_ids
        chosen = targets - ids.start
        chances = logits[:, ids.start : ids.stop].softmax(-1)  # [P, bins]
        means = (chances * (self._bins - chosen[:, None]).abs()).sum(-1)
        deviations = means.where((chosen >= 0) & (chosen < len(ids)), 0.0)
        end_chances = (logits[:, END_ID] - sums).exp()
        return torch.stack([logprobs.clamp(max=0.0), deviations, end_chances], dim=1)


def _next_rows(sequences: Sequence[EngineSequence]) -> list[_Row]:
    """Return the candidates that are next, in their order: at least one."""
    rows: list[_Row] = []
    tokens = 0
    for owner, sequence in enumerate(sequences):
        for ids in sequence.candidates[len(sequence.scored) :]:
            tokens += len(ids)
            if rows and tokens > CALL_TOKENS_MAX:
                return rows
            rows.append(_Row(owner, len(rows), ids))
    return rows


def likeliest(candidates: Sequence[Decoded]) -> Hypothesis:
    """Return the candidate of the highest log-likelihood; one that has no numbers, if any has."""
    totals = [sum(one.logprobs) for one in candidates]
    broken = [math.isnan(total) for total in totals]
    best = candidates[broken.index(True) if any(broken) else totals.index(max(totals))]
    numbers = (best.logprobs, best.deviations, best.end_chances)
    return Hypothesis(tuple(best.token_ids), *map(tuple, numbers))


def _passes(rows: Sequence[_Row]) -> Iterator[list[_Row]]:
    """Yield the rows in groups of similar length, each within the bounds of one pass."""
    part: list[_Row] = []
    for row in sorted(rows, key=lambda row: len(row.ids)):
        if part and (len(part) == _ROWS_MAX or (len(part) + 1) * len(row.ids) > _TOKENS_MAX):
            yield part
            part = []
        part.append(row)
    if part:
        yield part
