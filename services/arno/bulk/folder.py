"""An answer folder on the disk, as the one run sees it that writes to it.

    FOLDER/
      batch.json      what was asked about what, and the model that answered
      shards/000000.jsonl ...   the answers, each once; a shard is there whole or not at all
      failures.jsonl    what has no answer, and why
      journal.sqlite    what is done, and the answers that are in no shard yet

An answer is noted in the journal first. When a shard is full, it is written beside its place, moved
there, and its answers leave the journal. A run that is killed between the last two steps finds the
shard when it goes on, and takes its answers out of the journal then.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self

from arno.bulk.journal import Entry, Journal
from arno.bulk.manifest import MANIFEST_FILE, Manifest
from arno.bulk.shards import SHARDS_FOLDER, ShardFormat
from arno.errors import ConfigurationError
from arno.ops.atomic_file import unfinished, write_atomically
from arno.vocabulary.results import Model

FAILURES_FILE: Final = "failures.jsonl"
_SHARD_SIZE: Final = 1000


class AnswerFolder:
    """Keeps answers, each once. One thread; one run at a time."""

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        shard_format: ShardFormat,
        *,
        shard_size: int = _SHARD_SIZE,
    ) -> None:
        """Begin an answer folder, or go on with the one that is there.

        Args:
            folder: Is made where it is not there.
            manifest: What this run asks; that of an earlier run is kept.
            shard_format: How shards are written.
            shard_size: Answers of one shard.

        Raises:
            ConfigurationError: The folder holds something else or answers to another question, or
                another run writes to it.
            OSError: The disk is full, or cannot be written.
        """
        self.path = folder
        self._format = shard_format
        self._shard_size = shard_size
        self.manifest = self._begin(manifest)
        self._journal = Journal(folder)
        self._failures_changed = not (folder / FAILURES_FILE).exists()
        if self._shard_path(self._journal.next_shard).exists():
            self._journal.note_shard(self._journal.next_shard)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the journal. Answers that are in no shard yet stay in it."""
        self._journal.close()

    @property
    def done_count(self) -> int:
        """Items that are answered or have failed, in this run and before."""
        return self._journal.done_count

    @property
    def failed_count(self) -> int:
        """Items of which at least one task has failed, in this run and before."""
        return self._journal.failed_count

    def is_done(self, key: str) -> bool:
        """Whether the item of this key needs no further work."""
        return self._journal.is_done(key)

    def reopen_failures(self, *, everything: bool) -> int:
        """Let items without an answer be asked about again; return how many.

        Args:
            everything: All of them, not only those whose failure may pass.
        """
        count = self._journal.reopen_failures(everything=everything)
        self._failures_changed |= count > 0
        return count

    def keep_model(self, model: Model) -> None:
        """Note the model that answers.

        Raises:
            ConfigurationError: Another model answered before.
        """
        manifest = self.manifest.with_model(model)
        if manifest is not self.manifest:
            manifest.write(self.path)
            self.manifest = manifest

    def keep(self, key: str, line: str) -> None:
        """Keep the answer of an item; it outlives a kill from here on."""
        # Before the answer: a shard takes long to write, and an interrupt meanwhile must not find
        # an answer that is kept and that the caller has not counted yet.
        if self._journal.pending_count >= self._shard_size:
            self.write_shard()
        self._journal.note_answer(Entry(key, line))

    def keep_failure(self, key: str, line: str, *, again: bool, task: str = "") -> None:
        """Keep why an item, or one task of it, has no answer.

        With `again` a later run asks again.
        """
        self._journal.note_failure(key, line, again=again, task=task)
        self._failures_changed = True

    def write_shard(self) -> None:
        """Write what the journal holds to a shard, and the failures to their file.

        Raises:
            OSError: The disk is full, or cannot be written; the journal keeps the answers.
        """
        if self._journal.pending_count:
            number = self._journal.next_shard
            with write_atomically(self._shard_path(number)) as path:
                self._format.write(path, self._journal.pending())
            self._journal.note_shard(number)
        if self._failures_changed:
            with (
                write_atomically(self.path / FAILURES_FILE) as path,
                path.open("w", encoding="utf-8") as file,
            ):
                file.writelines(f"{line}\n" for line in self._journal.failures())
            self._failures_changed = False

    def _begin(self, manifest: Manifest) -> Manifest:
        try:
            (self.path / SHARDS_FOLDER).mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise ConfigurationError(f"{self.path}: is a file, not a folder") from error
        kept = Manifest.read(self.path)
        if kept is not None:
            kept.require_same(manifest, self.path)
            return kept
        if any(
            entry.name not in {SHARDS_FOLDER, unfinished(self.path / MANIFEST_FILE).name}
            for entry in self.path.iterdir()
        ):
            raise ConfigurationError(f"{self.path}: holds other files and no {MANIFEST_FILE}")
        manifest.write(self.path)
        return manifest

    def _shard_path(self, number: int) -> Path:
        return self.path / SHARDS_FOLDER / f"{number:06d}.{self._format.name}"
