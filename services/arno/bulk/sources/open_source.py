"""Open a source by what stands on the command line, and read videos as sources."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from arno.bulk.item import Item
from arno.bulk.sources.archives import TarSource
from arno.bulk.sources.files import FilesSource, FolderSource, JsonLinesSource, ListSource
from arno.bulk.sources.source import Source
from arno.errors import InvalidFieldError
from arno.images.file_types import FILE_SUFFIXES
from arno.ingest.videos.frames import duration_s, read_frames
from arno.ingest.videos.pictures import SourceOptions

_TARS: Final = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_JSON_LINES: Final = (".jsonl", ".ndjson")
_LISTS: Final = (".txt", ".lst", ".list")
_VIDEOS: Final = (
    *(".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv"),
    *(".flv", ".3gp"),
)
_RANGE: Final = re.compile(r"\{(\d+)\.\.(\d+)\}")
_RANGE_MAX: Final = 1_000_000
_KINDS: Final = (
    "a folder, a glob in quotes, pictures, a list (.txt), lines of JSON (.jsonl), "
    "WebDataset shards (.tar, with {000..012} or *), or a video"
)


class VideoSource(Source):
    """The frames of a video file. Keys are `NAME#NUMBER`; `timestamp_ms` is a field."""

    def __init__(self, path: Path, *, fps: float | None) -> None:
        """Take the file, and how many frames of a second are items; None is all."""
        self.name = str(path.absolute())
        self._options = SourceOptions(self.name, fps=fps)

    def __iter__(self) -> Iterator[Item]:
        name = Path(self.name).name
        for frame in read_frames(self._options):
            fields = {"timestamp_ms": frame.timestamp_ms}
            yield Item(f"{name}#{frame.sequence:06d}", _held(frame.content), fields)

    def count(self) -> int | None:
        """Return about how many frames there are; None without a rate."""
        length_s = duration_s(self._options)
        fps = self._options.fps
        return None if length_s is None or fps is None else max(1, round(length_s * fps))


def open_source(*names: str, fps: float | None = None) -> Source:
    """Return the items of a source.

    Args:
        names: One source of any kind, or several pictures or several shards, as a shell makes them
            of a glob.
        fps: Of a video: frames of a second that are taken; None takes all.

    Raises:
        InvalidFieldError: There is no such thing, or nothing to ask about in it.
    """
    if fps is not None and not (len(names) == 1 and names[0].lower().endswith(_VIDEOS)):
        raise InvalidFieldError(field="--fps", problem="only a video has frames", sent=f"{fps:g}")
    paths = [path for name in names for path in _expanded(name)]
    if not paths:
        sent = " ".join(names)
        raise InvalidFieldError(field="SOURCE", problem="no file has such a name", sent=sent)
    if len(paths) == 1:
        return _open_one(paths[0], fps)
    if all(str(path).lower().endswith(_TARS) for path in paths):
        return TarSource(paths)
    pictures = [path for path in paths if path.suffix.lower() in FILE_SUFFIXES]
    # A glob may find other files among pictures; what was named one by one is meant.
    if not pictures or (len(names) > 1 and len(pictures) < len(paths)):
        problem = "holds nothing to ask about" if len(names) == 1 else "several of different kinds"
        raise _refused(" ".join(names[:3]), problem)
    return FilesSource(pictures)


def _open_one(path: Path, fps: float | None) -> Source:
    lower = path.name.lower()
    if path.is_dir():
        return FolderSource(path)
    if not path.exists():
        raise InvalidFieldError(field="SOURCE", problem="no such file or folder", sent=str(path))
    kinds: tuple[tuple[Sequence[str], Callable[[], Source]], ...] = (
        (_TARS, lambda: TarSource([path])),
        (_JSON_LINES, lambda: JsonLinesSource(path)),
        (_LISTS, lambda: ListSource(path)),
        (_VIDEOS, lambda: VideoSource(path, fps=fps)),
        (tuple(FILE_SUFFIXES), lambda: FilesSource([path])),
    )
    for suffixes, make in kinds:
        if lower.endswith(tuple(suffixes)):
            return make()
    raise _refused(str(path), "a file of no known kind")


def _expanded(name: str) -> list[Path]:
    """Return the paths that a name stands for; names of files win over patterns."""
    if Path(name).exists():
        return [Path(name)]
    names = _ranged(name)
    if len(names) == 1 and glob.has_magic(name):
        return [Path(found) for found in sorted(glob.glob(name, recursive=True))]  # noqa: PTH207 - absolute patterns too
    return [Path(one) for one in names]


def _ranged(name: str) -> list[str]:
    """Return the names that `{000..012}` stands for."""
    found = _RANGE.search(name)
    if found is None:
        return [name]
    first, last = int(found[1]), int(found[2])
    if not 0 <= last - first < _RANGE_MAX:
        raise _refused(name, "a range that goes up, and not by too many")
    width = len(found[1])
    before, after = name[: found.start()], name[found.end() :]
    return [f"{before}{number:0{width}d}{after}" for number in range(first, last + 1)]


def _refused(sent: str, problem: str) -> InvalidFieldError:
    return InvalidFieldError(field="SOURCE", problem=problem, limit=_KINDS, sent=sent)


def _held(content: bytes) -> Callable[[], bytes]:
    return lambda: content
