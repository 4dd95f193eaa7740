"""A data set on the disk: a folder with a manifest and shards, written so that a kill loses little.

    DATASET/
      dataset.json         the manifest
      part-000000.parquet  shards, each whole
      journal.jsonl        records that are not in a shard yet; only while it is written

A record is first a line of the journal. A full journal becomes a shard, and is emptied after that;
records that a kill leaves in both are recognised by their position, which rises from record to
record.
"""

from __future__ import annotations

import bisect
import fcntl
import hashlib
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from arno.dataset.records import FORMAT_VERSION, ImageRecord
from arno.dataset.shards import (
    Shard,
    ShardFormat,
    invalid,
    line_of,
    record_of_line,
    remove_unfinished,
    shard_path,
    shard_paths,
    write_shard,
)
from arno.errors import ConfigurationError, InvalidFieldError
from arno.ops.atomic_file import write_atomically

MANIFEST: Final = "dataset.json"
_JOURNAL: Final = "journal.jsonl"


class Manifest(BaseModel):
    """What a data set is, and what was done to make it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(default=FORMAT_VERSION, description="Of the schema.")
    format: ShardFormat = Field(default=ShardFormat.PARQUET, description="Of the shards.")
    shard_records: int = Field(default=1000, ge=1, description="Records of a shard.")
    images: str = Field(
        default=".", description="Folder of the images, relative to that of the data set."
    )
    complete: bool = Field(default=False, description="Whether the run that writes it has ended.")
    steps: tuple[dict[str, Any], ...] = Field(
        default=(), description="What made it, the first step first: its name, settings and counts."
    )


class Dataset:
    """A data set that is complete, read on demand."""

    def __init__(self, folder: Path) -> None:
        """Open a folder.

        Raises:
            InvalidFieldError: It is not a complete data set of this version.
            MissingExtraError: Its shards are Parquet, and pyarrow is not installed.
        """
        self.folder = folder
        self.manifest = read_manifest(folder)
        if not self.manifest.complete:
            problem = "not complete: give the command that writes it again"
            raise InvalidFieldError(field=str(folder), problem=problem)
        self._shards = [Shard(path) for path in shard_paths(folder)]
        self._ends = list(itertools.accumulate(map(len, self._shards)))

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.resolve().name

    @property
    def digest(self) -> str:
        """SHA-256 of all shards: data sets with equal digests hold equal records in order."""
        digest = hashlib.sha256()
        for shard in self._shards:
            with shard.path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[ImageRecord]:
        return itertools.chain.from_iterable(self._shards)

    def __getitem__(self, index: int) -> ImageRecord:
        """Return a record.

        Raises:
            InvalidFieldError: It is not of the schema.
            IndexError: The number is out of range.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"there is no record {index} of {len(self)}")
        which = bisect.bisect_right(self._ends, index)
        return self._shards[which][index - (self._ends[which - 1] if which else 0)]

    def batches(self, size: int) -> Iterator[list[ImageRecord]]:
        """Yield the records in lists of this size; the last may be shorter."""
        records = iter(self)
        while batch := list(itertools.islice(records, size)):
            yield batch

    def image_path(self, record: ImageRecord) -> Path:
        """Return where the image of a record is."""
        return self.folder / self.manifest.images / record.file

    def images_from(self, folder: Path) -> str:
        """Return the folder of the images as the manifest of a data set in ``folder`` names it."""
        return relative(self.folder / self.manifest.images, folder)


