"""The rules of beam search, over rows that each are one search at its own length.

They are those of transformers, their order and their constants those of
`GenerationMixin._beam_search` in transformers 5.23, applied to one sequence at a time; with one
beam they are those of its greedy search. An update works on tensors alone and never waits for
them, so that it can be recorded or compiled.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

import torch

from arno.engine.checkpoints.tokenizer import END_ID
from arno.engine.decoding.constraint_table import ConstraintRows
from arno.engine.interface import DecodingOptions

NEVER: Final = -1.0e9
"""Added to scores that must lose; transformers' own number, because the value decides ties."""

_FIELDS: Final = 5
"""Numbers of a node: token, log-probability, deviation, chance of the end, and the node before."""


@dataclass(slots=True)
class BeamRows:
    """The state of searches: S rows, K beams, C = 2K candidates, W tokens at most.

    Every candidate of every step is a node: the token, the numbers that belong to it, and the node
    that it continues. A hypothesis is the number of its last node, position x C + rank, so that no
    step copies what its beams have found, and a search is read backwards once it is over. Number 0
    stands for no node, because the start token has none.

    Attributes:
        tokens: Of the running beams, [S, K, T <= W], for the ban of repeats; without it the newest
            alone are right.
        scores, nodes: Of the running beams, [S, K] each.
        ended_scores, ended_nodes: Of the best ended hypotheses, best first, [S, K] each.
        improvable: Whether a running beam may still beat an ended hypothesis, [S, 1].
        lengths: Tokens of the running beams, start token included, [S, 1].
        limits: Most tokens of each search, start token included, [S, 1].
        trellis: All nodes, [S, W, C, 5]; float32 holds ids and numbers of nodes below 2^24 exactly.
    """

    tokens: torch.Tensor
    scores: torch.Tensor
    nodes: torch.Tensor
    ended_scores: torch.Tensor
    ended_nodes: torch.Tensor
    improvable: torch.Tensor
    lengths: torch.Tensor
    limits: torch.Tensor
    trellis: torch.Tensor

    @classmethod
    def empty(cls, rows: int, beams: int, width: int, room: int, device: torch.device) -> BeamRows:
        """Return rows of searches of at most `width` tokens, with room for that many at first."""

        def zeros(*shape: int, dtype: torch.dtype = torch.long) -> torch.Tensor:
            return torch.zeros(rows, *shape, dtype=dtype, device=device)

        return cls(
            tokens=zeros(beams, room),
            scores=zeros(beams, dtype=torch.float32),
            nodes=zeros(beams),
            ended_scores=zeros(beams, dtype=torch.float32),
            ended_nodes=zeros(beams),
            improvable=zeros(1, dtype=torch.bool),
            lengths=zeros(1),
            limits=zeros(1),
            trellis=zeros(width, 2 * beams, _FIELDS, dtype=torch.float32),
        )

    @property
    def ended(self) -> torch.Tensor:
        """Whether there is an ended hypothesis at each rank, [S, K]."""
        return self.ended_nodes > 0

    def tensors(self) -> list[torch.Tensor]:
        """Return all of it."""
        return [getattr(self, field.name) for field in dataclasses.fields(self)]

    def part(self, part: slice) -> BeamRows:
        """Return some of the rows, the same memory."""
        return BeamRows(*(tensor[part] for tensor in self.tensors()))

    def newest(self) -> torch.Tensor:
        """Return the last token of each beam, [S, K]."""
        last = (self.lengths - 1)[:, :, None]  # [S, 1, 1]
        return self.tokens.gather(2, last.expand(-1, self.tokens.shape[1], -1)).squeeze(2)


