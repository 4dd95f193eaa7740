"""Write the answers of tasks as the results of a Label Studio control.

Source of their form: Label Studio, guide "Import pre-annotations".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from arno.client.exports.label_studio import points_of, rectangle_of
from arno.errors import InvalidFieldError
from arno.vocabulary import ImageSize, Polygon, Region, Shape, Task, bounding_box
from arno.vocabulary.catalogue import CATALOGUE, AnswerKind, ExtraInput
from arno.vocabulary.regions import corners
from arno.vocabulary.results import TaskResult
from arno.vocabulary.spec import TaskSpec, task_of
from arno.web.label_studio.label_config import TASK_ATTRIBUTE, Control, Label

Entry: TypeAlias = dict[str, Any]
"""One result in a prediction."""

Answers: TypeAlias = Sequence[TaskResult]
"""What came of a filler's tasks, in their order."""

_CLASSES_MAX: Final = 64
_CORNERS_MIN: Final = 3


class Filler(Protocol):
    """Fills one control, with those that belong to it."""

    @property
    def specs(self) -> tuple[TaskSpec, ...]:
        """The tasks that it needs."""

    def entries(self, answers: Answers, size: ImageSize) -> Iterator[Entry]:
        """Yield the results.

        Raises:
            ArnoError: A task failed; this is why.
        """


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes regions: their place, their label, the text at them, each where it belongs."""

    place: Control
    names: Control | None = None
    text: Control | None = None

    def write(
        self, region: Region, label: str, size: ImageSize, *, text: str = "", key: str
    ) -> Iterator[Entry]:
        """Yield the entries of a region, which share an id; none where it has no extent."""
        outlined = self.place.kind.startswith("polygon")
        for number, shape in enumerate(_parts(region.shape) if outlined else [region.shape]):
            where = _outline(shape, size) if outlined else _box(shape, size)
            if where is None:
                continue
            shared: Entry = {"id": f"{key}/{number}"}
            if region.score is not None:
                shared["score"] = region.score
            yield shared | self._entry(self.place, where, [label])
            if self.names is not None:
                yield shared | self._entry(self.names, where, [label])
            if self.text is not None:
                yield shared | self._entry(self.text, where | {"text": [text]}, [])

    def _entry(self, control: Control, value: Entry, labels: list[str]) -> Entry:
        named = control.kind.endswith("labels")
        value = value | ({control.kind: labels} if named else {})
        return {"type": control.kind, "from_name": control.name, "value": value}


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes of the labels that are seen."""

    writer: Writer
    labels: tuple[Label, ...]
    score_min: float

    @property
    def specs(self) -> tuple[TaskSpec, ...]:
        """Its tasks."""
        return tuple(_detections(self.labels, self.writer.place.score_min(self.score_min)))

    def entries(self, answers: Answers, size: ImageSize) -> Iterator[Entry]:
        """Yield the results."""
        for label, region, key in _named(self.labels, answers):
            yield from self.writer.write(region, label, size, key=f"{self.writer.place.name}/{key}")


@dataclass(frozen=True, slots=True)
class Outlines:
    """Outlines of the labels, each asked for by itself."""

    writer: Writer
    labels: tuple[Label, ...]
    score_min: float

    @property
    def specs(self) -> tuple[TaskSpec, ...]:
        """Its tasks."""
        least = self.writer.place.score_min(self.score_min)
        task = Task.REFERRING_EXPRESSION_SEGMENTATION
        return tuple(
            TaskSpec(task, text=phrase, min_score=least)
            for label in self.labels
            for phrase in label.phrases
        )

    def entries(self, answers: Answers, size: ImageSize) -> Iterator[Entry]:
        """Yield the results."""
        names = [label.name for label in self.labels for _ in label.phrases]
        for number, (name, answer) in enumerate(zip(names, answers, strict=True)):
            for index, region in enumerate(answer.regions):
                key = f"{self.writer.place.name}/{number}/{index}"
                yield from self.writer.write(region, name, size, key=key)


@dataclass(frozen=True, slots=True)
class Words:
    """Texts at their places; where there are several labels, all texts get the first."""

    writer: Writer
    reader: Control
    score_min: float

    @property
    def specs(self) -> tuple[TaskSpec, ...]:
        """Its tasks."""
        kinds = (AnswerKind.OCR, AnswerKind.DETECTION)
        task = _task_of(self.reader, Task.OCR_WITH_REGION, lambda kind: kind in kinds)
        return (TaskSpec(task, min_score=self.writer.place.score_min(self.score_min)),)

    def entries(self, answers: Answers, size: ImageSize) -> Iterator[Entry]:
        """Yield the results."""
        labels = self.writer.place.labels or (self.writer.names.labels if self.writer.names else ())
        label = labels[0].name if labels else ""
        for index, region in enumerate(answers[0].regions):
            key = f"{self.writer.place.name}/{index}"
            yield from self.writer.write(region, label, size, text=region.label, key=key)


@dataclass(frozen=True, slots=True)
class Proposals:
    """Boxes without labels."""

    writer: Writer
    score_min: float

    @property
    def specs(self) -> tuple[TaskSpec, ...]:
        """Its tasks."""
        least = self.writer.place.score_min(self.score_min)
        return (TaskSpec(Task.REGION_PROPOSAL, min_score=least),)

    def entries(self, answers: Answers, size: ImageSize) -> Iterator[Entry]:
        """Yield the results."""
        for index, region in enumerate(answers[0].regions):
            key = f"{self.writer.place.name}/{index}"
            yield from self.writer.write(region, "", size, key=key)