class DatasetWriter:
    """Writes a data set record by record, and goes on where a killed process stopped.

    One process writes at a time; a second is refused. Used in a `with` statement: without an error
    its end makes the data set complete, and an error leaves it to be gone on with.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Begin a data set, or go on with one.

        Args:
            folder: Made where it does not exist.
            manifest: Of the whole data set; one that is gone on with must have had the same, but
                for the counts in its steps.

        Raises:
            ConfigurationError: The folder holds another data set, or another process writes it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._manifest = folder, manifest
        self._journal = _open_journal(folder)
        try:
            self._begin()
        except BaseException:
            self._journal.close()
            raise

    def _begin(self) -> None:
        self._check_same()
        remove_unfinished(self._folder)
        paths = shard_paths(self._folder)
        self._shard_count = len(paths)
        shards = [Shard(path) for path in paths]
        self.record_count = sum(map(len, shards))
        self.last: ImageRecord | None = shards[-1][len(shards[-1]) - 1] if shards else None
        self._pending = self._recovered()
        self.record_count += len(self._pending)
        if self._pending:
            self.last = self._pending[-1]
        write_manifest(self._folder, self._manifest)

    @property
    def next_position(self) -> int:
        """The position behind that of the last record; 0 for an empty data set."""
        return 0 if self.last is None else self.last.position + 1

    def write(self, record: ImageRecord) -> None:
        """Add a record, whose position must be behind that of the last.

        Raises:
            OSError: It cannot be written; what was written before stays.
        """
        if record.position < self.next_position:
            raise ValueError(f"position {record.position} is before {self.next_position}")
        self._journal.write(line_of(record).encode())
        self._journal.flush()
        self._pending.append(record)
        self.last = record
        self.record_count += 1
        if len(self._pending) >= self._manifest.shard_records:
            self._seal()

    def close(self, *, step_counts: dict[str, Any] | None = None) -> None:
        """Make the data set complete; the counts are noted in the last step of the manifest."""
        if self._pending:
            self._seal()
        steps = self._manifest.steps
        if steps and step_counts is not None:
            steps = (*steps[:-1], {**steps[-1], "counts": step_counts})
        complete = self._manifest.model_copy(update={"complete": True, "steps": steps})
        write_manifest(self._folder, complete)
        self.release()
        (self._folder / _JOURNAL).unlink(missing_ok=True)

    def release(self) -> None:
        """Let another process go on; what was written stays."""
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._journal.closed:
            return
        if kind is None:
            self.close()
        else:
            self.release()

    def _seal(self) -> None:
        """Turn the journal into a shard; only then empty it, so that no record is ever in none."""
        path = shard_path(self._folder, self._shard_count, self._manifest.format)
        write_shard(path, self._pending)
        self._shard_count += 1
        self._pending = []
        self._journal.seek(0)
        self._journal.truncate()

    def _recovered(self) -> list[ImageRecord]:
        """Return the records of the journal that are in no shard; cut its half-written end off."""
        records, end = [], 0
        self._journal.seek(0)
        for line in self._journal:
            if not line.endswith(b"\n"):
                break
            end += len(line)
            record = record_of_line(line, str(self._folder / _JOURNAL))
            if record.position >= self.next_position:
                records.append(record)
        self._journal.seek(end)
        self._journal.truncate()
        return records

    def _check_same(self) -> None:
        if not (self._folder / MANIFEST).exists():
            if shard_paths(self._folder):
                problem = f"{self._folder} holds shards without {MANIFEST}"
                raise ConfigurationError(problem)
            return
        there = read_manifest(self._folder)
        if _identity(there) != _identity(self._manifest):
            raise ConfigurationError(
                f"{self._folder} holds a data set that was made in another way; "
                f"choose another folder, or give the same command again"
            )


def _identity(manifest: Manifest) -> str:
    steps = [{**step, "counts": None} for step in manifest.steps]
    facts = manifest.model_copy(update={"complete": False, "steps": tuple(steps)})
    return facts.model_dump_json()


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a data set.

    Raises:
        InvalidFieldError: The folder holds none, or one of another version.
    """
    path = folder / MANIFEST
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError as fault:
        problem = f"no data set: {fault.strerror or fault}"
        raise InvalidFieldError(field=str(path), problem=problem) from fault
    except ValidationError as error:
        raise invalid(str(path), error) from error
    if manifest.version != FORMAT_VERSION:
        raise InvalidFieldError(
            field=f"{path}: version",
            problem="another version of the schema",
            limit=str(FORMAT_VERSION),
            sent=str(manifest.version),
        )
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest whole."""
    document = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False)
    with write_atomically(folder / MANIFEST) as written:
        written.write_text(f"{document}\n", encoding="utf-8")


def relative(path: Path, folder: Path) -> str:
    """Return a path as it is written in a data set in ``folder``."""
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def _open_journal(folder: Path) -> BinaryIO:
    """Open the journal for this process alone; the lock ends with the process, however it ends."""
    journal = (folder / _JOURNAL).open("a+b")
    try:
        fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        journal.close()
        raise ConfigurationError(f"{folder}: another process writes this data set") from error
    return journal
