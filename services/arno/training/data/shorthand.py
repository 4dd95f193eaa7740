"""Expand the short forms that a line of data may use to the API's own JSON.

``"answer": "a red car"`` is a text. ``"answer": [REGION, ..]`` is the regions of the kind that the
task answers with. In a region, ``"box": [x0, y0, x1, y1]``, ``"quad_box": [x, y, ..]`` and
``"polygons": [[x, y, ..], ..]`` are shapes.
"""

from __future__ import annotations

import math
from typing import Any, Final

from arno.errors import InvalidFieldError
from arno.vocabulary import CATALOGUE, AnswerKind, Task

_SIDES: Final = ("x0", "y0", "x1", "y1")


def spell_out_answer(answer: Any, task: Task) -> Any:
    """Return an answer as the JSON of the API's `Answer`; other forms are left as they are.

    Raises:
        InvalidFieldError: A short form is not complete.
    """
    if isinstance(answer, str):
        return {"text": {"text": answer}}
    if not isinstance(answer, list):
        return answer
    regions = [_region(region, f"answer[{index}]") for index, region in enumerate(answer)]
    kind = CATALOGUE[task].answer_kind
    if kind is AnswerKind.GROUNDING:
        phrases: dict[str, list[Any]] = {}
        for region in regions:
            phrases.setdefault(region.get("label", ""), []).append(region)
        return {
            "grounding": {
                "phrases": [
                    {"phrase": name, "regions": found, "matched": True}
                    for name, found in phrases.items()
                ]
            }
        }
    return {kind.lower(): {"regions": regions}}


def spell_out_box(box: Any, field: str) -> Any:
    """Return a box as the JSON of the API's `Box`.

    Raises:
        InvalidFieldError: It is a list and not four numbers.
    """
    if not isinstance(box, list):
        return box
    return dict(zip(_SIDES, _numbers(box, field, count=len(_SIDES)), strict=True))


def _region(region: Any, field: str) -> dict[str, Any]:
    if not isinstance(region, dict):
        raise InvalidFieldError(field=field, problem="a region is an object", sent=repr(region))
    spelt = dict(region)
    if "box" in spelt:
        spelt["box"] = spell_out_box(spelt["box"], f"{field}.box")
    for name in ("quad_box", "quadBox"):
        if isinstance(spelt.get(name), list):
            spelt[name] = _outline(spelt[name], f"{field}.{name}")
    if isinstance(spelt.get("polygons"), list):
        spelt["polygons"] = {
            "polygons": [
                _outline(outline, f"{field}.polygons[{index}]")
                for index, outline in enumerate(spelt["polygons"])
            ]
        }
    return spelt


def _outline(values: Any, field: str) -> dict[str, Any]:
    numbers = _numbers(values, field)
    if len(numbers) % 2:
        raise InvalidFieldError(field=field, problem="needs an even count of numbers: x, y, ..")
    pairs = zip(numbers[0::2], numbers[1::2], strict=True)
    return {"points": [{"x": x, "y": y} for x, y in pairs]}


def _numbers(values: Any, field: str, *, count: int | None = None) -> list[float]:
    fits = isinstance(values, list) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )
    if not fits or (count is not None and len(values) != count):
        wanted = "numbers" if count is None else f"{count} numbers"
        raise InvalidFieldError(field=field, problem=f"needs {wanted}", sent=repr(values))
    if not all(map(math.isfinite, values)):
        raise InvalidFieldError(field=field, problem="needs finite numbers", sent=repr(values))
    return list(values)
