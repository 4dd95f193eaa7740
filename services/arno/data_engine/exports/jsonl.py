"""Questions with answers, a line each, as docs/training.md describes them."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arno.data_engine.blocks import ONE_PROCESS, Workers, over_records
from arno.dataset import Dataset, ImageRecord
from arno.dataset.questions import Asked, questions
from arno.dataset.records import place_of
from arno.vocabulary import GroundingAnswer, Region, TextAnswer


def write_jsonl(dataset: Dataset, out: Path, workers: Workers = ONE_PROCESS) -> Counter[str]:
    """Write samples.jsonl, a question a line, as docs/training.md describes it."""
    counts: Counter[str] = Counter()
    images = (dataset.folder / dataset.manifest.images).resolve()
    with (out / "samples.jsonl").open("w", encoding="utf-8") as file:
        for lines in over_records(_Lines(images), dataset, workers):
            counts["samples"] += len(lines)
            file.writelines(lines)
    return counts


@dataclass(frozen=True, slots=True)
class _Lines:
    """Writes the samples of records as lines; `images` is the folder of their images."""

    images: Path

    @contextlib.contextmanager
    def open(self) -> Iterator[Callable[[list[ImageRecord]], list[str]]]:
        yield lambda records: [
            self._line(record, asked) for record in records for asked in questions(record)
        ]

    def _line(self, record: ImageRecord, asked: Asked) -> str:
        line = {"file": str((self.images / record.file).resolve()), **_sample(asked)}
        return json.dumps(line, ensure_ascii=False) + "\n"


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
