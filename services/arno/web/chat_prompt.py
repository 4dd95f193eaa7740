"""Read the text of a chat message as a task: a tag, a command, or a question of its own.

<OD>                                      a tag of Florence-2, as transformers writes it
<CAPTION_TO_PHRASE_GROUNDING> a cat       its text
<REGION_TO_OCR><loc_1><loc_2><loc_3><loc_4>    its region in bins
/detect {"classes": ["cat", "dog"]}       a command with fields of a TaskSpec
/detect cat, dog                          a command with plain text
What colour is the car?                   PROMPT, which is sent to the model as it is
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from arno.errors import InvalidFieldError
from arno.images.decode import ImageLimits, inspect_image
from arno.vocabulary import ImageSize, Task
from arno.vocabulary.inputs import quoted
from arno.vocabulary.locations import BIN_COUNT, BOX_BINS, box_from_bins
from arno.vocabulary.spec import TaskSpec
from arno.vocabulary.wire import box_to_wire
from arno.web.request_reader import task_from_json

_TAG: Final = re.compile(r"<([A-Z_]+)>\s*(.*)", re.S)
_COMMAND: Final = re.compile(r"/([A-Za-z_]+)\s*(.*)", re.S)
_LOCATIONS: Final = re.compile(r"(?:<loc_\d{1,3}>\s*)+")
_PIXELS_MAX: Final = 2**31
"""The gateway has the limit; here the header is read only for the size."""


@dataclass(frozen=True, slots=True)
class _Command:
    """The task of a command: without input, with text or classes, with a region."""

    plain: Task | None
    text: Task | None = None
    region: Task | None = None

    @property
    def needs(self) -> str:
        """What may follow the command, in words."""
        kinds = {"text": self.text, "a region": self.region, "nothing": self.plain}
        return " or ".join(kind for kind, task in kinds.items() if task)


_COMMANDS: Final = {
    "caption": _Command(Task.CAPTION, region=Task.REGION_TO_DESCRIPTION),
    "describe": _Command(Task.MORE_DETAILED_CAPTION, region=Task.REGION_TO_DESCRIPTION),
    "detect": _Command(Task.OD, text=Task.OPEN_VOCABULARY_DETECTION),
    "ground": _Command(None, text=Task.CAPTION_TO_PHRASE_GROUNDING),
    "segment": _Command(
        None, text=Task.REFERRING_EXPRESSION_SEGMENTATION, region=Task.REGION_TO_SEGMENTATION
    ),
    "classify": _Command(None, region=Task.REGION_TO_CATEGORY),
    "ocr": _Command(Task.OCR_WITH_REGION, region=Task.REGION_TO_OCR),
    "read": _Command(Task.OCR, region=Task.REGION_TO_OCR),
    "ask": _Command(None, text=Task.PROMPT),
}


def task_of_prompt(text: str, image: bytes) -> TaskSpec:
    """Return the task that a message asks for.

    Args:
        text: The message's text.
        image: The file; its header is read only where a region is given in bins.

    Raises:
        InvalidFieldError: There is no such tag or command, or what follows it makes no sense.
        InvalidImageError: A region is given in bins of what is no image.
    """
    text = text.strip()
    if not text:
        limit = "a task tag such as <OD>, a command such as /detect, or a question"
        raise InvalidFieldError(field="messages", problem="there is no text", limit=limit)
    if tag := _TAG.fullmatch(text):
        fields = _fields(tag[2], image)
        return _spec({"task": tag[1], **fields})
    if command := _COMMAND.fullmatch(text):
        fields = _fields(command[2], image)
        return _spec({"task": _task_of_command(command[1].lower(), fields), **fields})
    return TaskSpec(Task.PROMPT, text=text)


def _fields(given: str, image: bytes) -> dict[str, Any]:
    """Return what follows a tag or a command as fields of a task."""
    given = given.strip()
    if not given:
        return {}
    if given.startswith("{"):
        return _json_fields(given)
    if _LOCATIONS.fullmatch(given):
        return {"region": _region(given, image)}
    return {"text": given}


def _json_fields(given: str) -> dict[str, Any]:
    try:
        fields = json.loads(given)
    except (ValueError, RecursionError) as error:
        problem = f"what follows the task is not JSON: {error}"
        raise InvalidFieldError(field="messages", problem=problem, sent=quoted(given)) from error
    if not isinstance(fields, dict) or "task" in fields:
        problem = "what follows the task must be an object of its other fields"
        raise InvalidFieldError(field="messages", problem=problem, sent=quoted(given))
    return fields


def _region(given: str, image: bytes) -> dict[str, float]:
    bins = [int(number) for number in re.findall(r"\d+", given)]
    if len(bins) != BOX_BINS:
        limit = f"{BOX_BINS} location tokens, each below {BIN_COUNT}"
        problem = "a region is a box"
        raise InvalidFieldError(field="messages", problem=problem, limit=limit, sent=str(len(bins)))
    header = inspect_image(image, ImageLimits(len(image), _PIXELS_MAX), field="messages")
    box = box_to_wire(box_from_bins(bins, ImageSize(header.width_px, header.height_px)))
    return {"x0": box.x0, "y0": box.y0, "x1": box.x1, "y1": box.y1}


def _task_of_command(name: str, fields: dict[str, Any]) -> str:
    command = _COMMANDS.get(name)
    if command is None:
        if name.upper() in Task.__members__:
            return name.upper()
        limit = ", ".join(f"/{known}" for known in _COMMANDS)
        problem = "unknown command"
        raise InvalidFieldError(field="messages", problem=problem, limit=limit, sent=f"/{name}")
    if "region" in fields:
        task = command.region
    elif fields.get("text") or fields.get("classes"):
        task = command.text
        if name == "detect":
            _split_classes(fields)
    else:
        task = command.plain
    if task is None:
        raise InvalidFieldError(field="messages", problem=f"/{name} needs {command.needs}")
    return task


def _split_classes(fields: dict[str, Any]) -> None:
    """Turn `cat, dog` into classes; one phrase stays text."""
    text = fields.get("text")
    if isinstance(text, str) and "," in text:
        del fields["text"]
        fields["classes"] = [name.strip() for name in text.split(",") if name.strip()]


def _spec(document: dict[str, Any]) -> TaskSpec:
    return task_from_json("messages", document)
