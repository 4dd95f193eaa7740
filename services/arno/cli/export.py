"""`arno export`: write the answers of `arno batch` in the formats of other programs."""

from __future__ import annotations

from pathlib import Path

import click

from arno.bulk.export import FORMATS, Answers, ExportOptions, export
from arno.cli.asking import complete_task
from arno.cli.parameter_types import FiniteRange
from arno.cli.terminal import echo
from arno.ops.help_sections import SectionedCommand


@click.command("export", cls=SectionedCommand)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "form",
    type=click.Choice([*FORMATS]),
    required=True,
    help="COCO and Label Studio are one file of JSON; the others a folder with the images.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE|DIR",
    help="File or folder to write; must not exist yet.",
)
@click.option(
    "--task",
    metavar="NAME",
    shell_complete=complete_task,
    help="Only the answers of this task.  [default: all]",
)
@click.option(
    "--classes",
    default="",
    metavar="A,B",
    help="Classes in their order; other labels are left out.  [default: all labels]",
)
@click.option(
    "--min-score",
    type=FiniteRange(min=0, max=1),
    metavar="S",
    help="Leave out regions whose score is below, 0 to 1.  [default: none]",
)
@click.option(
    "--image-prefix",
    default="",
    metavar="URL",
    help="For Label Studio: stands before the key of each image.",
)
def verb(
    folder: Path,
    form: str,
    out: Path,
    task: str | None,
    classes: str,
    min_score: float | None,
    image_prefix: str,
) -> None:
    """Write the answers in FOLDER, which `arno batch` made, in the format of another program.

    \b
    Examples:
      arno export seen --to coco --out seen.json --task OD --min-score 0.5
      arno export seen --to yolo --out dataset --classes car,bus
      arno export seen --to label-studio --out tasks.json --image-prefix /files/?d=
    """
    names = [name.strip() for name in classes.split(",") if name.strip()]
    answers = Answers(folder, ExportOptions(task, names or None, min_score, image_prefix))
    count = export(answers, form, out)
    if answers.unused_classes:
        echo(f"no region has the label: {', '.join(answers.unused_classes)}", err=True)
    echo(f"{count:,} images in {out}", err=True)
