"""The report of an evaluation, ``report.json``, with what is needed to compare and repeat it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from arno import __version__
from arno.training.evaluation.answering import DecodingChoice
from arno.training.evaluation.questions import QuestionSet
from arno.training.evaluation.run import Evaluation
from arno.training.origin import processor_name, source_commit

REPORT_FILE: Final = "report.json"
_DIGITS: Final = 4


@dataclass(frozen=True, slots=True)
class Setup:
    """The settings of an evaluation.

    Attributes:
        data: Name of the data, as given.
        asked: The questions of the data.
        decoding: How answers are decoded.
        images_max: The limit on images; None is all.
    """

    data: str
    asked: QuestionSet
    decoding: DecodingChoice
    images_max: int | None = None


def report(evaluation: Evaluation, setup: Setup) -> dict[str, Any]:
    """Return the report as JSON has it; figures to four digits."""
    return {
        "arno": {"version": __version__, "commit": source_commit()},
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": asdict(evaluation.model),
        "data": {
            "name": setup.data,
            "digest": setup.asked.digest,
            "images": setup.asked.image_count,
            "images_max": setup.images_max,
            "broken_samples": len(setup.asked.broken),
        },
        "decoding": asdict(setup.decoding),
        "machine": _machine(),
        "seconds": round(evaluation.seconds, 1),
        "questions": {
            "asked": evaluation.asked_count,
            "from_earlier_run": evaluation.earlier_count,
            "failed": len(evaluation.failed),
            "not_asked": len(evaluation.unasked),
            "ends": dict(evaluation.ends),
        },
        "figures": {
            str(task): {"questions": len(judged.cases), **_rounded(judged.figures.values)}
            for task, judged in evaluation.tasks.items()
        },
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, _DIGITS) for name, value in values.items()}


def _machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
    }
