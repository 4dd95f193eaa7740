"""The journal of an answer folder: which items are done, and the answers that are in no shard yet.

An SQLite file with a write-ahead log, so an answer that was noted outlives SIGKILL at any moment,
and memory does not grow with the number of items. It is opened exclusively: one run at a time
writes to an answer folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from arno.errors import ConfigurationError

JOURNAL_FILE: Final = "journal.sqlite"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS done (key BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pending (key BLOB NOT NULL, line TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS failures (
  key BLOB NOT NULL, task TEXT NOT NULL, line TEXT NOT NULL, again INTEGER NOT NULL,
  PRIMARY KEY (key, task)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shards (number INTEGER PRIMARY KEY, row_count INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer that is in no shard yet.

    Attributes:
        key: The item.
        line: The record as JSON.
    """

    key: str
    line: str


class Journal:
    """Notes what is done. One thread."""

    def __init__(self, folder: Path) -> None:
        """Open the journal of an answer folder, or begin one.

        Raises:
            ConfigurationError: Another run holds it, or it is no journal.
            OSError: The disk is full, or cannot be written.
        """
        self._path = folder / JOURNAL_FILE
        with self._translated():
            self._database = sqlite3.connect(self._path, isolation_level=None, timeout=0)
            try:
                # Exclusive first: then the log needs no shared memory, which network disks lack.
                self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.executescript(_SCHEMA)
                self._database.execute("BEGIN IMMEDIATE")
                self._database.execute("COMMIT")
            except BaseException:
                self._database.close()
                raise

    def is_done(self, key: str) -> bool:
        """Whether an item was answered, or failed and is not tried again."""
        found = self._one("SELECT 1 FROM done WHERE key = ?", _blob(key))
        return found is not None

    def note_answer(self, entry: Entry) -> None:
        """Note an answer; from here on it is kept."""
        key = _blob(entry.key)
        with self._transaction():
            self._run("INSERT INTO done VALUES (?)", key)
            self._run("INSERT INTO pending VALUES (?, ?)", key, entry.line)

    def note_failure(self, key: str, line: str, *, again: bool, task: str = "") -> None:
        """Note that an item, or one task of it, has no answer.

        Args:
            key: The item.
            line: The failure as JSON.
            again: Whether a later run asks about the item again, because it may pass.
            task: The task that failed alone; empty if the item has no answer at all.
        """
        name = _blob(key)
        with self._transaction():
            if not task:
                self._run("INSERT OR IGNORE INTO done VALUES (?)", name)
            self._run(
                "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?)", name, task, line, again
            )

    def reopen_failures(self, *, everything: bool) -> int:
        """Forget the failures of whole items that may pass, or of all; return how many."""
        which = "task = ''" if everything else "task = '' AND again"
        with self._transaction():
            self._run(f"DELETE FROM done WHERE key IN (SELECT key FROM failures WHERE {which})")  # noqa: S608 - a constant
            return self._run(f"DELETE FROM failures WHERE {which}").rowcount  # noqa: S608 - a constant

    def pending(self) -> Iterator[Entry]:
        """Yield the answers that are in no shard yet, oldest first."""
        for key, line in self._run("SELECT key, line FROM pending ORDER BY rowid"):
            yield Entry(_text(key), line)

    def failures(self) -> Iterator[str]:
        """Yield the lines of all failures, by key."""
        for (line,) in self._run("SELECT line FROM failures ORDER BY key, task"):
            yield line

    def note_shard(self, number: int) -> None:
        """Note that the pending answers are in the shard of this number, and on the disk."""
        # Unlike single answers this must outlive a loss of power: the shard is there already.
        self._run("PRAGMA synchronous = FULL")
        with self._transaction():
            self._run("INSERT INTO shards SELECT ?, count(*) FROM pending", number)
            self._run("DELETE FROM pending")
        self._run("PRAGMA synchronous = NORMAL")

    @property
    def next_shard(self) -> int:
        """The number of the shard that is written next, from 0."""
        return self._count("SELECT coalesce(max(number) + 1, 0) FROM shards")

    @property
    def done_count(self) -> int:
        """Items that are answered or have failed."""
        return self._count("SELECT count(*) FROM done")

    @property
    def pending_count(self) -> int:
        """Answers that are in no shard yet."""
        return self._count("SELECT count(*) FROM pending")

    @property
    def failed_count(self) -> int:
        """Items of which at least one task has failed."""
        return self._count("SELECT count(DISTINCT key) FROM failures")

    def close(self) -> None:
        """Let other runs have it."""
        self._database.close()

    def _count(self, query: str) -> int:
        row = self._one(query)
        return 0 if row is None else int(row[0])

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._run(query, *values).fetchone()
        return row

    def _run(self, statement: str, *values: object) -> sqlite3.Cursor:
        with self._translated():
            return self._database.execute(statement, values)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._run("BEGIN")
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise SQLite's errors as those of a file."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0)
            if code == sqlite3.SQLITE_BUSY:
                sentence = f"{self._path.parent}: another run writes to this answer folder"
                raise ConfigurationError(sentence) from error
            if code == sqlite3.SQLITE_FULL:
                full = os.strerror(errno.ENOSPC)
                raise OSError(errno.ENOSPC, full, str(self._path)) from error
            if code == sqlite3.SQLITE_NOTADB:
                raise ConfigurationError(f"{self._path}: {error}") from error
            raise OSError(errno.EIO, f"{error}", str(self._path)) from error


def _blob(key: str) -> bytes:
    # SQLite's text is UTF-8, and names of files may be anything.
    return key.encode("utf-8", "surrogateescape")


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")