@dataclass(frozen=True, slots=True)
class Text:
    """A text about the whole image."""

    control: Control

    @property
    def specs(self) -> tuple[TaskSpec, ...]:
        """Its tasks."""
        return (
            TaskSpec(_task_of(self.control, Task.CAPTION, lambda kind: kind is AnswerKind.TEXT)),
        )

    def entries(self, answers: Answers, size: ImageSize) -> Iterator[Entry]:
        """Yield the results."""
        yield _whole(self.control, {"text": [answers[0].answer_text]}, answers[0].answer.score)


@dataclass(frozen=True, slots=True)
class OneChoice:
    """The choice that is seen best; where none is, the likeliest as the caption of the image."""

    control: Control
    score_min: float

    @property
    def specs(self) -> tuple[TaskSpec, ...]:
        """Its tasks."""
        labels = labelled(self.control)
        phrases = [phrase for label in labels for phrase in label.phrases]
        seen = _detections(labels, self.control.score_min(self.score_min))
        return (*seen, TaskSpec(Task.CAPTION, candidates=phrases))

    def entries(self, answers: Answers, size: ImageSize) -> Iterator[Entry]:
        """Yield the results."""
        scores = _best_scores(self.control.labels, answers[:-1])
        if not scores:
            scores = self._likelihoods(answers[-1])
        best = max(scores, key=lambda name: scores[name])
        yield _whole(self.control, {"choices": [best]}, min(scores[best], 1.0))

    def _likelihoods(self, caption: TaskResult) -> dict[str, float]:
        scores: dict[str, float] = {}
        names = [label.name for label in self.control.labels for _ in label.phrases]
        for name, candidate in zip(names, caption.answer.candidates, strict=True):
            scores[name] = scores.get(name, 0.0) + candidate.posterior
        return scores


@dataclass(frozen=True, slots=True)
class Several:
    """The choices that can be seen in the image."""

    control: Control
    score_min: float

    @property
    def specs(self) -> tuple[TaskSpec, ...]:
        """Its tasks."""
        least = self.control.score_min(self.score_min)
        return tuple(_detections(labelled(self.control), least))

    def entries(self, answers: Answers, size: ImageSize) -> Iterator[Entry]:
        """Yield the results."""
        found = _best_scores(self.control.labels, answers)
        if found:
            chosen = [label.name for label in self.control.labels if label.name in found]
            yield _whole(self.control, {"choices": chosen}, sum(found.values()) / len(found))


def labelled(control: Control) -> tuple[Label, ...]:
    """Return the labels of a control.

    Raises:
        InvalidFieldError: It has none.
    """
    if not control.labels:
        raise InvalidFieldError(field=control.field, problem="has no label", limit="1 or more")
    return control.labels


def _detections(labels: Sequence[Label], score_min: float) -> Iterator[TaskSpec]:
    phrases = list(dict.fromkeys(phrase for label in labels for phrase in label.phrases))
    for start in range(0, len(phrases), _CLASSES_MAX):
        yield TaskSpec(
            Task.OPEN_VOCABULARY_DETECTION,
            classes=phrases[start : start + _CLASSES_MAX],
            constrained=True,
            min_score=score_min,
        )


def _named(labels: Sequence[Label], answers: Answers) -> Iterator[tuple[str, Region, str]]:
    """Yield the regions of detections with the names of their labels, and a key for each."""
    names: Mapping[str, str] = {
        phrase.lower(): label.name for label in reversed(labels) for phrase in label.phrases
    }
    for number, answer in enumerate(answers):
        for index, region in enumerate(answer.regions):
            name = names.get(region.label.lower())
            if name is not None and region.shape:
                yield name, region, f"{number}/{index}"


def _best_scores(labels: Sequence[Label], answers: Answers) -> dict[str, float]:
    """Return the names of labels that were detected, each with its best score."""
    found: dict[str, float] = {}
    for name, region, _ in _named(labels, answers):
        found[name] = max(found.get(name, 0.0), region.score or 0.0)
    return found


def _task_of(control: Control, default: Task, allowed: Callable[[AnswerKind], bool]) -> Task:
    given = control.attributes.get(TASK_ATTRIBUTE)
    if given is None:
        return default
    rows = (row for row in CATALOGUE.values() if row.extra_input is ExtraInput.NONE)
    tasks = [row.task for row in rows if allowed(row.answer_kind)]
    try:
        task = task_of(given)
    except InvalidFieldError:
        task = None
    if task in tasks:
        return task
    problem, limit = f"{TASK_ATTRIBUTE} is no task that fills this control", ", ".join(tasks)
    raise InvalidFieldError(field=control.field, problem=problem, limit=limit, sent=given)


def _whole(control: Control, value: Entry, score: float | None) -> Entry:
    """Return an entry about the whole image."""
    entry = {"id": control.name, "type": control.kind, "from_name": control.name, "value": value}
    return entry if score is None else entry | {"score": score}


def _parts(shape: Shape) -> Sequence[Shape]:
    """Return the shape's outlines, each alone: a result of Label Studio holds one."""
    return [(part,) for part in shape] if isinstance(shape, tuple) else [shape]


def _outline(shape: Shape, size: ImageSize) -> Entry | None:
    polygon = Polygon(corners(shape))
    if len(polygon.points) < _CORNERS_MIN:
        return None
    return {"points": points_of(polygon, size), "closed": True}


def _box(shape: Shape, size: ImageSize) -> Entry | None:
    place = rectangle_of(bounding_box(shape), size)
    return place if place["width"] and place["height"] else None
