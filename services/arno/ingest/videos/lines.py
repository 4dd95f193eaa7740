"""Where the lines about a source's frames go: a file, a topic, or both."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, Final, Literal, Protocol, Self

from arno.bus.kafka.admin import KafkaTopicAdmin
from arno.bus.kafka.sender import KafkaSender, Outgoing
from arno.bus.settings import BusSettings
from arno.client.export import error_json
from arno.errors import LimitExceededError

_SEND_TIMEOUT_S: Final = 45.0
"""Longer than the client keeps a record (30 s)."""

_JSON: Final = b"application/json"

LINE_BYTES_MAX: Final = 1024**2
"""What topics of Kafka take by default."""


class Lines(Protocol):
    """Takes lines; a text file is one."""

    def write(self, line: str, /) -> object:
        """Take a line with its end."""

    def flush(self) -> object:
        """Return when what was written is there."""


class TopicLines:
    """A topic that gets each line as the value of a record, in order, keyed by the source's name.

    Belongs to one thread, which is not the loop's.
    """

    def __init__(
        self, settings: BusSettings, topic: str, source: str, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Take where Kafka is, and the loop that waits for it; nothing is connected yet."""
        self._settings = settings
        self._topic = topic
        self._source = source
        self._loop = loop
        self._sender = KafkaSender(settings)
        self._number = 0
        # Numbers of frames begin again with every run of the source.
        self._run = f"{source}/{time.time_ns() // 1_000_000}"

    def write(self, line: str, /) -> None:
        """Return when all in-sync replicas have the line.

        Of a frame whose line is larger than the topic takes, its number, time and the error are
        written instead.

        Raises:
            UnavailableError: Kafka did not take it in time.
            ConfigurationError: Kafka refuses it.
        """
        try:
            self._send(line)
        except LimitExceededError as error:
            frame = json.loads(line)
            slim = {name: frame[name] for name in ("sequence", "timestamp_ms")}
            self._send(json.dumps({**slim, "error": error_json(error)}))
        self._number += 1

    def _send(self, line: str) -> None:
        headers = (
            ("arno-id", f"{self._run}/{self._number}".encode()),
            ("arno-content-type", _JSON),
        )
        value = line.removesuffix("\n").encode()
        message = Outgoing(self._topic, value, key=self._source.encode(), headers=headers)
        self._wait(self._sender.send(message, timeout_s=_SEND_TIMEOUT_S))

    def flush(self) -> None:
        """Return: what was written is there."""

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            UnavailableError: Kafka cannot be reached.
            ConfigurationError: It refuses us, or there is no such topic.
        """
        admin = KafkaTopicAdmin(self._settings)
        try:
            admin.require_topics([self._topic])
        finally:
            admin.close()
        self._sender.connect([self._topic])
        return self

    def __exit__(self, *_: object) -> None:
        self._wait(self._sender.close())

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()


@contextmanager
def file_of_lines(path: Path, mode: Literal["a", "w"]) -> Iterator[IO[str]]:
    """Open a file for lines; the first that is added to what is there begins a line of its own.

    A disk that was full, or a process that was killed, leaves half a line at the end. It stays, and
    spoils no other.

    Raises:
        OSError: It cannot be opened or written; names the file.
    """
    try:
        with path.open(mode, encoding="utf-8") as lines:
            if lines.tell():
                with path.open("rb") as written:
                    written.seek(-1, os.SEEK_END)
                    if written.read(1) != b"\n":
                        lines.write("\n")
            yield lines
    except OSError as error:
        if error.filename is None and not isinstance(error, ConnectionError):
            # A full disk is told by the open file, which does not say its name.
            error.filename = str(path)
        raise


OpenTopic = Callable[[str, str], AbstractContextManager[TopicLines]]
"""Returns the lines of a topic, by the names of topic and source."""


class ManyLines:
    """Writes each line to several places, in turn."""

    def __init__(self, places: Sequence[Lines]) -> None:
        """Take the places."""
        self._places = places

    def write(self, line: str, /) -> None:
        """Write it everywhere."""
        for place in self._places:
            place.write(line)

    def flush(self) -> None:
        """Return when it is everywhere."""
        for place in self._places:
            place.flush()
