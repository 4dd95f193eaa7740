"""Open data by its name on the command line: the ``--data`` of training and evaluation.

    DATASET
    boxes.jsonl
    coco:instances.json,images=DIR,tasks=OD+REGION_TO_SEGMENTATION
    world:seed=7,n=200,tasks=OD+OCR

Several names, separated by ``;``, are read one after the other.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from arno.errors import InvalidFieldError
from arno.training.data.annotated import AnnotatedImages, is_data_set
from arno.training.data.coco import CocoFile
from arno.training.data.jsonl import JsonLines
from arno.training.data.source import Sample, SampleSource
from arno.training.data.world import TINY_NAME, WorldScenes
from arno.training.world import WORLDS, Split
from arno.vocabulary import Task

_BETWEEN: Final = ";"


@dataclass(frozen=True, slots=True)
class DataName:
    """The name of one source: its subject, and the options behind it.

    Attributes:
        text: The whole name.
        subject: What stands before the first comma: a file or a folder.
        options: What stands behind it.
    """

    text: str
    subject: str
    options: dict[str, str]

    @classmethod
    def of(cls, text: str, known: Sequence[str], *, has_subject: bool) -> DataName:
        """Read a name.

        Raises:
            InvalidFieldError: An option is not among the known ones.
        """
        parts = text.split(",")
        subject = parts.pop(0) if has_subject else ""
        options = {}
        for part in filter(None, parts):
            name, equals, value = part.partition("=")
            if not equals or name not in known:
                allowed = ", ".join(f"{option}=.." for option in known)
                raise InvalidFieldError(
                    field=f"data {text!r}", problem="unknown option", limit=allowed, sent=part
                )
            options[name] = value
        return cls(text, subject, options)

    def number(self, name: str, default: int, *, least: int) -> int:
        """Return an option that is a whole number.

        Raises:
            InvalidFieldError: It is none, or too small.
        """
        written = self.options.get(name, str(default))
        if not written.isdecimal() or int(written) < least:
            raise InvalidFieldError(
                field=f"data {self.text!r}: {name}",
                problem="not a whole number",
                limit=f"{least} or more",
                sent=written,
            )
        return int(written)

    def world(self) -> str:
        """Return the name of a world.

        Raises:
            InvalidFieldError: No world has it.
        """
        name = self.options.get("world", TINY_NAME)
        if name not in WORLDS:
            raise InvalidFieldError(
                field=f"data {self.text!r}: world",
                problem="no such world",
                limit=", ".join(WORLDS),
                sent=name,
            )
        return name

    def tasks(self, wanted: Sequence[Task] | None) -> tuple[Task, ...] | None:
        """Return the named tasks that the caller wants; None where neither names any.

        Raises:
            InvalidFieldError: A name is no task's, or the caller wants none of them.
        """
        if "tasks" not in self.options:
            return None if wanted is None else tuple(wanted)
        field = f"data {self.text!r}: tasks"
        names = self.options["tasks"].upper().split("+")
        for name in names:
            if name not in Task.__members__:
                raise InvalidFieldError(
                    field=field, problem="not a task", limit=", ".join(Task), sent=name
                )
        both = tuple(Task(name) for name in names if wanted is None or name in wanted)
        if not both:
            asked = ", ".join(wanted or ())
            raise InvalidFieldError(field=field, problem="none of them is asked for", limit=asked)
        return both


class _JoinedSources(SampleSource):
    """The samples of several sources as one sequence."""

    def __init__(self, sources: Sequence[SampleSource]) -> None:
        """Join sources, at least one."""
        self._sources = tuple(sources)
        self._ends = list(itertools.accumulate(map(len, self._sources)))

    @property
    def digest(self) -> str:
        """SHA-256 of the sources' digests."""
        digests = " ".join(source.digest for source in self._sources)
        return hashlib.sha256(digests.encode()).hexdigest()

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"there is no sample {index} of {len(self)}")
        source, own = self._place(index)
        return source[own]

    def task(self, index: int) -> Task | None:
        """Return the task of a sample; None of a broken one."""
        source, own = self._place(index)
        return source.task(own)

    def _place(self, index: int) -> tuple[SampleSource, int]:
        which = bisect.bisect_right(self._ends, index)
        return self._sources[which], index - (self._ends[which - 1] if which else 0)


def open_data(
    text: str, *, tasks: Sequence[Task] | None = None, world_split: Split = Split.TEST
) -> SampleSource:
    """Return the samples of a name such as ``boxes.jsonl``; images are read when they are used.

    Args:
        text: The value of ``--data``.
        tasks: Tasks whose samples are used; None uses those of the data (OD of COCO instances,
            CAPTION of COCO captions, all of the world).
        world_split: The world's seeds that may be used; by default those for testing, which
            training must not use.

    Raises:
        InvalidFieldError: The name is invalid, or the file cannot be read. Broken samples raise
            when they are read.
    """
    sources = [_open(part.strip(), tasks, world_split) for part in text.split(_BETWEEN)]
    return sources[0] if len(sources) == 1 else _JoinedSources(sources)


def _open(text: str, tasks: Sequence[Task] | None, world_split: Split) -> SampleSource:
    kind, colon, rest = text.partition(":")
    if colon and kind == "world":
        named = DataName.of(rest, ("seed", "n", "tasks", "world"), has_subject=False)
        return WorldScenes(
            seed=named.number("seed", 0, least=0),
            count=named.number("n", 200, least=1),
            split=world_split,
            tasks=named.tasks(tasks),
            world=named.world(),
        )
    if colon and kind == "coco":
        named = DataName.of(rest, ("images", "tasks"), has_subject=True)
        path = Path(named.subject).expanduser()
        images = Path(named.options.get("images", path.parent)).expanduser()
        return CocoFile(path, images, tasks=named.tasks(tasks))
    if is_data_set(Path(text.partition(",")[0]).expanduser()):
        named = DataName.of(text, ("tasks", "regions"), has_subject=True)
        limited = "regions" in named.options
        return AnnotatedImages(
            Path(named.subject).expanduser(),
            tasks=named.tasks(tasks),
            regions_max=named.number("regions", 1, least=1) if limited else None,
        )
    if not text.endswith(".jsonl"):
        problem = "not the name of data"
        limit = "DATASET, FILE.jsonl, coco:FILE.json[,images=DIR], world:seed=N,n=COUNT"
        raise InvalidFieldError(field="data", problem=problem, limit=limit, sent=text)
    return JsonLines(Path(text).expanduser(), tasks=tasks)
