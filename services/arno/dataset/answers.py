"""Turn the answers of tasks into annotations.

The one place that says which task gives which annotation; `questions` is the way back. A task
whose answers are none (OCR without regions, PROMPT) is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError

from arno.dataset.records import (
    Granularity,
    Provenance,
    RegionKind,
    RegionText,
    Text,
    Triplet,
    place_of,
)
from arno.errors import InvalidFieldError
from arno.vocabulary import (
    AnswerValue,
    DetectionAnswer,
    GroundingAnswer,
    OcrAnswer,
    Region,
    SegmentationAnswer,
    Task,
    TaskSpec,
    TextAnswer,
)

GRANULARITIES: Final[Mapping[Task, Granularity]] = MappingProxyType(
    {
        Task.CAPTION: Granularity.BRIEF,
        Task.DETAILED_CAPTION: Granularity.DETAILED,
        Task.MORE_DETAILED_CAPTION: Granularity.MORE_DETAILED,
    }
)
KINDS: Final[Mapping[Task, RegionKind]] = MappingProxyType(
    {
        Task.OD: RegionKind.CATEGORY,
        Task.DENSE_REGION_CAPTION: RegionKind.SENTENCE,
        Task.REGION_PROPOSAL: RegionKind.PROPOSAL,
        Task.OCR_WITH_REGION: RegionKind.OCR,
        Task.OPEN_VOCABULARY_DETECTION: RegionKind.PHRASE,
        Task.REFERRING_EXPRESSION_SEGMENTATION: RegionKind.PHRASE,
        Task.REGION_TO_SEGMENTATION: RegionKind.PROPOSAL,
        Task.REGION_TO_CATEGORY: RegionKind.CATEGORY,
        Task.REGION_TO_DESCRIPTION: RegionKind.SENTENCE,
        Task.REGION_TO_OCR: RegionKind.OCR,
    }
)
ANNOTATING: Final = frozenset({*GRANULARITIES, *KINDS, Task.CAPTION_TO_PHRASE_GROUNDING})
"""The tasks whose answers are annotations."""


@dataclass(slots=True)
class Annotations:
    """The annotations of one image as they come in.

    Attributes:
        texts: So far; an equal text of the same granularity is there once.
        regions: So far.
        triplets: So far.
        left_out: How many findings could not be kept, by the reason.
    """

    texts: list[Text] = field(default_factory=list)
    regions: list[RegionText] = field(default_factory=list)
    triplets: list[Triplet] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    def add(self, spec: TaskSpec, value: AnswerValue, provenance: Provenance) -> None:
        """Add the answer of a task; its regions' own scores go before that of the provenance.

        Raises:
            InvalidFieldError: The task's answers are no annotations.
        """
        task = spec.task
        if task in GRANULARITIES and isinstance(value, TextAnswer):
            self._add_text(value.text.strip(), GRANULARITIES[task], provenance)
        elif isinstance(value, GroundingAnswer):
            self._ground(spec, value, provenance)
        elif isinstance(value, TextAnswer) and spec.region is not None and task in KINDS:
            region = Region(value.text.strip(), spec.region)
            self._add_region(region, KINDS[task], provenance)
        elif isinstance(value, DetectionAnswer | SegmentationAnswer | OcrAnswer) and task in KINDS:
            for region in value.regions:
                self._add_region(_named(region, spec), _kind(spec), provenance)
        else:
            raise InvalidFieldError(
                field="task",
                problem="its answers are no annotations",
                limit=", ".join(sorted(ANNOTATING)),
                sent=task,
            )

    def _add_text(self, text: str, granularity: Granularity, provenance: Provenance) -> str:
        for there in self.texts:
            same = there.granularity is granularity and there.text == text
            if same and there.provenance.annotator == provenance.annotator:
                return there.id
        if not text:
            self._leave_out("empty text")
            return ""
        name = f"t{len(self.texts)}"
        self.texts.append(Text(id=name, granularity=granularity, text=text, provenance=provenance))
        return name

    def _add_region(self, region: Region, kind: RegionKind, provenance: Provenance) -> None:
        if kind is not RegionKind.PROPOSAL and not region.label.strip():
            self._leave_out("empty text")
            return
        try:
            place = place_of(region.shape)
            label = "" if kind is RegionKind.PROPOSAL else region.label.strip()
            pair = RegionText(
                **vars(place), kind=kind, text=label, provenance=_scored(provenance, region)
            )
        except ValueError:  # pydantic's too
            self._leave_out("not a shape")
            return
        self.regions.append(pair)

    def _ground(self, spec: TaskSpec, value: GroundingAnswer, provenance: Provenance) -> None:
        """Add phrases of a caption as triplets, classes as regions with a phrase."""
        if not spec.text:
            for phrase in value.phrases:
                for region in phrase.regions:
                    named = Region(phrase.phrase, region.shape, score=region.score)
                    self._add_region(named, RegionKind.PHRASE, provenance)
            return
        text = spec.text.strip()
        text_id = next((there.id for there in self.texts if there.text == text), "")
        text_id = text_id or self._add_text(text, Granularity.BRIEF, provenance)
        behind: dict[str, int] = {}
        for phrase in value.phrases:
            start = _find(text, phrase.phrase.strip(), behind.get(phrase.phrase, 0))
            if start < 0 or not phrase.phrase.strip():
                self._leave_out("phrase not in the text")
                continue
            end = behind[phrase.phrase] = start + len(phrase.phrase.strip())
            for region in phrase.regions:
                self._add_triplet(text_id, (start, end), region, provenance)

    def _add_triplet(
        self, text_id: str, span: tuple[int, int], region: Region, provenance: Provenance
    ) -> None:
        try:
            triplet = Triplet(
                **vars(place_of(region.shape)),
                text_id=text_id,
                start=span[0],
                end=span[1],
                provenance=_scored(provenance, region),
            )
        except ValidationError:
            self._leave_out("not a shape")
            return
        self.triplets.append(triplet)

    def _leave_out(self, reason: str) -> None:
        self.left_out[reason] = self.left_out.get(reason, 0) + 1

    def parts(self) -> dict[str, Any]:
        """Return the annotations as fields of an `ImageRecord`."""
        return {
            "texts": tuple(self.texts),
            "regions": tuple(self.regions),
            "triplets": tuple(self.triplets),
        }


def _find(text: str, phrase: str, start: int) -> int:
    found = text.find(phrase, start)
    # Models write a caption's first word in lower case again; lengths must stay those of the text.
    if found < 0 and len(text.lower()) == len(text):
        found = text.lower().find(phrase.lower(), start)
    return found


def _kind(spec: TaskSpec) -> RegionKind:
    named = spec.task is Task.OPEN_VOCABULARY_DETECTION and bool(spec.classes)
    return RegionKind.CATEGORY if named else KINDS[spec.task]


def _named(region: Region, spec: TaskSpec) -> Region:
    """Return a region with the phrase that was asked about, where the answer does not repeat it."""
    if region.label.strip() or spec.task is not Task.REFERRING_EXPRESSION_SEGMENTATION:
        return region
    return Region(spec.text, region.shape, score=region.score)


def _scored(provenance: Provenance, region: Region) -> Provenance:
    if region.score is None:
        return provenance
    score = min(max(region.score, 0.0), 1.0)
    return provenance.model_copy(update={"score": score, "calibrated": region.calibrated})