class BeamSearch:
    """The rules for searches with equal options; their limits, lengths and grammars may differ."""

    def __init__(
        self, options: DecodingOptions, width: int, device: torch.device, location_ids: range
    ) -> None:
        """Compute what does not change.

        Args:
            options: Options of all searches.
            width: Most tokens of a search, start token included.
            device: Device of the logits.
            location_ids: Ids of the location tokens, in the order of their bins.
        """
        self._options = options
        self._beams = options.num_beams
        self._early = (
            options.early_stopping is True or self._beams == 1
        )  # greedy ends with its only beam
        lengths = torch.arange(width + 1, device=device, dtype=torch.double)
        self._penalties = lengths.pow(options.length_penalty).float()
        self._ranks = torch.arange(2 * self._beams, device=device)
        self._width = width
        self._places = torch.arange(width, device=device)
        self._location_ids = location_ids
        self._bins = torch.arange(float(len(location_ids)), device=device)
        self._end_alone = torch.full((2 * self._beams,), -torch.inf, device=device)
        self._end_alone[0] = 0.0

    def update(
        self, rows: BeamRows, logits: torch.Tensor, longest: int, held: ConstraintRows | None = None
    ) -> Advance:
        """Append one token to every beam of some rows, in place.

        Args:
            rows: The rows, with room for a token more than the longest.
            logits: Logits of the next token, [S, K, V].
            longest: Tokens of the longest of these searches, start token included.
            held: Their grammars; None if they have none.
        """
        logprobs = torch.log_softmax(logits.float(), dim=-1)  # [S, K, V]
        ends = logprobs[:, :, END_ID].exp()  # [S, K], before anything is forbidden
        logprobs = self._legal(rows, logprobs, longest, held)
        top = self._top(rows, logits, logprobs, ends)
        hits = (top.tokens == END_ID) | (rows.lengths + 1 >= rows.limits)  # [S, 2K]
        self._merge_ended(rows, top, hits)
        parents = self._continue(rows, top, hits, longest)
        # Empty rows are advanced with the others, and must not leave the table.
        rows.lengths.add_(1).clamp_(max=self._width - 1)
        if held is not None:
            held.advance(parents, rows.newest())
        return Advance(parents=parents, finished=self._finished(rows, hits))

    def _legal(
        self, rows: BeamRows, logprobs: torch.Tensor, longest: int, held: ConstraintRows | None
    ) -> torch.Tensor:
        """Return the log-probabilities, [S, K, V], with forbidden tokens at minus infinity."""
        if held is None:
            self._ban_repeats(rows, logprobs, longest)
            return logprobs
        held.restrict(logprobs, rows.limits - rows.lengths)
        fresh = logprobs.clone()
        self._ban_repeats(rows, fresh, longest)
        # Where all tokens that the grammar allows are repeats, repeats are allowed.
        stuck = torch.isneginf(fresh).all(-1, keepdim=True)
        return torch.where(stuck, logprobs, fresh)

    def _ban_repeats(self, rows: BeamRows, logprobs: torch.Tensor, longest: int) -> None:
        """Forbid, in place, every token that would repeat an n-gram of its beam."""
        size = self._options.no_repeat_ngram_size
        if not size or longest < size:
            return
        grams = rows.tokens[:, :, :longest].unfold(2, size, 1)  # [S, K, longest - size + 1, size]
        tail = rows.lengths[:, None] - (size - 1) + self._places[: size - 1]  # [S, 1, size - 1]
        tail_ids = tail.clamp(min=0).expand(-1, self._beams, -1)
        prefix = rows.tokens.gather(2, tail_ids)  # [S, K, size - 1]
        whole = self._places[: grams.shape[2]] + size <= rows.lengths  # [S, grams]
        match = (grams[..., :-1] == prefix[:, :, None]).all(-1) & whole[:, None]
        banned = torch.zeros_like(match, dtype=logprobs.dtype).masked_fill_(match, -torch.inf)
        logprobs.scatter_add_(2, grams[..., -1], banned)

    def _top(
        self, rows: BeamRows, logits: torch.Tensor, logprobs: torch.Tensor, ends: torch.Tensor
    ) -> _Candidates:
        """Return the best continuations, twice as many as beams, so that enough do not end.

        Each becomes a node.
        """
        # What is not among the best C of its own beam is not among those of all beams, so that the
        # vocabulary is read once.
        count = min(len(self._ranks), logprobs.shape[-1])
        best, tokens = logprobs.topk(count)  # [S, K, C]
        last = (rows.lengths == rows.limits - 1)[:, :, None]  # where only the end may follow
        best = torch.where(last, self._end_alone[:count], best)
        tokens = tokens.masked_fill(last, END_ID).flatten(1)
        sums = (best + rows.scores[:, :, None]).flatten(1)  # [S, K * C]
        scores, places = sums.topk(len(self._ranks))  # [S, C], best first
        parents, tokens = places // count, tokens.gather(1, places)
        node = torch.stack(
            [
                tokens.float(),
                best.flatten(1).gather(1, places),
                self._deviations(logits, parents, tokens),
                ends.gather(1, parents),
                rows.nodes.gather(1, parents).float(),
            ],
            dim=-1,
        )  # [S, C, 5]
        each = torch.arange(node.shape[0], device=node.device)
        rows.trellis.index_put_((each, rows.lengths[:, 0]), node)
        nodes = rows.lengths * len(self._ranks) + self._ranks
        return _Candidates(scores=scores, parents=parents, tokens=tokens, nodes=nodes)

    def _deviations(
        self, logits: torch.Tensor, parents: torch.Tensor, tokens: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean absolute deviation of candidates from their own bins, [S, C].

        The mean is over the location tokens alone, by the model's own probabilities: no grammar
        and no ban of repeats changes it. 0 for tokens that are no locations.
        """
        ids = self._location_ids
        if not ids:
            return torch.zeros_like(tokens, dtype=torch.float32)
        chances = logits[:, :, ids.start : ids.stop].float().softmax(-1)  # [S, K, bins]
        each = torch.arange(parents.shape[0], device=parents.device)[:, None]
        own = chances.flatten(0, 1)[each * self._beams + parents]  # [S, C, bins]
        chosen = (tokens - ids.start).float()  # [S, C]
        means = (self._bins - chosen[:, :, None]).abs_().mul_(own).sum(-1)
        return means.where((chosen >= 0) & (chosen < len(ids)), 0.0)

    def _merge_ended(self, rows: BeamRows, top: _Candidates, hits: torch.Tensor) -> None:
        """Keep the best of the hypotheses that had ended and those that end now."""
        ends = hits & (self._ranks < self._beams)
        scores = top.scores / self._penalties[rows.lengths]
        scores = scores + ~ends * NEVER + ~rows.improvable * NEVER
        if self._early:
            scores = scores + rows.ended.all(1, keepdim=True) * NEVER
        merged = torch.cat([rows.ended_scores, scores], dim=1)  # [S, 3K]
        best_scores, best = merged.topk(self._beams)
        nodes = torch.cat([rows.ended_nodes, top.nodes * ends], dim=1)
        rows.ended_nodes.copy_(nodes.gather(1, best))
        rows.ended_scores.copy_(best_scores)

    def _continue(
        self, rows: BeamRows, top: _Candidates, hits: torch.Tensor, longest: int
    ) -> torch.Tensor:
        """Continue the best candidates that do not end; return the parent beam of each, [S, K]."""
        scores, kept = (top.scores + hits * NEVER).topk(self._beams)  # [S, K]
        parents = top.parents.gather(1, kept)
        if self._options.no_repeat_ngram_size:
            past = rows.tokens[:, :, :longest]
            past.copy_(past.gather(1, parents[:, :, None].expand_as(past)))
        here = rows.lengths[:, :, None].expand(-1, self._beams, 1)
        rows.tokens.scatter_(2, here, top.tokens.gather(1, kept)[:, :, None])
        rows.nodes.copy_(top.nodes.gather(1, kept))
        rows.scores.copy_(scores)
        return parents

    def _finished(self, rows: BeamRows, hits: torch.Tensor) -> torch.Tensor:
        """Update which searches may still improve; return which are over, [S]."""
        never = self._options.early_stopping == "never" and self._options.length_penalty > 0.0
        longest = (rows.limits if never else rows.lengths) - 1
        possible = rows.scores[:, :1] / self._penalties[longest]
        worst = rows.ended_scores.amin(1, keepdim=True)
        worst = worst.where(rows.ended, NEVER)
        rows.improvable &= (possible > worst).any(1, keepdim=True)
        over = ~rows.improvable.squeeze(1) | hits.all(1)
        return over | rows.ended.all(1) if self._early else over


@dataclass(frozen=True, slots=True)
class Advance:
    """The outcome of an update.

    Attributes:
        parents: The beam that each beam continues, [S, K].
        finished: Whether each search is over, [S].
    """

    parents: torch.Tensor
    finished: torch.Tensor


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Continuations of beams, best first: [S, C] each."""

    scores: torch.Tensor
    parents: torch.Tensor
    tokens: torch.Tensor
    nodes: torch.Tensor
