"""What an answer folder says about itself: `batch.json`, compared by every later run."""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from arno import __version__
from arno.client.export import to_json
from arno.errors import ConfigurationError
from arno.ops.atomic_file import write_atomically
from arno.vocabulary import TaskLike, spec_of
from arno.vocabulary.results import Model
from arno.vocabulary.wire import spec_to_wire

MANIFEST_FILE: Final = "batch.json"
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was asked about what.

    Attributes:
        id: Names the answer folder for ever: a UUID in hex.
        source: Name of the source.
        question: What was asked about every item, as JSON.
        shard_format: `jsonl`, `parquet`, or the name of another `ShardFormat`.
        created_at: When the answer folder was begun, UTC, ISO 8601.
        made_by: The program and its version.
        model: The model that answered first; None before.
    """

    id: str
    source: str
    question: Mapping[str, Any]
    shard_format: str
    created_at: str
    made_by: str
    model: Model | None = None

    @classmethod
    def new(cls, source: str, question: Mapping[str, Any], shard_format: str) -> Self:
        """Return the manifest of an answer folder that begins now."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return cls(uuid.uuid4().hex, source, question, shard_format, now, f"arno {__version__}")

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the manifest of a folder; None where there is none.

        Raises:
            ConfigurationError: The file is no manifest, or one of a later release.
        """
        path = folder / MANIFEST_FILE
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{path}: cannot be read ({error})") from error
        found = document.pop("format", None) if isinstance(document, dict) else None
        if found != _FORMAT:
            raise ConfigurationError(f"{path}: format {found!r}; this release knows {_FORMAT}")
        try:
            model = document.pop("model", None)
            return cls(**document, model=None if model is None else Model(**model))
        except TypeError as error:
            raise ConfigurationError(f"{path}: {error}") from error

    def write(self, folder: Path) -> None:
        """Write the manifest into a folder, whole or not at all."""
        text = json.dumps({"format": _FORMAT, **asdict(self)}, indent=2)
        with write_atomically(folder / MANIFEST_FILE) as path:
            path.write_text(f"{text}\n", encoding="utf-8")

    def require_same(self, other: Manifest, folder: Path) -> None:
        """Refuse to go on with another question.

        Raises:
            ConfigurationError: Source, question or format of the shards differ.
        """
        for name in ("source", "question", "shard_format"):
            kept, asked = getattr(self, name), getattr(other, name)
            if kept != asked:
                raise ConfigurationError(
                    f"{folder}: was begun with {name} {_shown(kept)}, not {_shown(asked)}; "
                    "repeat the first command, or name another folder"
                )

    def with_model(self, model: Model) -> Manifest:
        """Return the manifest with the model that answered first.

        Raises:
            ConfigurationError: Another model answered before.
        """
        if self.model is None:
            return replace(self, model=model)
        if self.model != model:
            raise ConfigurationError(
                f"answer folder {self.id}: {self.model.name} {self.model.fingerprint[:12]} "
                f"({self.model.dtype}) answered before, and now {model.name} "
                f"{model.fingerprint[:12]} ({model.dtype}) does; name another folder"
            )
        return self


def question_of(tasks: Sequence[TaskLike]) -> dict[str, Any]:
    """Return tasks as the question of a manifest: in the JSON of the API."""
    return {"tasks": [to_json(spec_to_wire(spec_of(task))) for task in tasks]}


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
