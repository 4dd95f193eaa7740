"""The port between an annotation run and what annotates, and the annotators behind it.

An annotator takes work as it comes and gives each back once, with what it found or with an error:
an image that one annotator fails at is still shown to the others.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from typing import Any, Final, Protocol, TypeAlias

from PIL.Image import Image
from pydantic import ValidationError

from arno.bulk import Answerer, Item
from arno.dataset.answers import ANNOTATING, Annotations
from arno.dataset.records import Provenance, RegionText, Text
from arno.dataset.shards import invalid
from arno.errors import ArnoError, EngineError, InputUnavailableError, InvalidFieldError
from arno.images.decode import ImageLimits, decode_image
from arno.vocabulary import ImageSize, TaskLike, TaskSpec, spec_of
from arno.vocabulary.results import InferResult, TaskResult

LIMITS: Final = ImageLimits(bytes_max=1 << 30, pixels_max=400_000_000)
"""One's own pictures: only what no picture has is refused."""

Finding: TypeAlias = Mapping[str, Any]
"""One finding of a function: a region's place, ``kind``, ``text`` and ``score``, or a ``text`` with
its ``granularity`` and ``score``; named as in a data set."""


@dataclass(slots=True)
class Work:
    """An image on its way through the annotators; the run owns it.

    Attributes:
        item: The image.
        position: Its number in the source, from 0.
        annotations: What was found so far.
        failures: The annotators that failed, with the error.
        releases: Called once the record is kept.
        number: How many images of the source stand before it; a part of a data set has fewer
            images than its last position says.
        size: Of the image; None where it is not known before the image is opened.
    """

    item: Item
    position: int
    annotations: Annotations = field(default_factory=Annotations)
    failures: list[tuple[str, ArnoError]] = field(default_factory=list)
    releases: list[Callable[[], None]] = field(default_factory=list)
    number: int = 0
    size: ImageSize | None = None


class Annotator(Protocol):
    """Annotates images. One call of `annotate` at a time.

    Attributes:
        name: Stands in the provenance of what it finds.
        identity: What decides its findings; a run in which it changes is another run.
    """

    name: str
    identity: Mapping[str, Any]

    def annotate(self, works: Iterable[Work]) -> Iterator[Work]:
        """Yield each work once, in any order, with what was found.

        Raises:
            ArnoError: No image can be annotated, now or for too long. Faults of single images are
                failures of their work.
        """


def answers_about(
    works: Iterable[Work],
    answerer: Answerer,
    name: str,
    item_of: Callable[[Work], Item | None] = lambda work: work.item,
) -> Iterator[tuple[Work, InferResult | None]]:
    """Yield each work once, with the answer; None where there is none.

    Args:
        works: As they come.
        answerer: Answers their items, in any order.
        name: Stands in the failure of a work that is not answered.
        item_of: Returns what is asked about; None where nothing is.
    """
    under_way: dict[str, Work] = {}
    without: list[Work] = []

    def items() -> Iterator[Item]:
        for work in works:
            item = item_of(work)
            if item is None:
                without.append(work)
            else:
                under_way[item.key] = work
                yield item

    answers: Any = answerer.answer(items())
    with contextlib.closing(answers) as outcomes:
        for answered in outcomes:
            work = under_way.pop(answered.item.key)
            work.releases.append(answered.release)
            if isinstance(answered.outcome, ArnoError):
                work.failures.append((name, answered.outcome))
                yield work, None
            else:
                yield work, answered.outcome
            while without:
                yield without.pop(), None
    yield from ((work, None) for work in without)


