"""Write the answers of `arno batch` in the formats of other programs.

Records are read shard by shard and written as they come, so memory holds the names of the labels
and no more. Whatever a format calls a file is made of the key of the item, and stays inside the
folder that is written.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from arno.bulk.item import Place
from arno.bulk.record import Record
from arno.bulk.shards import read_records
from arno.client.exports.coco import coco_annotations, coco_categories, coco_image
from arno.client.exports.fiftyone import to_fiftyone
from arno.client.exports.label_studio import to_label_studio
from arno.client.exports.selection import ClassNames, found_in, size_of
from arno.client.exports.yolo import yolo_lines
from arno.errors import ConfigurationError, InvalidFieldError
from arno.images.file_types import FILE_SUFFIXES
from arno.ops.atomic_file import write_atomically
from arno.vocabulary import Answer, TextAnswer, bounding_box
from arno.vocabulary.results import InferResult

_SUFFIXES: Final = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "image/bmp": ".bmp",
    "image/tiff": ".tif",
}
_KEPT_CHARS: Final = " +-=@~,()[]{}!"
_TAR_SAMPLES: Final = 1000


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What is exported.

    Attributes:
        task: Id or name of a task; None takes all.
        classes: Names of classes in their order; None makes them of the labels.
        min_score: Regions with a lower score are left out; those without a score stay.
        image_prefix: Stands before the key in Label Studio's `$image`.
    """

    task: str | None = None
    classes: Sequence[str] | None = None
    min_score: float | None = None
    image_prefix: str = ""


Exporter: TypeAlias = Callable[["Answers", Path], int]


class Answers:
    """The answers of a folder, chosen by the options; read anew each time.

    Attributes:
        unused_classes: The given classes that no region has had as its label, of the answers read
            so far: they may be misspelt.
    """

    def __init__(self, folder: Path, options: ExportOptions) -> None:
        """Take the folder of `arno batch`."""
        self.folder = folder
        self.options = options
        self.unused_classes = list(options.classes or ())

    def __iter__(self) -> Iterator[Record]:
        for record in read_records(self.folder):
            chosen = self._chosen(record.result)
            if self.unused_classes:
                labels = {one.region.label for one in found_in(chosen, None)}
                self.unused_classes = [name for name in self.unused_classes if name not in labels]
            yield replace(record, result=chosen)

    def class_names(self) -> ClassNames:
        """Return the given names, or those of all labels."""
        if self.options.classes is not None:
            return ClassNames(self.options.classes, ())
        found = (one for record in self for one in found_in(record.result, None))
        return ClassNames(None, (one.region.label for one in found))

    def _chosen(self, result: InferResult) -> InferResult:
        task, least = self.options.task, self.options.min_score
        # A task that failed has no answer to export: failures.jsonl tells of it.
        tasks = [one for one in result if one.ok and (task is None or one in _named(result, task))]
        if least is not None:
            tasks = [replace(one, outcome=one.answer.above(least)) for one in tasks]
        return replace(result, tasks=tuple(tasks))


def export(answers: Answers, form: str, out: Path) -> int:
    """Write answers in a format; return of how many images they are.

    Args:
        answers: What is exported.
        form: One of `FORMATS`.
        out: A file for `coco` and `label-studio`, else a folder; must not be there.

    Raises:
        ConfigurationError: The folder is none of `arno batch`, or `out` is there already.
        InvalidFieldError: An image is needed, and cannot be read.
        OSError: The disk is full, or cannot be written.
    """
    if out.exists():
        raise ConfigurationError(f"{out}: exists already; choose another path")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        return FORMATS[form](answers, out)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            # A full disk is told by the open file, which does not say its name.
            error.filename = str(out)
        # It was not there before, and a part of an export would look like a whole one.
        shutil.rmtree(out, ignore_errors=True)
        raise


def _coco(answers: Answers, out: Path) -> int:
    names = answers.class_names()

    def images() -> Iterator[dict[str, Any]]:
        for number, record in enumerate(answers, start=1):
            yield coco_image(record.result, _shown(record.key), number)

    def annotations() -> Iterator[dict[str, Any]]:
        next_id = 1
        for number, record in enumerate(answers, start=1):
            found = found_in(record.result, None)
            for entry in coco_annotations(found, names, image_id=number, first_id=next_id):
                next_id += 1
                yield entry

    with write_atomically(out) as path, path.open("w", encoding="utf-8") as file:
        file.write('{"images": ')
        count = _write_list(file, images())
        file.write(',\n"annotations": ')
        _write_list(file, annotations())
        file.write(f',\n"categories": {json.dumps(coco_categories(names))}}}\n')
    return count


def _label_studio(answers: Answers, out: Path) -> int:
    prefix = answers.options.image_prefix
    tasks = (
        to_label_studio(record.result, image_url=f"{prefix}{_shown(record.key)}")
        for record in answers
    )
    with write_atomically(out) as path, path.open("w", encoding="utf-8") as file:
        return _write_list(file, tasks)


