"""Decide which tasks fill the controls of a project, image by image.

=========================================== =======================================================
Control                                     Filled by
=========================================== =======================================================
RectangleLabels; Rectangle with Labels      OPEN_VOCABULARY_DETECTION of the labels
PolygonLabels; Polygon with Labels          REFERRING_EXPRESSION_SEGMENTATION, once a label
a TextArea with perRegion, and a place      OCR_WITH_REGION, or the task of its ``arno_task``
Rectangle alone                             REGION_PROPOSAL
TextArea                                    CAPTION, or the task of its ``arno_task``
Choices for one choice                      OPEN_VOCABULARY_DETECTION, else candidates of CAPTION
Choices for several                         OPEN_VOCABULARY_DETECTION of the choices
=========================================== =======================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from arno.errors import InvalidFieldError, LimitExceededError
from arno.vocabulary import ImageSize
from arno.vocabulary.spec import TaskSpec
from arno.web.label_studio.fillers import (
    Answers,
    Boxes,
    Entry,
    Filler,
    OneChoice,
    Outlines,
    Proposals,
    Several,
    Text,
    Words,
    Writer,
    labelled,
)
from arno.web.label_studio.label_config import FIELD, Control, LabelConfig

_TASKS_MAX: Final = 64
_PLACES: Final = ("polygonlabels", "polygon", "rectanglelabels", "rectangle")


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """What fills the controls of one image of a project.

    Attributes:
        image: The name of the image's tag.
        key: Of the image in a task's data.
        fillers: In the order of the configuration.
    """

    image: str
    key: str
    fillers: tuple[Filler, ...]

    @property
    def specs(self) -> tuple[TaskSpec, ...]:
        """The tasks of all fillers, in their order."""
        return tuple(spec for filler in self.fillers for spec in filler.specs)

    def entries(self, results: Answers, size: ImageSize) -> list[Entry]:
        """Return the results of a prediction, from the outcomes of `specs`, in their order.

        Raises:
            ArnoError: A task failed; this is why.
        """
        found: list[Entry] = []
        rest = list(results)
        for filler in self.fillers:
            answers, rest = rest[: len(filler.specs)], rest[len(filler.specs) :]
            found += filler.entries(answers, size)
        numbers: dict[str, str] = {}
        for entry in found:
            name = f"{self.image}-{len(numbers)}"
            entry |= {"id": numbers.setdefault(entry["id"], name), "to_name": self.image}
            entry |= {"original_width": size.width_px, "original_height": size.height_px}
            entry["image_rotation"] = 0
        return found


def plans_of(config: LabelConfig, *, score_min: float) -> tuple[ImagePlan, ...]:
    """Return a plan for each image of a project that has something to fill.

    Args:
        config: The labeling configuration.
        score_min: Least score of what is written, where a control does not say.

    Raises:
        InvalidFieldError: Nothing here can be filled, or a control is not as it must be.
    """
    plans = []
    for name, key in config.images.items():
        controls = _Controls([one for one in config.controls if one.image == name])
        fillers = tuple(_fillers_of(controls, score_min))
        if fillers:
            plans.append(ImagePlan(name, key, fillers))
    if not plans:
        limit = "RectangleLabels, PolygonLabels, Rectangle, Polygon with Labels, TextArea, Choices"
        sent = ", ".join(sorted({control.kind for control in config.controls})) or "none"
        problem = "no control that can be filled"
        raise InvalidFieldError(field=FIELD, problem=problem, limit=limit, sent=sent)
    for plan in plans:
        if len(plan.specs) > _TASKS_MAX:
            limit, sent = f"{_TASKS_MAX} tasks an image", f"{len(plan.specs)} tasks"
            raise LimitExceededError(field=FIELD, problem="too many labels", limit=limit, sent=sent)
    return tuple(plans)


class _Controls:
    """The controls of one image; each is taken once."""

    def __init__(self, controls: Sequence[Control]) -> None:
        self._left = {control.name: control for control in controls}

    def take(self, *kinds: str) -> Control | None:
        """Return the next control of the first of these kinds that there is."""
        for kind in kinds:
            for control in self._left.values():
                # What is asked for each region needs a place; only texts get one here.
                if control.kind == kind and (kind in _PLACES or not control.per_region):
                    return self._left.pop(control.name)
        return None

    def all(self, kind: str) -> Iterator[Control]:
        """Take every control of a kind."""
        while control := self.take(kind):
            yield control

    def take_reader(self) -> Control | None:
        """Return the first text area that each region has for itself."""
        readers = (one for one in self._left.values() if one.kind == "textarea" and one.per_region)
        reader = next(readers, None)
        return reader and self._left.pop(reader.name)


def _fillers_of(controls: _Controls, score_min: float) -> Iterator[Filler]:
    yield from _words(controls, score_min)
    for control in controls.all("rectanglelabels"):
        yield Boxes(Writer(control), labelled(control), score_min)
    for control in controls.all("polygonlabels"):
        yield Outlines(Writer(control), labelled(control), score_min)
    yield from _bare_places(controls, score_min)
    for control in controls.all("textarea"):
        yield Text(control)
    for control in controls.all("choices"):
        several = control.attributes.get("choice", "single").lower() == "multiple"
        yield Several(control, score_min) if several else OneChoice(control, score_min)


def _words(controls: _Controls, score_min: float) -> Iterator[Filler]:
    reader = controls.take_reader()
    place = reader and controls.take(*_PLACES)
    if reader and place:
        names = None if place.labels else controls.take("labels")
        # The usual template offers both, of which one is drawn.
        for other in ("rectangle", "polygon"):
            list(controls.all(other))
        yield Words(Writer(place, names, reader), reader, score_min)


def _bare_places(controls: _Controls, score_min: float) -> Iterator[Filler]:
    """Yield what fills places whose labels are a control of their own, or that have none."""
    names = controls.take("labels")
    # One place for each region: a box and an outline would be two of the same thing.
    place = controls.take("rectangle", "polygon" if names else "rectangle")
    if place is None:
        return
    if names is None:
        yield Proposals(Writer(place), score_min)
    elif place.kind == "rectangle":
        yield Boxes(Writer(place, names), labelled(names), score_min)
    else:
        yield Outlines(Writer(place, names), labelled(names), score_min)
