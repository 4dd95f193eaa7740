r"""A function of CVAT's automatic annotation, which asks a gateway. Needs the extra `cvat`.

    cvat-cli task auto-annotate 7 --function-module arno.client.cvat \
        -p address=str:gateway.example:50051 -p labels=str:cat,dog -p shape=str:polygon

Stands alone: it is loaded by name. Source: CVAT SDK, "Auto-annotation API".
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import cvat_sdk.auto_annotation as cvataa
from cvat_sdk import models
from PIL import Image

from arno.client.channel import DEFAULT_ADDRESS, Tls
from arno.client.sync import Client
from arno.errors import InvalidFieldError
from arno.ops.secret_text import secret_text
from arno.vocabulary import ImageSize, Region, Task, bounding_box
from arno.vocabulary.prompts import phrase_of
from arno.vocabulary.regions import corners
from arno.vocabulary.results import InferResult
from arno.vocabulary.spec import TaskSpec

Annotation: TypeAlias = models.LabeledShapeRequest | models.LabeledImageRequest

_SHAPES: Final = ("rectangle", "polygon", "tag", "text")
_TEXT_ID: Final = 0
_CORNERS_MIN: Final = 3


class ArnoFunction:
    """Detects by a gateway; loaded and called by `cvat-cli`, one image at a time."""

    def __init__(
        self,
        client: Client,
        labels: Sequence[str],
        *,
        shape: str = "rectangle",
        score_min: float = 0.3,
    ) -> None:
        """Take what is asked for.

        Args:
            client: A client of a gateway; closed by its owner.
            labels: Names of the task's labels. What they say is what is looked for.
            shape: ``rectangle`` (open vocabulary detection), ``polygon`` (a segmentation for each
                label), ``tag`` (the likeliest label of the whole image), or ``text`` (a polygon
                around each text, which is its attribute ``text``; there is one label).
            score_min: Least score, where `cvat-cli` is not given ``--conf-threshold``.

        Raises:
            InvalidFieldError: There is no label, or the shape is another.
        """
        if shape not in _SHAPES:
            limit = ", ".join(_SHAPES)
            raise InvalidFieldError(field="shape", problem="unknown", limit=limit, sent=shape)
        if not labels or (shape == "text" and len(labels) > 1):
            limit = "one for texts" if shape == "text" else "1 or more, with commas between"
            sent = ",".join(labels) or "none"
            raise InvalidFieldError(field="labels", problem="not so many", limit=limit, sent=sent)
        self._client = client
        self._phrases = tuple(phrase_of(label) for label in labels)
        self._shape = shape
        self._score_min = score_min
        self.spec = cvataa.DetectionFunctionSpec(
            labels=[self._label(number, name) for number, name in enumerate(labels)]
        )

    def detect(
        self, context: cvataa.DetectionFunctionContext, image: Image.Image
    ) -> list[Annotation]:
        """Return what is in an image, in pixels.

        Raises:
            ArnoError: The gateway, or a task, failed.
        """
        given = context.conf_threshold
        least = self._score_min if given is None else given
        result = self._client.infer(image, *self._tasks(least), lane="batch")
        size = ImageSize(*image.size)
        if self._shape == "tag":
            return list(self._tags(result, least))
        return list(self._shapes(result, size))

    def _label(self, number: int, name: str) -> models.PatchedLabelRequest:
        if self._shape == "text":
            attributes = [cvataa.text_attribute_spec("text", _TEXT_ID)]
            return cvataa.label_spec(name, number, type="polygon", attributes=attributes)
        return cvataa.label_spec(name, number, type=self._shape)

    def _tasks(self, score_min: float) -> list[TaskSpec]:
        match self._shape:
            case "rectangle":
                task = Task.OPEN_VOCABULARY_DETECTION
                classes = self._phrases
                return [TaskSpec(task, classes=classes, constrained=True, min_score=score_min)]
            case "polygon":
                task = Task.REFERRING_EXPRESSION_SEGMENTATION
                return [TaskSpec(task, text=name, min_score=score_min) for name in self._phrases]
            case "tag":
                return [TaskSpec(Task.CAPTION, candidates=self._phrases)]
            case _:
                return [TaskSpec(Task.OCR_WITH_REGION, min_score=score_min)]

    def _tags(self, result: InferResult, score_min: float) -> Iterator[Annotation]:
        candidates = result.tasks[0].answer.candidates
        best = max(range(len(candidates)), key=lambda number: candidates[number].posterior)
        if candidates[best].posterior >= score_min:
            yield cvataa.tag(best)

    def _shapes(self, result: InferResult, size: ImageSize) -> Iterator[Annotation]:
        numbers = {name: number for number, name in enumerate(self._phrases)}
        for index, task in enumerate(result.tasks):
            for region in task.regions:
                match self._shape:
                    case "rectangle":
                        number = numbers.get(region.label)
                        if number is not None and region.shape:
                            yield _rectangle(number, region, size)
                    case "polygon":
                        yield from _polygons(index, region, size)
                    case _:
                        text = models.AttributeValRequest(spec_id=_TEXT_ID, value=region.label)
                        yield from _polygons(0, region, size, attributes=[text])


def create(  # noqa: PLR0913 - its parameters are the command line's
    *,
    labels: str = "",
    shape: str = "rectangle",
    score_min: float = 0.3,
    address: str = DEFAULT_ADDRESS,
    tls_ca: str = "",
    tls: bool = False,
    api_key_file: str = "",
    timeout_s: float = 60.0,
) -> ArnoFunction:
    """Return the function of a command line: parameters are those of ``-p NAME=TYPE:VALUE``.

    Args:
        labels: Names of labels, with commas between.
        shape: As `ArnoFunction` has it.
        score_min: As `ArnoFunction` has it.
        address: HOST:PORT of a gateway.
        tls_ca: PEM file of the authorities to trust; turns TLS on.
        tls: Speak TLS, and trust the system's authorities.
        api_key_file: File with the API key; else the variable ``ARNO_API_KEY`` holds it.
        timeout_s: Time limit of an image.

    Raises:
        InvalidFieldError: A parameter is not as it must be.
        ConfigurationError: The connection cannot be made so.
    """
    key = secret_text(None, Path(api_key_file) if api_key_file else None, name="api_key")
    client = Client(
        address,
        timeout_s=timeout_s,
        tls=Tls(tls_ca or None) if tls or tls_ca else None,
        api_key=key or os.environ.get("ARNO_API_KEY", ""),
    )
    names = [name.strip() for name in labels.split(",") if name.strip()]
    return ArnoFunction(client, names, shape=shape, score_min=score_min)


def _rectangle(number: int, region: Region, size: ImageSize) -> Annotation:
    box = bounding_box(region.shape)
    (x0, y0), (x1, y1) = _inside(box.x0, box.y0, size), _inside(box.x1, box.y1, size)
    return cvataa.rectangle(number, [x0, y0, x1, y1], **_scored(region))


def _polygons(
    number: int,
    region: Region,
    size: ImageSize,
    *,
    attributes: Sequence[models.AttributeValRequest] = (),
) -> Iterator[Annotation]:
    """Yield the outlines of a region, each alone: a polygon of CVAT is one line."""
    shape = region.shape
    outlines = [part.points for part in shape] if isinstance(shape, tuple) else [corners(shape)]
    for points in outlines:
        if len(points) >= _CORNERS_MIN:
            flat = [number for point in points for number in _inside(point.x, point.y, size)]
            yield cvataa.polygon(number, flat, attributes=list(attributes), **_scored(region))


def _inside(x: float, y: float, size: ImageSize) -> tuple[float, float]:
    return min(max(x, 0.0), float(size.width_px)), min(max(y, 0.0), float(size.height_px))


def _scored(region: Region) -> dict[str, float]:
    return {} if region.score is None else {"score": min(max(region.score, 0.0), 1.0)}