def _yolo(answers: Answers, out: Path) -> int:
    names = answers.class_names()
    count = 0
    for record in answers:
        name = _file_name(record)
        _put_image(record, out / "images" / name)
        label = (out / "labels" / name).with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        lines = yolo_lines(found_in(record.result, None), names, size_of(record.result))
        label.write_text(lines, encoding="utf-8")
        count += 1
    # JSON is YAML, and quotes names as they need it.
    document = {"path": ".", "train": "images", "val": "images", "names": names.names}
    (out / "data.yaml").write_text(f"{json.dumps(document, indent=2)}\n", encoding="utf-8")
    return count


def _fiftyone(answers: Answers, out: Path) -> int:
    out.mkdir()

    def samples() -> Iterator[dict[str, Any]]:
        for record in answers:
            path = Path("data") / _file_name(record)
            _put_image(record, out / path)
            yield to_fiftyone(record.result, filepath=str(path))

    with (out / "samples.json").open("w", encoding="utf-8") as file:
        file.write('{"samples": ')
        count = _write_list(file, samples())
        file.write("}\n")
    metadata = {"name": out.name, "media_type": "image", "info": {"made_by": "arno export"}}
    (out / "metadata.json").write_text(f"{json.dumps(metadata, indent=2)}\n", encoding="utf-8")
    return count


def _webdataset(answers: Answers, out: Path) -> int:
    out.mkdir()
    count = 0
    shard: tarfile.TarFile | None = None
    try:
        for record in answers:
            if count % _TAR_SAMPLES == 0:
                if shard is not None:
                    shard.close()
                shard = tarfile.open(out / f"{count // _TAR_SAMPLES:06d}.tar", "w")  # noqa: SIM115
            assert shard is not None  # noqa: S101 - the first sample opens one
            _add_sample(shard, record, f"{count:09d}")
            count += 1
    finally:
        if shard is not None:
            shard.close()
    return count


FORMATS: Final[dict[str, Exporter]] = {
    "coco": _coco,
    "yolo": _yolo,
    "label-studio": _label_studio,
    "fiftyone": _fiftyone,
    "webdataset": _webdataset,
}


def _named(result: InferResult, task: str) -> list[object]:
    """Return the tasks of an id or a name; those of fan-outs have the id and a number."""
    return [
        one
        for one in result
        if one.id.partition(".")[0] == task or one.task == task.upper() or one.id == task
    ]


def _add_sample(shard: tarfile.TarFile, record: Record, name: str) -> None:
    answers: list[dict[str, Any]] = []
    for outcome in record.result:
        answer = outcome.answer
        answers.append(
            {
                "task": str(outcome.task),
                "id": outcome.id,
                "text": answer.value.text if isinstance(answer.value, TextAnswer) else None,
                "regions": _regions(answer),
            }
        )
    document = {"key": record.key, "fields": dict(record.fields), "tasks": answers}
    contents = {
        _suffix(record): _image_of(record),
        ".json": json.dumps(document).encode(),
    }
    for suffix, content in contents.items():
        info = tarfile.TarInfo(f"{name}{suffix}")
        info.size = len(content)
        shard.addfile(info, io.BytesIO(content))


def _regions(answer: Answer) -> list[dict[str, Any]]:
    made = []
    for region in answer.regions:
        entry: dict[str, Any] = {"label": region.label, "score": region.score}
        if region.shape:
            box = bounding_box(region.shape)
            entry["box"] = [box.x0, box.y0, box.x1, box.y1]
        made.append(entry)
    return made


def _write_list(file: io.TextIOBase | Any, entries: Iterable[dict[str, Any]]) -> int:
    count = 0
    file.write("[")
    for entry in entries:
        file.write(",\n" if count else "\n")
        file.write(json.dumps(entry))
        count += 1
    file.write("\n]")
    return count


def _put_image(record: Record, path: Path) -> None:
    """Put an image into the export: a link to its file, or a copy of a part of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    place = _place_of(record)
    if place.size_bytes is None:
        path.symlink_to(place.path)
    else:
        path.write_bytes(place())


def _image_of(record: Record) -> bytes:
    return _place_of(record)()


def _place_of(record: Record) -> Place:
    if record.place is None:
        problem = "is in no file as it is (a video's frame, a compressed shard)"
        limit = "coco, label-studio"
        raise InvalidFieldError(field=f"image {record.key}", problem=problem, limit=limit)
    return record.place


def _shown(key: str) -> str:
    return key.encode("utf-8", "backslashreplace").decode()


def _file_name(record: Record) -> Path:
    """Return a key as a relative path that leads nowhere else, with the suffix of an image."""
    parts = [
        quote(part, safe=_KEPT_CHARS, errors="surrogateescape")
        if part.strip(".")
        else "_" * len(part)
        for part in PurePosixPath(record.key).parts
        if part != "/"
    ]
    path = Path(*parts) if parts else Path("_")
    return (
        path
        if path.suffix.lower() in FILE_SUFFIXES
        else path.with_name(path.name + _suffix(record))
    )


def _suffix(record: Record) -> str:
    image = record.result.image
    return _SUFFIXES.get(image.mime_type, ".img") if image is not None else ".img"
