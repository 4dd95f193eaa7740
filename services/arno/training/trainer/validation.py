"""The loss on data that is never learned from."""

from __future__ import annotations

import torch

from arno.errors import InvalidFieldError
from arno.training.data import SampleSource
from arno.training.trainer.batches import Collator, Row
from arno.training.trainer.learner import Learner
from arno.training.trainer.objective import answer_loss
from arno.training.trainer.ranks import Ranks


class Validation:
    """Validation data, dealt out to the processes; broken samples are passed over."""

    def __init__(
        self, source: SampleSource, collator: Collator, ranks: Ranks, *, micro_batch: int
    ) -> None:
        """Take the data and what makes batches of it."""
        self._source, self._collator, self._ranks = source, collator, ranks
        self._micro_batch = micro_batch

    @torch.no_grad()
    def loss(self, learner: Learner) -> float:
        """Return the mean cross-entropy of all answer tokens; not a number where there are none."""
        modes = [(module, module.training) for module in learner.network.modules()]
        learner.network.train(mode=False)
        numbers = range(self._ranks.rank, len(self._source), self._ranks.count)
        sums = torch.zeros(2, dtype=torch.float64)
        for start in range(0, len(numbers), self._micro_batch):
            part = numbers[start : start + self._micro_batch]
            rows = [row for number in part if (row := self._row(number)) is not None]
            if rows:
                batch = self._collator.batch(rows).to(learner.device)
                sums[0] += float(answer_loss(learner.network, batch))
                sums[1] += sum(len(row.answer) for row in rows)
        for module, training in modes:
            module.training = training
        loss, tokens = self._ranks.total(sums.to(learner.device, torch.float32)).tolist()
        return float(loss / tokens) if tokens else float("nan")

    def _row(self, number: int) -> Row | None:
        try:
            return self._collator.row(self._source[number])
        except InvalidFieldError:
            return None