class TaskAnnotator:
    """Annotates by Florence-2 tasks, through any answerer: a gateway, or a model in this process.

    A task may follow an earlier one, as in a request: the grounding of a caption that was just
    written gives triplets.
    """

    def __init__(
        self, answerer: Answerer, tasks: Sequence[TaskLike], *, name: str, round_number: int = 0
    ) -> None:
        """Take an answerer that asks these tasks.

        Raises:
            InvalidFieldError: The answers of a task are no annotations.
        """
        specs = [spec_of(task) for task in tasks]
        for spec in specs:
            if spec.task not in ANNOTATING:
                allowed = ", ".join(sorted(ANNOTATING))
                problem = "its answers are no annotations"
                raise InvalidFieldError(
                    field="task", problem=problem, limit=allowed, sent=spec.task
                )
        self.name = name
        self.identity: Mapping[str, Any] = {
            "tasks": [_in_words(spec) for spec in specs],
            "round": round_number,
        }
        self._answerer = answerer
        self._round = round_number
        self._specs = {spec.id or str(index): spec for index, spec in enumerate(specs)}

    def annotate(self, works: Iterable[Work]) -> Iterator[Work]:
        """Yield each work once, as it is answered."""
        for work, outcome in answers_about(works, self._answerer, self.name):
            if outcome is not None:
                self._take(work, outcome)
            yield work

    def _take(self, work: Work, outcome: InferResult) -> None:
        for result in outcome:
            if result.ok:
                self._add(work, result, outcome)
            elif result.error is not None and not isinstance(result.error, InputUnavailableError):
                work.failures.append((f"{self.name}: {result.task}", result.error))

    def _add(self, work: Work, result: TaskResult, outcome: InferResult) -> None:
        asked = self._specs.get(result.id.partition(".")[0])
        classes = asked.classes if asked is not None else ()
        text = "" if classes else result.text
        spec = TaskSpec(result.task, text=text, classes=classes, region=result.region)
        provenance = Provenance(
            annotator=self.name,
            model=outcome.model.fingerprint if outcome.model is not None else "",
            task=str(result.task),
            score=share(result.answer.score),
            round=self._round,
        )
        work.annotations.add(spec, result.answer.value, provenance)


def _in_words(spec: TaskSpec) -> str:
    """Return a task with all that is asked otherwise than by its name alone."""
    plain = TaskSpec(spec.task)
    given = {one.name: getattr(spec, one.name) for one in fields(spec) if one.name != "id"}
    facts = [
        f"{name} {', '.join(value) if name == 'classes' else value}"
        for name, value in given.items()
        if value != getattr(plain, name)
    ]
    return f"{spec.task} ({'; '.join(facts)})" if facts else str(spec.task)


class FunctionAnnotator:
    """Annotates by a function of the image: the user's own, or another library's model."""

    def __init__(
        self,
        function: Callable[[Image], Iterable[Finding]],
        *,
        name: str,
        model: str = "",
        parallel: int = 1,
    ) -> None:
        """Take a function.

        Args:
            function: Takes an upright RGB picture and returns findings.
            name: Stands in the provenance.
            model: Fingerprint of the model behind it.
            parallel: Images that it looks at at once, each on a thread of its own: for functions
                that wait for another machine.
        """
        self.name = name
        self.identity: Mapping[str, Any] = {"model": model}
        self._function = function
        self._model = model
        self._parallel = parallel

    def annotate(self, works: Iterable[Work]) -> Iterator[Work]:
        """Yield each work once, in order."""
        if self._parallel == 1:
            yield from map(self._look, works)
            return
        under_way: deque[Future[Work]] = deque()
        with ThreadPoolExecutor(self._parallel) as pool:
            for work in works:
                under_way.append(pool.submit(self._look, work))
                if len(under_way) == self._parallel:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()

    def _look(self, work: Work) -> Work:
        try:
            content = work.item.open_image()
            picture = decode_image(content, LIMITS, field="image").picture
            found = self._found(picture)
        except ArnoError as error:
            work.failures.append((self.name, error))
            return work
        for text in found.texts:
            name = f"t{len(work.annotations.texts)}"
            work.annotations.texts.append(text.model_copy(update={"id": name}))
        work.annotations.regions += found.regions
        return work

    def _found(self, picture: Image) -> Annotations:
        """Return what the function finds, all of it or nothing."""
        found = Annotations()
        try:
            findings = list(self._function(picture))
        except Exception as error:
            raise EngineError(f"{self.name}: {type(error).__name__}: {error}") from error
        for number, finding in enumerate(findings):
            self._add(found, number, finding)
        return found

    def _add(self, found: Annotations, number: int, finding: Finding) -> None:
        place = f"{self.name}: finding {number}"
        if not isinstance(finding, Mapping):
            raise InvalidFieldError(field=place, problem="not a mapping", sent=repr(finding)[:80])
        fields = dict(finding)
        try:
            provenance = Provenance(
                annotator=self.name, model=self._model, score=fields.pop("score", None)
            )
            if "granularity" in fields:
                fields["id"] = f"t{len(found.texts)}"
                found.texts.append(Text(**fields, provenance=provenance))
            else:
                found.regions.append(RegionText(**fields, provenance=provenance))
        except ValidationError as error:
            raise invalid(place, error) from error
        except TypeError as error:
            raise InvalidFieldError(field=place, problem=str(error)) from error


def share(score: float | None) -> float | None:
    """Return a score as a data set has it: from 0 to 1, or none."""
    return None if score is None else min(max(score, 0.0), 1.0)
