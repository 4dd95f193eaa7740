"""`arno infer`: ask about images."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from arno.cli.asking import TaskFlags, address_options, task_options
from arno.cli.connecting import Connection
from arno.cli.main import DISK_FULL, EXIT_FAILURE, show_error
from arno.cli.tables import print_result
from arno.cli.terminal import SafeConsole, echo
from arno.client import InferResult
from arno.client.drawing import draw
from arno.client.export import error_line, json_lines
from arno.errors import ArnoError, ConfigurationError, InvalidFieldError, InvalidImageError
from arno.images.file_types import FILE_SUFFIXES
from arno.ops.help_sections import SectionedCommand


@click.command("infer", cls=SectionedCommand)
@click.argument(
    "images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE.."
)
@task_options
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON an answer.")
@click.option(
    "--draw",
    "drawn",
    type=click.Path(path_type=Path),
    metavar="OUT.png|DIR",
    help="Write the picture with its regions: a file for one image, else a folder.",
)
@click.option(
    "--parallel",
    type=click.IntRange(1, 256),
    default=8,
    show_default=True,
    metavar="N",
    help="Images under way at once.",
)
@address_options
def verb(
    images: tuple[Path, ...],
    as_json: bool,
    drawn: Path | None,
    parallel: int,
    gateway: Connection,
    timeout_s: float,
    **flags: Any,
) -> int:
    """Run tasks on images, or on all images of a folder.

    An image that fails does not stop the others; the exit code is then 1.

    \b
    Examples:
      arno infer photo.jpg --task OD --task CAPTION --draw seen.png
      arno infer photo.jpg --task OD --task REGION_TO_DESCRIPTION@OD
      arno infer photo.jpg --task CAPTION_TO_PHRASE_GROUNDING --text "a dog on a red sofa"
      arno infer photo.jpg --task REGION_TO_OCR --region 40,60,320,110
      arno infer photo.jpg --task OPEN_VOCABULARY_DETECTION --classes car,bus
      arno infer folder/ --task OCR --json > answers.jsonl
    """
    tasks = TaskFlags(**flags).requests()
    paths = list(_expand(images))
    target = _Target.of(drawn, len(paths))
    console = SafeConsole(highlight=False)
    failed = False
    with gateway.client(timeout_s=timeout_s) as client:
        for path, asked in zip(
            paths, client.infer_many(paths, *tasks, in_flight_max=parallel), strict=True
        ):
            failed |= not _show(console, path, asked.outcome, as_json=as_json)
            if target is not None and isinstance(asked.outcome, InferResult):
                failed |= not _draw(target, path, asked.outcome, as_json=as_json)
    return EXIT_FAILURE if failed else 0


def _show(console: Console, path: Path, outcome: InferResult | ArnoError, *, as_json: bool) -> bool:
    if isinstance(outcome, ArnoError):
        show_error(outcome, about=str(path))
        if as_json:
            echo(error_line(str(path), outcome))
        return False
    if as_json:
        for line in json_lines(str(path), outcome):
            echo(line)
    else:
        print_result(console, str(path), outcome)
    sys.stdout.flush()
    return outcome.ok


def _draw(target: _Target, path: Path, result: InferResult, *, as_json: bool) -> bool:
    try:
        saved = target.save(path, result)
    except InvalidImageError as error:
        # The file is another than the one that was sent a moment ago.
        show_error(error, about=str(path))
        return False
    echo(f"drawn: {saved}", err=as_json)
    return True


def _expand(images: Sequence[Path]) -> Iterator[Path]:
    for image in images:
        if image.is_dir():
            found = pictures_in(image)
            if not found:
                kinds = ", ".join(sorted(FILE_SUFFIXES))
                raise InvalidFieldError(
                    field="IMAGE", problem="holds no pictures", limit=kinds, sent=str(image)
                )
            yield from found
        else:
            yield image


@dataclass(frozen=True, slots=True)
class _Target:
    """Where drawn pictures go: one file, or a folder with a file an image."""

    path: Path
    single: bool
    taken: set[Path] = field(default_factory=set)

    @classmethod
    def of(cls, drawn: Path | None, count: int) -> _Target | None:
        if drawn is None:
            return None
        single = bool(drawn.suffix) and not drawn.is_dir()
        if single and drawn.suffix.lower() not in FILE_SUFFIXES:
            kinds = ", ".join(sorted(FILE_SUFFIXES))
            raise ConfigurationError(f"--draw {drawn}: name a folder, or a file of {kinds}")
        if single and count > 1:
            raise ConfigurationError(f"--draw {drawn}: name a folder, there are {count} images")
        folder = drawn.parent if single else drawn
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"--draw {drawn}: {error.strerror or error}") from error
        return cls(drawn, single)

    def save(self, image: Path, result: InferResult) -> Path:
        path = self.path if self.single else self._free_name(image)
        was_there = path.exists()
        try:
            draw(image, result).save(path)
        except (OSError, ValueError, OverflowError) as error:
            if not was_there:
                # A part of a picture is none.
                path.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno in DISK_FULL:
                # The command was right: it is not told as a fault of --draw.
                error.filename = str(path)
                raise
            # Not only of the disk: formats have longest sides, each with another error.
            said = getattr(error, "strerror", None) or error
            raise ConfigurationError(f"--draw {path}: {said}") from error
        return path

    def _free_name(self, image: Path) -> Path:
        # Images of two folders may share a name.
        names = (f"{image.name}{'-' * bool(n)}{n or ''}.annotated.png" for n in itertools.count())
        path = next(self.path / name for name in names if self.path / name not in self.taken)
        self.taken.add(path)
        return path


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures that lie directly in a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in FILE_SUFFIXES)
