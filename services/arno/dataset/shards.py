"""Files that hold some records of a data set each: Parquet or JSON lines.

A shard is written beside its place and renamed into it, so what has a shard's name is whole. Both
formats hold the same records; Parquet needs pyarrow.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from arno.dataset.records import ImageRecord
from arno.errors import InvalidFieldError, MissingExtraError
from arno.ops.atomic_file import UNFINISHED, write_atomically

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP_RECORDS: Final = 128
"""Records of a Parquet row group: what one random access reads."""
_OPEN_GROUPS_MAX: Final = 64


class ShardFormat(StrEnum):
    """What shards are written as; the value is the ending of their names."""

    PARQUET = "parquet"
    JSONL = "jsonl"


def shard_paths(folder: Path) -> list[Path]:
    """Return the shards of a folder in order."""
    return sorted(
        path
        for path in folder.glob("part-*")
        if path.suffix[1:] in ShardFormat.__members__.values()
    )


def shard_path(folder: Path, number: int, form: ShardFormat) -> Path:
    """Return where a shard is kept; names sort by number."""
    return folder / f"part-{number:06d}.{form}"


def write_shard(path: Path, records: Sequence[ImageRecord]) -> None:
    """Write a shard whole, or not at all: after a crash, either is on the disk.

    Raises:
        OSError: It cannot be written, for example because the disk is full.
    """
    with write_atomically(path) as written:
        if path.suffix[1:] == ShardFormat.PARQUET:
            _write_parquet(written, records)
        else:
            written.write_text("".join(map(line_of, records)), encoding="utf-8")


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process has left half-written."""
    for path in folder.glob(f"part-*{UNFINISHED}"):
        path.unlink()


def line_of(record: ImageRecord) -> str:
    """Return a record as a line of JSON; fields that have their default are left out."""
    return record.model_dump_json(exclude_defaults=True) + "\n"


def record_of_line(line: bytes, place: str) -> ImageRecord:
    """Return the record of a line.

    Raises:
        InvalidFieldError: The line is not of the schema; the field says where it stands.
    """
    try:
        return ImageRecord.model_validate_json(line)
    except ValidationError as error:
        raise invalid(place, error) from error


def invalid(place: str, error: ValidationError) -> InvalidFieldError:
    """Return the first fault of a record as an error that names its place."""
    fault = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(map(str, fault["loc"]))
    problem = str(fault["msg"]).removeprefix("Value error, ")
    return InvalidFieldError(field=f"{place}: {field}" if field else place, problem=problem)


class Shard:
    """The records of one file, read on demand."""

    def __init__(self, path: Path) -> None:
        """Look at the file; records are validated when they are read.

        Raises:
            InvalidFieldError: It is no shard, or cut off.
            MissingExtraError: It is Parquet, and pyarrow is not installed.
        """
        self.path = path
        self._starts: array[int] | None = None
        if path.suffix[1:] == ShardFormat.PARQUET:
            self._length = _parquet_length(path)
        else:
            self._starts = _line_starts(path)
            self._length = len(self._starts)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[ImageRecord]:
        if self._starts is not None:
            with self.path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    yield record_of_line(line, f"{self.path}:{number}")
            return
        for group in range(-(-self._length // ROW_GROUP_RECORDS)):
            for row, content in enumerate(_row_group(self.path, group)):
                yield self._parquet_record(content, group * ROW_GROUP_RECORDS + row)

    def __getitem__(self, index: int) -> ImageRecord:
        if not 0 <= index < self._length:
            raise IndexError(f"{self.path} has no record {index} of {self._length}")
        if self._starts is not None:
            with self.path.open("rb") as file:
                file.seek(self._starts[index])
                return record_of_line(file.readline(), f"{self.path}:{index + 1}")
        group, row = divmod(index, ROW_GROUP_RECORDS)
        return self._parquet_record(_row_group(self.path, group)[row], index)

    def _parquet_record(self, content: dict[str, Any], index: int) -> ImageRecord:
        try:
            return ImageRecord.model_validate(content)
        except ValidationError as error:
            raise invalid(f"{self.path}:{index + 1}", error) from error


@cache
def arrow_schema() -> pa.Schema:
    """Return the schema of Parquet shards: that of `records`, column by column."""
    pa = _pyarrow()
    provenance = pa.struct(
        {
            "annotator": pa.string(),
            "model": pa.string(),
            "task": pa.string(),
            "score": pa.float64(),
            "calibrated": pa.bool_(),
            "agreement": pa.float64(),
            "round": pa.int32(),
            "merged": pa.list_(pa.string()),
        }
    )
    numbers = pa.list_(pa.float64())
    place = {"box": numbers, "quad_box": numbers, "polygons": pa.list_(numbers)}
    text = {"id": pa.string(), "granularity": pa.string(), "text": pa.string()}
    region = {**place, "kind": pa.string(), "text": pa.string()}
    triplet = {**place, "text_id": pa.string(), "start": pa.int32(), "end": pa.int32()}
    kinds = {"texts": text, "regions": region, "triplets": triplet}
    return pa.schema(
        {
            "image_id": pa.string(),
            "file": pa.string(),
            "width_px": pa.int32(),
            "height_px": pa.int32(),
            "sha256": pa.string(),
            "position": pa.int64(),
            **{
                name: pa.list_(pa.struct({**fields, "provenance": provenance}))
                for name, fields in kinds.items()
            },
        }
    )


def _write_parquet(path: Path, records: Iterable[ImageRecord]) -> None:
    import pyarrow.parquet as pq

    pa = _pyarrow()
    table = pa.Table.from_pylist(
        [record.model_dump(mode="json") for record in records], schema=arrow_schema()
    )
    pq.write_table(table, path, compression="zstd", row_group_size=ROW_GROUP_RECORDS)


def _parquet_length(path: Path) -> int:
    pa = _pyarrow()
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(path)
    except (pa.ArrowException, OSError, ValueError) as fault:
        raise _unreadable(path, fault) from fault
    return int(metadata.num_rows)


def _unreadable(path: Path, fault: Exception) -> InvalidFieldError:
    # A ValueError as well: names of columns, and texts, may be no UTF-8.
    said = (str(fault).splitlines() or [type(fault).__name__])[0]
    return InvalidFieldError(field=str(path), problem=f"cannot be read: {said}")


@lru_cache(maxsize=_OPEN_GROUPS_MAX)
def _row_group(path: Path, group: int) -> list[dict[str, Any]]:
    pa = _pyarrow()
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            rows: list[dict[str, Any]] = file.read_row_group(group).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as fault:
        raise _unreadable(path, fault) from fault
    return rows


def _line_starts(path: Path) -> array[int]:
    starts, offset = array("q"), 0
    with path.open("rb") as file:
        for line in file:
            starts.append(offset)
            offset += len(line)
    return starts


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "Parquet needs pyarrow: pip install 'arno[data]'; or use JSON lines", extra="data"
        ) from error
    return pyarrow
