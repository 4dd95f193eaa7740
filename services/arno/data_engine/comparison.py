"""Compare a data set with one whose annotations are right: what `arno dataset compare` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from arno.dataset import Dataset, ImageRecord, RegionKind
from arno.errors import InvalidFieldError
from arno.training.evaluation.metrics.captions import object_tally
from arno.training.evaluation.metrics.matching import Tally, match, same_label, total
from arno.vocabulary import Region


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a data set agrees with the truth.

    Attributes:
        image_count: Images of the truth.
        regions: Category regions; right are those of the same label with an IoU of 0.5 or more.
        objects: Objects that the texts name, with their numbers.
    """

    image_count: int
    regions: Tally
    objects: Tally

    def figures(self) -> dict[str, float]:
        """Return the figures by name."""
        return {
            "region_f1": self.regions.f1,
            "region_precision": self.regions.precision,
            "region_recall": self.regions.recall,
            "caption_object_f1": self.objects.f1,
            "caption_object_precision": self.objects.precision,
            "caption_object_recall": self.objects.recall,
        }


def compare(dataset: Dataset, truth: Dataset, nouns: Mapping[str, str] | None = None) -> Agreement:
    """Return how far a data set agrees with the truth, over the images of the truth.

    An image that the data set does not have counts as one without annotations. Texts are compared
    with those of the same granularity; where there are several, each is.

    Args:
        dataset: What is judged.
        truth: The right annotations; matched by image id.
        nouns: Words that name objects in texts, to the object's name; None are the category labels
            of the truth and their usual plurals.

    Raises:
        InvalidFieldError: The two have no image in common.
    """
    named = nouns_of_labels(truth) if nouns is None else nouns
    places = {record.image_id: number for number, record in enumerate(dataset)}
    regions: list[Tally] = []
    objects: list[Tally] = []
    common = 0
    for true in truth:
        number = places.get(true.image_id)
        common += number is not None
        said = None if number is None else dataset[number]
        regions.append(_region_tally(said, true))
        objects += _text_tallies(said, true, named)
    if not common:
        problem = "has no image in common with the truth"
        raise InvalidFieldError(field=str(dataset.folder), problem=problem)
    return Agreement(len(truth), total(regions), total(objects))


def nouns_of_labels(dataset: Dataset) -> dict[str, str]:
    """Return the category labels of a data set and their regular plurals, as nouns of texts."""
    labels = {
        one.text.casefold()
        for record in dataset
        for one in record.regions
        if one.kind is RegionKind.CATEGORY
    }
    return {form: label for label in sorted(labels) for form in _forms(label)}


def _forms(label: str) -> Iterator[str]:
    yield label
    yield f"{label}s"
    yield f"{label}es"
    if label.endswith("y"):
        yield f"{label[:-1]}ies"
    if label.endswith("f"):
        yield f"{label[:-1]}ves"


def _region_tally(said: ImageRecord | None, true: ImageRecord) -> Tally:
    found, wanted = _regions(said), _regions(true)
    return Tally(len(found), len(wanted), len(match(found, wanted, may_match=same_label)))


def _regions(record: ImageRecord | None) -> Sequence[Region]:
    regions = () if record is None else record.regions
    return [Region(one.text, one.shape) for one in regions if one.kind is RegionKind.CATEGORY]


def _text_tallies(
    said: ImageRecord | None, true: ImageRecord, nouns: Mapping[str, str]
) -> Iterable[Tally]:
    texts = () if said is None else said.texts
    for wanted in true.texts:
        found = [text.text for text in texts if text.granularity is wanted.granularity]
        for words in found or [""]:
            yield object_tally(words, wanted.text, nouns)
