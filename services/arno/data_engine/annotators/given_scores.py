"""Score what images are said to show already: how likely a model finds it, in place of its own.

A caption that was swapped with that of another image is far less likely than what the model says
itself; the filter's `text_ratio_min` drops it. A region with a wrong label is far likelier to be
called something else; its score then falls below the filter's `score_min`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar

from arno.bulk import Answerer, Item
from arno.data_engine.annotators.annotator import Work, answers_about, share
from arno.dataset import Granularity, ImageRecord, Provenance, RegionKind, RegionText, Text
from arno.dataset.answers import GRANULARITIES
from arno.vocabulary import Box, ImageSize, Task, TaskSpec
from arno.vocabulary.results import InferResult, TaskResult
from arno.vocabulary.spec import scoring_spec

ItemT = TypeVar("ItemT", Text, RegionText)

_TASKS: Final[Mapping[Granularity, Task]] = MappingProxyType(
    {grain: task for task, grain in GRANULARITIES.items()}
)


class Asker(Protocol):
    """What is asked about an image, and what its answers change. `GivenScorer` does the asking."""

    def specs(self, work: Work) -> list[TaskSpec]:
        """Return the questions about an image; none where it has nothing to be scored."""

    def take(self, work: Work, outcome: InferResult) -> None:
        """Keep the scores of the answers, which are in the order of the questions."""


class GivenScorer:
    """Gives annotations without a score the one that a model finds right.

    An annotator that stands before or behind those that find something new.
    """

    def __init__(
        self, answerer: Answerer, asker: Asker, *, name: str, identity: Mapping[str, Any]
    ) -> None:
        """Take an answerer that takes the tasks of items."""
        self.name = name
        self.identity = identity
        self._answerer, self._asker = answerer, asker

    def annotate(self, works: Iterable[Work]) -> Iterator[Work]:
        """Yield each work once, its annotations with scores."""
        for work, outcome in answers_about(works, self._answerer, self.name, self._item):
            if outcome is not None:
                for result in outcome.tasks:
                    if result.error is not None:
                        work.failures.append((f"{self.name}: {result.task}", result.error))
                self._asker.take(work, outcome)
            yield work

    def _item(self, work: Work) -> Item | None:
        asked = self._asker.specs(work)
        return replace(work.item, tasks=tuple(asked)) if asked else None


class TextScorer(GivenScorer):
    """Gives texts without a score the one that they would have as the model's own answer."""

    def __init__(self, answerer: Answerer, *, name: str = "scorer", round_number: int = 0) -> None:
        """Take an answerer that takes the tasks of items."""
        identity = {"scores": "texts", "round": round_number}
        super().__init__(answerer, _Texts(), name=name, identity=identity)


class _Texts:
    def specs(self, work: Work) -> list[TaskSpec]:
        return [
            scoring_spec(_TASKS[text.granularity], [text.text])
            for text in work.annotations.texts
            if text.provenance.score is None
        ]

    def take(self, work: Work, outcome: InferResult) -> None:
        results = iter(outcome.tasks)
        work.annotations.texts = [
            self._scored(text, next(results)) if text.provenance.score is None else text
            for text in work.annotations.texts
        ]

    def _scored(self, text: Text, result: TaskResult) -> Text:
        if not result.ok:
            return text
        return _with_score(text, result.answer.candidates[0].answer.score)


class LabelScorer(GivenScorer):
    """Judges the labels of regions by what the model would call each place.

    The score of a label is its probability at its place as a share of that of the likeliest label:
    1 where the model would say the same. Where it would say something else, that is a finding of
    its own, of the same place, with its posterior among all labels as score.
    """

    def __init__(
        self,
        answerer: Answerer,
        labels: Sequence[str],
        *,
        finder: str,
        name: str = "label scorer",
        round_number: int = 0,
    ) -> None:
        """Take an answerer that takes the tasks of items.

        Args:
            answerer: Has a model that answers `REGION_TO_CATEGORY`.
            labels: The labels that each one is compared with.
            finder: The annotator of what the model calls a place: that of the model's other
                findings, so that it has one vote in merging.
            name: Stands in the failures.
            round_number: Of the refinement.
        """
        identity = {"scores": "labels", "labels": list(labels), "round": round_number}
        asker = _Labels(tuple(labels), Provenance(annotator=finder, round=round_number))
        super().__init__(answerer, asker, name=name, identity=identity)


@dataclass(frozen=True, slots=True)
class _Labels:
    labels: tuple[str, ...]
    finder: Provenance

    def specs(self, work: Work) -> list[TaskSpec]:
        return [
            scoring_spec(TaskSpec(Task.REGION_TO_CATEGORY, region=box), self._candidates(region))
            for region, box in self._asked(work)
        ]

    def take(self, work: Work, outcome: InferResult) -> None:
        fingerprint = "" if outcome.model is None else outcome.model.fingerprint
        judged: dict[int, RegionText] = {}
        found: list[RegionText] = []
        for (region, _), result in zip(self._asked(work), outcome.tasks, strict=True):
            if not result.ok:
                continue
            names = self._candidates(region)
            posteriors = [one.posterior for one in result.answer.candidates]
            best = max(range(len(names)), key=lambda at: posteriors[at])
            own = posteriors[names.index(region.text)]
            judged[id(region)] = _with_score(region, own / posteriors[best])
            if names[best] != region.text:
                facts = {
                    "model": fingerprint,
                    "task": str(result.task),
                    "score": share(posteriors[best]),
                }
                provenance = self.finder.model_copy(update=facts)
                changes = {"text": names[best], "provenance": provenance}
                found.append(region.model_copy(update=changes))
        said = work.annotations.regions
        work.annotations.regions = [*(judged.get(id(one), one) for one in said), *found]

    def _candidates(self, region: RegionText) -> list[str]:
        return list(dict.fromkeys((*self.labels, region.text)))

    def _asked(self, work: Work) -> Iterator[tuple[RegionText, Box]]:
        """Yield the regions that are judged, with the part of their box in the image."""
        for region in work.annotations.regions:
            if region.kind is RegionKind.CATEGORY and region.provenance.score is None:
                box = _inside(region.bounds, work.size)
                if box.x1 > box.x0 and box.y1 > box.y0:
                    yield region, box


def _inside(bounds: Sequence[float], size: ImageSize | None) -> Box:
    """Return the part of a box that is in the image; a box beside it becomes an empty one."""
    x0, y0, x1, y1 = bounds
    right, bottom = (x1, y1) if size is None else (size.width_px, size.height_px)
    return Box(max(0.0, x0), max(0.0, y0), min(x1, right), min(y1, bottom))


def _with_score(item: ItemT, score: float | None) -> ItemT:
    provenance = item.provenance.model_copy(update={"score": share(score)})
    return item.model_copy(update={"provenance": provenance})


def frequent_labels(records: Iterable[ImageRecord], count: int) -> list[str]:
    """Return the labels of category regions, the most frequent first; of equals by name."""
    found = Counter(
        one.text for record in records for one in record.regions if one.kind is RegionKind.CATEGORY
    )
    return sorted(found, key=lambda label: (-found[label], label))[:count]
