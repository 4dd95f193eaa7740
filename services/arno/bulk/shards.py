"""The files of an answer folder: JSON lines, or Parquet for those who query columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from arno.bulk.journal import Entry
from arno.bulk.manifest import Manifest
from arno.bulk.record import Record
from arno.errors import ConfigurationError, MissingExtraError
from arno.vocabulary import Answer, Box, Region, TextAnswer, bounding_box
from arno.vocabulary.regions import corners
from arno.vocabulary.results import TaskResult

if TYPE_CHECKING:
    import pyarrow as pa

SHARDS_FOLDER: Final = "shards"


class ShardFormat(Protocol):
    """How entries become a file. The name is the ending of the files, too."""

    name: str

    def write(self, path: Path, entries: Iterable[Entry]) -> None:
        """Write a file with all entries.

        Raises:
            OSError: The disk is full, or cannot be written.
        """

    def read_lines(self, path: Path) -> Iterator[str]:
        """Yield the lines of a file's entries, as they were noted."""


class JsonLinesShards:
    """One line an entry, as it was noted."""

    name = "jsonl"

    def write(self, path: Path, entries: Iterable[Entry]) -> None:
        """Write a file with all entries."""
        with path.open("w", encoding="utf-8") as file:
            file.writelines(f"{entry.line}\n" for entry in entries)

    def read_lines(self, path: Path) -> Iterator[str]:
        """Yield the lines of a file."""
        with path.open(encoding="utf-8") as file:
            yield from file


class ParquetShards:
    """One row an image, with a list of its tasks; needs the extra `parquet`.

    The column `record` is the whole record as JSON, exact; the others are for queries.
    """

    name = "parquet"

    def __init__(self) -> None:
        """Load pyarrow.

        Raises:
            MissingExtraError: It is not installed.
        """
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            sentence = "Parquet needs pyarrow: pip install 'arno[parquet]'"
            raise MissingExtraError(sentence, extra="parquet", module="pyarrow") from error
        self._parquet = pq
        self._table = pa.Table
        self._schema = _schema(pa)

    def write(self, path: Path, entries: Iterable[Entry]) -> None:
        """Write a file with all entries."""
        rows = [_row(entry) for entry in entries]
        table = self._table.from_pylist(rows, schema=self._schema)
        self._parquet.write_table(table, path, compression="zstd")

    def read_lines(self, path: Path) -> Iterator[str]:
        """Yield the records of a file as lines of JSON."""
        with self._parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256, columns=["record"]):
                yield from batch.column(0).to_pylist()


def shard_format(name: str) -> ShardFormat:
    """Return the format of an answer folder of `arno batch`.

    Raises:
        ConfigurationError: There is none of this name.
        MissingExtraError: What it needs is not installed.
    """
    formats: dict[str, type[ShardFormat]] = {"jsonl": JsonLinesShards, "parquet": ParquetShards}
    if name not in formats:
        raise ConfigurationError(f"shards of the format {name!r}; known: {', '.join(formats)}")
    return formats[name]()


def shard_paths(folder: Path, name: str) -> list[Path]:
    """Return the shards of an answer folder, in the order in which they were written."""
    return sorted((folder / SHARDS_FOLDER).glob(f"[0-9]*.{name}"))


def read_records(folder: Path) -> Iterator[Record]:
    """Yield the records of an answer folder of `arno batch`, shard by shard.

    A folder that a run is writing to may be read; answers that are in no shard yet are not seen.

    Raises:
        ConfigurationError: It is no answer folder.
        MissingExtraError: The shards are Parquet, and pyarrow is not installed.
        InvalidFieldError: A line is no record.
    """
    manifest = Manifest.read(folder)
    if manifest is None:
        raise ConfigurationError(f"{folder}: no answer folder; `arno batch` makes one")
    form = shard_format(manifest.shard_format)
    for path in shard_paths(folder, form.name):
        for number, line in enumerate(form.read_lines(path), start=1):
            yield Record.of_line(line, where=f"{path}:{number}")


def _row(entry: Entry) -> dict[str, Any]:
    record = Record.of_line(entry.line, where=entry.key)
    image, model = record.result.image, record.result.model
    return {
        # No column of text holds the names of files that are no UTF-8.
        "key": entry.key.encode("utf-8", "backslashreplace").decode(),
        "file": json.loads(entry.line).get("file"),
        "width_px": image.width_px if image else None,
        "height_px": image.height_px if image else None,
        "sha256": image.sha256 if image else None,
        "model": model.name if model else None,
        "model_fingerprint": model.fingerprint if model else None,
        "tasks": [_task_row(outcome) for outcome in record.result],
        "record": entry.line,
    }


def _task_row(outcome: TaskResult) -> dict[str, Any]:
    row: dict[str, Any] = {"id": outcome.id, "task": str(outcome.task), "text": outcome.text}
    row["region"] = _sides(outcome.region) if outcome.region is not None else None
    if not isinstance(outcome.outcome, Answer):
        return row | {"error": outcome.outcome.reason, "error_message": outcome.outcome.message}
    answer = outcome.outcome
    return row | {
        "answer_text": answer.value.text if isinstance(answer.value, TextAnswer) else None,
        "score": answer.score,
        "finish_reason": str(answer.finish_reason),
        "token_count": answer.token_count,
        "raw_text": answer.raw_text,
        "regions": [_region_row(region) for region in answer.regions],
    }


def _region_row(region: Region) -> dict[str, Any]:
    return {
        "label": region.label,
        "box": _sides(bounding_box(region.shape)) if region.shape else None,
        "corners": [[point.x, point.y] for point in corners(region.shape)],
        "score": region.score,
        "label_score": region.label_score,
        "location_score": region.location_score,
    }


def _sides(box: Box) -> list[float]:
    return [box.x0, box.y0, box.x1, box.y1]


def _schema(pa: Any) -> pa.Schema:
    box = pa.list_(pa.float32(), 4)
    region = pa.struct(
        [
            ("label", pa.string()),
            ("box", box),
            ("corners", pa.list_(pa.list_(pa.float32(), 2))),
            ("score", pa.float32()),
            ("label_score", pa.float32()),
            ("location_score", pa.float32()),
        ]
    )
    names = "id task text answer_text finish_reason raw_text error error_message"
    task = pa.struct(
        [
            *((name, pa.string()) for name in names.split()),
            ("region", box),
            ("score", pa.float32()),
            ("token_count", pa.int32()),
            ("regions", pa.list_(region)),
        ]
    )
    return pa.schema(
        [
            ("key", pa.string()),
            ("file", pa.string()),
            ("width_px", pa.int32()),
            ("height_px", pa.int32()),
            ("sha256", pa.string()),
            ("model", pa.string()),
            ("model_fingerprint", pa.string()),
            ("tasks", pa.list_(task)),
            ("record", pa.string()),
        ]
    )
