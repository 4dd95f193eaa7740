"""Give each region a text that says more than its class: the best of three, as FLD-5B has it.

The candidates are the class, a brief caption of the region's crop, and the noun chunks of the texts
about the image (Florence-2, arXiv:2311.06242, section 4). The best is the one that the model finds
likeliest as its description of the region, a token at a time so that long ones are not punished; or
the one that fits the crop best by a similarity model.
"""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from PIL.Image import Image

from arno.bulk import Answerer, Item
from arno.data_engine.annotators.annotator import LIMITS, Work, share
from arno.dataset import Provenance, RegionKind, RegionText
from arno.errors import ArnoError
from arno.images.decode import decode_image
from arno.vocabulary import Box, Task, TaskSpec, TextAnswer
from arno.vocabulary.spec import scoring_spec

_GROUP_IMAGES: Final = 32
_CANDIDATES_MAX: Final = 16
_SIDE_PX_MIN: Final = 4

Similarity = Callable[[Image, Sequence[str]], Sequence[float]]


@dataclass(slots=True)
class _Asked:
    """A region that gets a text."""

    work: Work
    number: int
    region: RegionText
    box: Box
    crop: Image
    caption: str = ""
    candidates: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        return f"{self.work.item.key}#region-{self.number}"


class RegionTexts:
    """Adds to each category region the best text for it."""

    def __init__(
        self,
        answerer: Answerer,
        chunks: Callable[[str], Sequence[str]],
        *,
        name: str = "region texts",
        similarity: Similarity | None = None,
        fingerprint: str = "",
    ) -> None:
        """Take what asks, and what judges.

        Args:
            answerer: Takes the tasks of items.
            chunks: Returns the noun chunks of a text.
            name: Stands in the provenance.
            similarity: Judges the candidates by the crop; None has the model judge them.
            fingerprint: Of the similarity model.
        """
        self.name = name
        judge = fingerprint or ("model" if similarity is None else "similarity")
        self.identity: Mapping[str, Any] = {"candidates": "class, crop, chunks", "judge": judge}
        self._answerer, self._chunks, self._similarity = answerer, chunks, similarity

    def annotate(self, works: Iterable[Work]) -> Iterator[Work]:
        """Yield each work once, in order."""
        rest = iter(works)
        while group := list(itertools.islice(rest, _GROUP_IMAGES)):
            asked = [one for work in group for one in self._regions(work)]
            self._caption(asked)
            for one in asked:
                one.candidates = self._candidates(one)
            self._judge(asked)
            yield from group

    def _regions(self, work: Work) -> list[_Asked]:
        named = [one for one in work.annotations.regions if one.kind is RegionKind.CATEGORY]
        if not named:
            return []
        try:
            content = work.item.open_image()
            picture = decode_image(content, LIMITS, field="image").picture
        except ArnoError as error:
            work.failures.append((self.name, error))
            return []
        asked = []
        for number, region in enumerate(named):
            x0, y0, x1, y1 = region.bounds
            right, bottom = min(x1, float(picture.width)), min(y1, float(picture.height))
            box = Box(max(0.0, x0), max(0.0, y0), right, bottom)
            if min(box.x1 - box.x0, box.y1 - box.y0) >= _SIDE_PX_MIN:
                crop = picture.crop((round(box.x0), round(box.y0), round(right), round(bottom)))
                asked.append(_Asked(work, number, region, box, crop))
        return asked

    def _caption(self, asked: Sequence[_Asked]) -> None:
        """Have each crop described."""
        by_key = {one.key: one for one in asked}
        items = (Item(one.key, _opener(one.crop), tasks=(TaskSpec(Task.CAPTION),)) for one in asked)
        for key, outcome in self._answers(items):
            one = by_key[key]
            if isinstance(outcome, ArnoError):
                one.work.failures.append((self.name, outcome))
                continue
            result = outcome.tasks[0]
            if (error := result.error) is not None:
                one.work.failures.append((f"{self.name}: {result.task}", error))
            elif isinstance(result.answer.value, TextAnswer):
                one.caption = result.answer.value.text

    def _candidates(self, one: _Asked) -> list[str]:
        texts = (text.text for text in one.work.annotations.texts)
        chunks = (chunk for text in texts for chunk in self._chunks(text))
        found = (text.strip() for text in (one.region.text, one.caption, *chunks))
        return list(dict.fromkeys(text for text in found if text))[:_CANDIDATES_MAX]

    def _judge(self, asked: Sequence[_Asked]) -> None:
        if self._similarity is not None:
            for one in asked:
                self._add(one, self._similarity(one.crop, one.candidates), "")
            return
        by_image: dict[str, list[_Asked]] = {}
        for one in asked:
            by_image.setdefault(one.work.item.key, []).append(one)
        items = (
            Item(key, some[0].work.item.open_image, tasks=tuple(map(_spec, some)))
            for key, some in by_image.items()
        )
        for key, outcome in self._answers(items, "#judge"):
            if isinstance(outcome, ArnoError):
                by_image[key][0].work.failures.append((self.name, outcome))
                continue
            fingerprint = outcome.model.fingerprint if outcome.model is not None else ""
            for one, result in zip(by_image[key], outcome.tasks, strict=True):
                if (error := result.error) is not None:
                    one.work.failures.append((f"{self.name}: {result.task}", error))
                else:
                    scores = [given.answer.score or 0.0 for given in result.answer.candidates]
                    self._add(one, scores, fingerprint)

    def _answers(self, items: Iterable[Item], mark: str = "") -> Iterator[tuple[str, Any]]:
        """Yield each item's key and outcome; the mark tells its job from that of the same image."""
        marked = (Item(f"{one.key}{mark}", one.open_image, tasks=one.tasks) for one in items)
        answers: Any = self._answerer.answer(marked)
        with contextlib.closing(answers) as outcomes:
            for answered in outcomes:
                yield answered.item.key.removesuffix(mark), answered.outcome
                answered.release()

    def _add(self, one: _Asked, scores: Sequence[float], fingerprint: str) -> None:
        at = max(range(len(scores)), key=lambda number: scores[number])
        text = one.candidates[at]
        provenance = Provenance(
            annotator=self.name,
            model=fingerprint,
            task=str(Task.REGION_TO_DESCRIPTION),
            score=share(scores[at]),
        )
        kind = RegionKind.SENTENCE if text == one.caption.strip() else RegionKind.PHRASE
        changes = {"kind": kind, "text": text, "provenance": provenance}
        one.work.annotations.regions.append(one.region.model_copy(update=changes))


def _spec(one: _Asked) -> TaskSpec:
    asked = TaskSpec(Task.REGION_TO_DESCRIPTION, region=one.box)
    return scoring_spec(asked, one.candidates)


def _opener(picture: Image) -> Callable[[], bytes]:
    def opened() -> bytes:
        file = io.BytesIO()
        picture.save(file, "PNG", compress_level=1)
        return file.getvalue()

    return opened
