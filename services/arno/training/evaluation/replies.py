"""Write each reply to disk at once, so that a killed run can be resumed.

A folder holds ``run.json``, the identity of the run, and ``predictions.jsonl``, one line per reply:
the question's id, and the answer in protobuf's JSON form of the API's ``Answer``, or the error. A
line that a kill has cut off is dropped; questions that ended in an error are asked again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self, TextIO

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from arno.api.v1 import types_pb2
from arno.errors import ArnoError, ConfigurationError
from arno.ops.atomic_file import write_atomically
from arno.training.evaluation.answering import DecodingChoice, Reply
from arno.vocabulary import Answer
from arno.vocabulary.wire import answer_from_wire, answer_to_wire

_RUN_FILE: Final = "run.json"
_REPLIES_FILE: Final = "predictions.jsonl"


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What all replies of a run have in common.

    Attributes:
        model: Fingerprint of the model.
        data: Digest of the samples.
        decoding: How answers are decoded.
    """

    model: str
    data: str
    decoding: DecodingChoice


class Replies:
    """The replies of a run by question, in memory and, where there is a folder, on disk."""

    def __init__(self, identity: RunIdentity, folder: Path | None) -> None:
        """Read the replies that an earlier run left in the folder.

        Raises:
            ConfigurationError: The folder holds another run.
        """
        self._outcomes: dict[str, Answer | ArnoError] = {}
        self._file: TextIO | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            _settle(folder, identity)
            self._file = self._continue(folder / _REPLIES_FILE)
        self.earlier_count = len(self._outcomes)

    @property
    def outcomes(self) -> Mapping[str, Answer | ArnoError]:
        """All outcomes, by the id of the question."""
        return self._outcomes

    def add(self, reply: Reply) -> None:
        """Keep a reply; once this returns, it survives a kill of the process."""
        line = _line(reply)
        if self._file is not None:
            self._file.write(f"{line}\n")
            self._file.flush()
        # Keep it as it will be read: a resumed run must end with the figures of one never killed.
        _, answer = _read(line, reply.question_id)
        self._outcomes[reply.question_id] = answer or reply.outcome

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _continue(self, path: Path) -> TextIO:
        """Read the complete lines of a file, and open it for writing behind them."""
        path.touch()
        end = 0
        for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
            if not line.endswith(b"\n"):
                break
            end += len(line)
            question, answer = _read(line, f"{path}:{number}")
            if answer is not None:
                self._outcomes[question] = answer
        # Ids may hold file names that are not UTF-8; JSON restores their backslash escapes.
        file = path.open("r+", encoding="utf-8", errors="backslashreplace")
        file.seek(end)
        file.truncate()
        return file


def _line(reply: Reply) -> str:
    document: dict[str, Any] = {"question": reply.question_id}
    if isinstance(reply.outcome, Answer):
        document["answer"] = MessageToDict(answer_to_wire(reply.outcome))
    else:
        document["error"] = {"reason": reply.outcome.reason, "message": reply.outcome.message}
    return json.dumps(document, ensure_ascii=False)


def _read(line: str | bytes, place: str) -> tuple[str, Answer | None]:
    """Return a line's question and the answer to it; None for an error.

    Raises:
        ConfigurationError: The line is not a reply.
    """
    try:
        document: Any = json.loads(line)
        question: str = document["question"]
        if "answer" not in document:
            return question, None
        return question, answer_from_wire(ParseDict(document["answer"], types_pb2.Answer()))
    except (ParseError, ValueError, KeyError, TypeError) as fault:
        raise ConfigurationError(f"--out: {place}: no reply: {fault}") from fault


def _settle(folder: Path, identity: RunIdentity) -> None:
    """Refuse a folder of another run; write the identity of the run into a new one."""
    path = folder / _RUN_FILE
    mine = asdict(identity)
    if path.exists():
        try:
            theirs: Any = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as fault:
            raise ConfigurationError(f"--out: {path} cannot be read: {fault}") from fault
        for name, value in mine.items():
            if theirs.get(name) != value:
                raise ConfigurationError(
                    f"--out: {folder} holds the run of another {name}; name another folder, or "
                    f"empty it (there: {theirs.get(name)}; here: {value})"
                )
        return
    with write_atomically(path) as written:
        written.write_text(json.dumps(mine, indent=2) + "\n", encoding="utf-8")
