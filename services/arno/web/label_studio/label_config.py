"""Read the labeling configuration of a Label Studio project: its images and what is filled there.

Source: Label Studio, guide "Labeling configuration"; names of labels as in `label_studio_sdk`'s
`LabelTag`: an alias stands before a value.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from arno.errors import InvalidFieldError, LimitExceededError
from arno.vocabulary.inputs import quoted
from arno.vocabulary.prompts import phrase_of

FIELD: Final = "label_config"
_CHARACTERS_MAX: Final = 1 << 20
_LABELS: Final = frozenset({"label", "choice"})

SCORE_ATTRIBUTE: Final = "model_score_threshold"
"""On a control: the least score of what is written there. The name is that of other backends."""

PHRASES_ATTRIBUTE: Final = "predicted_values"
"""On a label: what the model is asked for in its place, with commas between."""

TASK_ATTRIBUTE: Final = "arno_task"
"""On a text area: the task that fills it."""


@dataclass(frozen=True, slots=True)
class Label:
    """A label or a choice: its name in Label Studio, and what the model is asked for."""

    name: str
    phrases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Control:
    """A tag of the configuration that takes results.

    Attributes:
        kind: The tag in small letters, such as ``rectanglelabels``.
        name: Results carry it as ``from_name``.
        image: The image's tag; results carry it as ``to_name``.
        labels: In the order of the configuration.
        attributes: All others.
    """

    kind: str
    name: str
    image: str
    labels: tuple[Label, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def per_region(self) -> bool:
        """Whether each region has a value of its own here."""
        return self.attributes.get("perRegion", "").lower() == "true"

    def score_min(self, default: float) -> float:
        """Return the least score of what is written here.

        Raises:
            InvalidFieldError: The attribute is no number in [0, 1].
        """
        given = self.attributes.get(SCORE_ATTRIBUTE)
        if given is None:
            return default
        try:
            score = float(given)
        except ValueError:
            score = -1.0
        if 0.0 <= score <= 1.0:
            return score
        problem, limit = f"{SCORE_ATTRIBUTE} is no score", "0 to 1"
        raise InvalidFieldError(field=self.field, problem=problem, limit=limit, sent=quoted(given))

    @property
    def field(self) -> str:
        """The control's name in messages."""
        return f"{FIELD}.{self.name}"


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """A labeling configuration, as far as it is about images.

    Attributes:
        images: Names of the images' tags, and the key of each in a task's data.
        controls: Those that are about an image.
    """

    images: Mapping[str, str]
    controls: tuple[Control, ...]


def read_label_config(text: object) -> LabelConfig:
    """Return a labeling configuration.

    Raises:
        InvalidFieldError: It is no XML, has no image, or a control names no tag that is there.
    """
    root = _parse(text)
    images = dict(_images(root))
    if not images:
        problem = 'there is no image: <Image name=... value="$KEY">'
        raise InvalidFieldError(field=FIELD, problem=problem)
    # Controls of texts or sounds beside an image are for others.
    controls = tuple(
        Control(
            kind=element.tag.lower(),
            name=element.attrib["name"],
            image=element.attrib["toName"],
            labels=tuple(_labels_of(element)),
            attributes=dict(element.attrib),
        )
        for element in root.iter()
        if "name" in element.attrib and element.attrib.get("toName") in images
    )
    return LabelConfig(images, controls)


def _parse(text: object) -> ET.Element:
    if not isinstance(text, str) or not text.strip():
        problem = "must be the labeling configuration, as XML"
        raise InvalidFieldError(field=FIELD, problem=problem, sent=quoted(str(text)))
    if len(text) > _CHARACTERS_MAX:
        limit, sent = f"{_CHARACTERS_MAX} characters", f"{len(text)} characters"
        raise LimitExceededError(field=FIELD, problem="too long", limit=limit, sent=sent)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InvalidFieldError(field=FIELD, problem="declares a document type or an entity")
    try:
        return ET.fromstring(text)  # noqa: S314 - entities are refused above
    except ET.ParseError as error:
        raise InvalidFieldError(field=FIELD, problem=f"not XML: {error}") from error


def _images(root: ET.Element) -> Iterator[tuple[str, str]]:
    for element in root.iter("Image"):
        name, value = element.attrib.get("name", ""), element.attrib.get("value", "")
        if not name or not value.startswith("$"):
            problem = "an image needs a name and the key of its data"
            limit, sent = 'name="image" value="$image"', quoted(str(dict(element.attrib)))
            raise InvalidFieldError(field=FIELD, problem=problem, limit=limit, sent=sent)
        yield name, value[1:]


def _labels_of(element: ET.Element) -> Iterator[Label]:
    for one in element.iter():
        attributes = one.attrib
        name = attributes.get("alias") or attributes.get("value")
        if one.tag.lower() not in _LABELS or not name:
            continue
        given = attributes.get(PHRASES_ATTRIBUTE, "")
        phrases = tuple(phrase.strip() for phrase in given.split(",") if phrase.strip())
        yield Label(name, phrases or (phrase_of(attributes.get("value") or name),))
