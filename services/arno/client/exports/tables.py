"""A table of a result for pandas: a row a region, and a row for each text.

Stands alone: needs a package that no other export needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from arno.client.exports.selection import Found, tasks_of
from arno.errors import MissingExtraError
from arno.vocabulary import TextAnswer
from arno.vocabulary.results import InferResult, TaskResult

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: Final = (
    *("task", "id", "label", "text", "x0", "y0", "x1", "y1"),
    *("score", "label_score", "location_score"),
)


def to_pandas(result: InferResult, task: int | str | None = None) -> pd.DataFrame:
    """Return a `DataFrame`: a row a region, with its box in pixels, and a row for each text.

    Raises:
        MissingExtraError: pandas is not installed.
        KeyError: There is no such task.
        ArnoError: The named task has no answer; this is why.
    """
    try:
        import pandas as pd
    except ImportError as error:
        sentence = "to_pandas needs pandas: pip install pandas"
        raise MissingExtraError(sentence, module="pandas") from error
    rows = [row for outcome in tasks_of(result, task) for row in _rows(outcome)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(outcome: TaskResult) -> Iterator[dict[str, Any]]:
    shared = {"task": str(outcome.task), "id": outcome.id}
    value = outcome.answer.value
    if isinstance(value, TextAnswer):
        yield shared | {"text": value.text, "score": outcome.answer.score}
    for region in outcome.regions:
        row = shared | {"label": region.label, "score": region.score}
        row |= {"label_score": region.label_score, "location_score": region.location_score}
        if region.shape:
            box = Found(outcome, region).box
            row |= {"x0": box.x0, "y0": box.y0, "x1": box.x1, "y1": box.y1}
        yield row
