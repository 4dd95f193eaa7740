"""Score the texts that images have already: how likely a model finds each, in place of its own.

A caption that was swapped with that of another image is far less likely than what the model says
itself; the filter's `text_ratio_min` drops it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from arno.bulk import Answered, Answerer, Item
from arno.data_engine.annotators import Work, share
from arno.dataset import Granularity, Text
from arno.dataset.answers import GRANULARITIES
from arno.errors import ArnoError
from arno.vocabulary import Task, TaskSpec
from arno.vocabulary.spec import scoring_spec

_TASKS: Final[Mapping[Granularity, Task]] = MappingProxyType(
    {grain: task for task, grain in GRANULARITIES.items()}
)


class TextScorer:
    """Gives texts without a score the one that they would have as the model's own answer.

    An annotator that finds nothing new; it stands behind those that do, or before them.
    """

    def __init__(self, answerer: Answerer, *, name: str = "scorer", round_number: int = 0) -> None:
        """Take an answerer that takes the tasks of items."""
        self.name = name
        self.identity: Mapping[str, Any] = {"scores": "texts", "round": round_number}
        self._answerer = answerer

    def annotate(self, works: Iterable[Work]) -> Iterator[Work]:
        """Yield each work once, its texts with scores."""
        under_way: dict[str, Work] = {}
        without: list[Work] = []

        def items() -> Iterator[Item]:
            for work in works:
                asked = [_spec(text) for text in _unscored(work)]
                if asked:
                    under_way[work.item.key] = work
                    yield replace(work.item, tasks=tuple(asked))
                else:
                    without.append(work)

        answers: Any = self._answerer.answer(items())
        with contextlib.closing(answers) as outcomes:
            for answered in outcomes:
                work = under_way.pop(answered.item.key)
                self._take(work, answered)
                yield work
                while without:
                    yield without.pop()
        yield from without

    def _take(self, work: Work, answered: Answered) -> None:
        work.releases.append(answered.release)
        outcome = answered.outcome
        if isinstance(outcome, ArnoError):
            work.failures.append((self.name, outcome))
            return
        scores: dict[str, float | None] = {}
        for text, result in zip(_unscored(work), outcome.tasks, strict=True):
            if result.ok:
                scores[text.id] = share(result.answer.candidates[0].answer.score)
            elif result.error is not None:
                work.failures.append((f"{self.name}: {result.task}", result.error))
        work.annotations.texts = [
            _scored(text, scores[text.id]) if text.id in scores else text
            for text in work.annotations.texts
        ]


def _unscored(work: Work) -> list[Text]:
    return [text for text in work.annotations.texts if text.provenance.score is None]


def _spec(text: Text) -> TaskSpec:
    return scoring_spec(_TASKS[text.granularity], [text.text])


def _scored(text: Text, score: float | None) -> Text:
    provenance = text.provenance.model_copy(update={"score": score})
    return text.model_copy(update={"provenance": provenance})
