"""Questions with answers, a line each, as docs/training.md describes them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from arno.dataset import Dataset
from arno.dataset.questions import Asked, questions
from arno.dataset.records import place_of
from arno.vocabulary import GroundingAnswer, Region, TextAnswer


def write_jsonl(dataset: Dataset, out: Path) -> Counter[str]:
    """Write samples.jsonl, a question a line, as docs/training.md describes it."""
    counts: Counter[str] = Counter()
    with (out / "samples.jsonl").open("w", encoding="utf-8") as file:
        for record in dataset:
            for asked in questions(record):
                counts["samples"] += 1
                line = {"file": str(dataset.image_path(record).resolve()), **_sample(asked)}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return counts


def _sample(asked: Asked) -> dict[str, Any]:
    line: dict[str, Any] = {"task": str(asked.spec.task)}
    if asked.spec.text:
        line["text"] = asked.spec.text
    answer = asked.answer
    if isinstance(answer, TextAnswer):
        return {**line, "answer": answer.text}
    regions = (
        [region for phrase in answer.phrases for region in phrase.regions]
        if isinstance(answer, GroundingAnswer)
        else answer.regions
    )
    return {**line, "answer": [_spelt(region) for region in regions]}


def _spelt(region: Region) -> dict[str, Any]:
    place = place_of(region.shape).model_dump(exclude_none=True)
    return {"label": region.label, **{name: list(value) for name, value in place.items()}}
