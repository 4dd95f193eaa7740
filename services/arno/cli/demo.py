"""`arno demo`: start everything, try the examples, compare with the truth."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

import click
from rich.console import Console

from arno.cli.infer import pictures_in
from arno.cli.main import EXIT_FAILURE, EXIT_INTERRUPTED, show_error
from arno.cli.tables import print_result
from arno.cli.terminal import SafeConsole
from arno.cli.up import STATE_FILE
from arno.cli.up.child import Child, ChildSpec
from arno.cli.up.supervisor import ChildFailedError
from arno.client import Client, InferResult, TaskRequest
from arno.client.drawing import draw
from arno.client.export import error_line, json_lines
from arno.errors import ArnoError, InvalidFieldError
from arno.ops.help_sections import SectionedCommand
from arno.training.evaluation.metrics.matching import IOU_MIN, match, same_label
from arno.vocabulary import Box, Region, Task

_TASKS: Final = (
    TaskRequest(Task.OD, id="objects"),
    TaskRequest(Task.CAPTION, id="caption"),
    # The caption is the text of the grounding, and each object's box asks for its description.
    TaskRequest(Task.CAPTION_TO_PHRASE_GROUNDING, id="grounding", input_from="caption"),
    TaskRequest(Task.REGION_TO_DESCRIPTION, id="description", input_from="objects"),
)
_START_TIMEOUT_S: Final = 330.0
"""Longer than `arno up` waits for its children: its message names the reason of a delay."""
_GRACE_S: Final = 20.0
_POLL_S: Final = 0.1
_TRUTH_FILE: Final = "truth.json"


@click.command("demo", cls=SectionedCommand)
@click.argument(
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("examples/images"),
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-out"),
    show_default=True,
    metavar="DIR",
    help="Where the pictures and results.jsonl go.",
)
@click.option(
    "--model", default="tiny", show_default=True, metavar="NAME", help="As for `arno up`."
)
def verb(folder: Path, out: Path, model: str) -> int:
    """Start Arno on free ports, run tasks on the images of a folder, print the answers, stop.

    With truth.json beside the pictures, prints how many objects were found. Nothing is left
    running, and no data outside of --out.

    \b
    Example:
      arno demo examples/images --out demo-out
    """
    images = pictures_in(folder)
    if not images:
        raise InvalidFieldError(field="FOLDER", problem="holds no pictures", sent=str(folder))
    truth = read_truth(folder)
    out.mkdir(parents=True, exist_ok=True)
    demo = _Demo(SafeConsole(highlight=False), out, truth)
    began_s = time.monotonic()
    with _server(model, demo.console) as address, Client(address) as client:
        asked_s = time.monotonic()
        demo.ask(client, images)
        answered_s = time.monotonic()
    return demo.conclude(
        f"{len(images)} images in {answered_s - asked_s:.1f} s "
        f"after {asked_s - began_s:.1f} s to start; pictures and results.jsonl in {out}"
    )


@dataclass(slots=True)
class _Demo:
    console: Console
    out: Path
    truth: Mapping[str, Sequence[Region]]
    failed: bool = False
    compared_count: int = 0
    right_count: int = 0
    object_count: int = 0
    found_count: int = 0

    def ask(self, client: Client, images: Sequence[Path]) -> None:
        with (self.out / "results.jsonl").open(
            "w", encoding="utf-8", errors="backslashreplace"
        ) as lines:
            for image in images:
                try:
                    result = client.infer(image, *_TASKS)
                except ArnoError as error:
                    self.failed = True
                    show_error(error, about=image.name)
                    lines.write(error_line(image.name, error) + "\n")
                    continue
                lines.writelines(f"{line}\n" for line in json_lines(image.name, result))
                self._show(image, result)

    def conclude(self, sentence: str) -> int:
        if self.compared_count:
            self.console.print(
                f"[bold]{self.right_count} of {self.compared_count} images have a correct box at "
                f"IoU >= {IOU_MIN}[/]; {self.found_count} of {self.object_count} objects found"
            )
        self.console.print(sentence)
        blind = self.compared_count > 0 and self.right_count == 0
        if blind:
            self.console.print("[red]the model found nothing that is there[/]")
        return EXIT_FAILURE if self.failed or blind else 0

    def _show(self, image: Path, result: InferResult) -> None:
        print_result(self.console, image.name, result)
        picture = self.out / f"{image.name}.annotated.png"
        draw(image, [one for one in result if one.id == "objects"]).save(picture)
        self.failed |= not result.ok
        objects = self.truth.get(image.name)
        if objects is not None and result["objects"].ok:
            found = match(result["objects"].regions, objects, may_match=same_label)
            self._count(len(found), len(objects))

    def _count(self, found_count: int, object_count: int) -> None:
        self.compared_count += 1
        self.right_count += found_count > 0
        self.object_count += object_count
        self.found_count += found_count
        verdict = f"{found_count} of {object_count} objects found"
        colour = "green" if found_count == object_count else "yellow"
        self.console.print(f"[{colour}]{verdict}[/]\n")


def read_truth(folder: Path) -> Mapping[str, Sequence[Region]]:
    """Return the true objects of each image by file name; nothing where there is no truth.

    Raises:
        InvalidFieldError: The file has another form than that of the examples.
    """
    path = folder / _TRUTH_FILE
    if not path.exists():
        return {}
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        return {
            image["file"]: [Region(one["label"], Box(*one["box"])) for one in image["objects"]]
            for image in document["images"]
        }
    except (ValueError, KeyError, TypeError) as error:
        problem = f"cannot be read ({error!r})"
        raise InvalidFieldError(field=_TRUTH_FILE, problem=problem, sent=str(path)) from error


@contextlib.contextmanager
def _server(model: str, console: Console) -> Iterator[str]:
    """Run `arno up` in a folder of its own; give its address; leave nothing."""
    with tempfile.TemporaryDirectory(prefix="arno-demo-") as name:
        folder = Path(name)
        command = [sys.executable, "-m", "arno.cli", "up", "--port", "0", "--no-web"]
        state = folder / "data" / STATE_FILE
        spec = ChildSpec(
            "up", [*command, "--model", model, "--data", str(folder / "data")], state.exists, ""
        )
        child = Child(spec, folder)
        before = signal.signal(signal.SIGTERM, _leave)
        try:
            child.start()
            sentence = f"starting a store, a gateway and a worker with {model}"
            if not console.is_terminal:  # where a status is not shown
                console.print(sentence)
            with console.status(sentence):
                _await(child)
            yield json.loads(state.read_text())["address"]
        finally:
            child.terminate()
            deadline_s = time.monotonic() + _GRACE_S
            while child.running and time.monotonic() < deadline_s:
                time.sleep(_POLL_S)
            child.kill()
            signal.signal(signal.SIGTERM, before)


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    """End by an exception, so that no data stays behind.

    Not by KeyboardInterrupt: if it comes in the middle of an import, Python ends as if it had not
    been caught.
    """
    sys.exit(EXIT_INTERRUPTED)


def _await(child: Child) -> None:
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while not child.spec.ready():
        if not child.running or time.monotonic() > deadline_s:
            said = "\n".join(child.tail())
            raise ChildFailedError(f"arno up did not become ready:\n{said}", child="up")
        time.sleep(_POLL_S)
