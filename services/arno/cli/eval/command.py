"""`arno eval`: say how good a model is."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

from arno.cli.connecting import Connection, connection_options
from arno.cli.eval.figures_table import print_figures
from arno.cli.eval.head import HeadReporting, head_folder, judge_head
from arno.cli.eval.remote_answerer import RemoteAnswerer
from arno.cli.eval.worst_page import WORST_FILE, write_worst_page
from arno.cli.main import EXIT_FAILURE, show_error
from arno.cli.parameter_types import FiniteRange
from arno.cli.terminal import SafeConsole, echo, progress, told_when_interrupted
from arno.errors import ConfigurationError, InvalidFieldError
from arno.ops.help_sections import SectionedCommand
from arno.training.data import open_data
from arno.training.evaluation.answering import Answerer, DecodingChoice
from arno.training.evaluation.figures import nouns_of
from arno.training.evaluation.questions import QuestionSet, questions_of
from arno.training.evaluation.report import REPORT_FILE, Setup, report
from arno.training.evaluation.run import Evaluation, evaluate
from arno.vocabulary import Task
from arno.vocabulary.spec import task_of

_SHOWN_ERRORS = 3
_MANY = 500
"""From this number of questions on, the log shows the progress now and then."""


@dataclass(frozen=True, slots=True)
class _Model:
    """Where the answers come from: a model in this process, or a gateway."""

    name: str
    gateway: Connection | None
    device: str
    parallel: int
    timeout_s: float


@click.command("eval", cls=SectionedCommand)
@click.option(
    "--model",
    metavar="NAME",
    help="What is judged: tiny, a folder (of a head of arno train --head too), or a hub id in the "
    "local cache; runs in this process.  "
    "[default: tiny]",
)
@connection_options(
    default=None, variable=None, purpose="Judge the model behind this gateway instead."
)
@click.option(
    "--data",
    default="world:seed=7,n=200",
    show_default=True,
    metavar="DATA",
    help="Questions and answers: DATASET, FILE.jsonl, coco:FILE.json[,images=DIR][,tasks=A+B], "
    "or world:seed=N,n=SCENES[,tasks=A+B][,world=NAME]; several with ; between.",
)
@click.option(
    "--tasks", default="", metavar="A,B", help="Only these.  [default: all that the data has]"
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N images.")
@click.option(
    "--beams",
    "--num-beams",
    "beams",
    type=click.IntRange(1, 8),
    default=3,
    show_default=True,
    metavar="N",
    help="Width of the beam search; 1 is greedy and fastest.",
)
@click.option("--max-tokens", type=click.IntRange(2), metavar="N", help="Longest answer.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of the answers, report.json and worst.html; an unfinished run in it is resumed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option(
    "--calibrate",
    is_flag=True,
    help="Fit scores to the truth of this data, and write calibration.json beside the model.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="With --model: cpu, cuda, cuda:N, or auto.",
)
@click.option(
    "--parallel",
    type=click.IntRange(1, 256),
    default=8,
    show_default=True,
    metavar="N",
    help="With --address: images under way at once.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=FiniteRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    metavar="S",
    help="With --address: how long one image may take, in seconds.",
)
def verb(
    model: str | None,
    gateway: Connection,
    data: str,
    tasks: str,
    limit: int | None,
    beams: int,
    max_tokens: int | None,
    out: Path | None,
    as_json: bool,
    calibrate: bool,
    device: str,
    parallel: int,
    timeout_s: float,
) -> int:
    """Measure a model, task by task, by questions with known answers.

    What the figures mean: docs/evaluation.md. With --out, a second call with the same flags asks
    only what is missing.

    \b
    Examples:
      arno eval --model tiny --data world:seed=7,n=200
      arno eval --model ./Florence-2-base-ft --data coco:instances_val2017.json,images=val2017
      arno eval --address 127.0.0.1:50051 --data my-photos.jsonl --out judged
      arno eval --model ./my-model --data held-out.jsonl --calibrate
      arno eval --model runs/masks/model --data coco:instances_val2017.json,images=val2017
    """
    if model is not None and gateway.address:
        raise ConfigurationError("--address: a gateway has its own model; leave out --model")
    if calibrate and gateway.address:
        raise ConfigurationError(
            "--calibrate: writes beside a model of this machine; use --model in place of --address"
        )
    wanted = _tasks(tasks)
    notes = SafeConsole(stderr=True, highlight=False)
    if (folder := head_folder(model)) is not None:
        if wanted is not None or calibrate:
            raise ConfigurationError("--tasks, --calibrate: not of a head")
        shown = HeadReporting(out, as_json, notes, _progress)
        return judge_head(folder, data, device=device, limit=limit, shown=shown)
    with notes.status("reading the data"):
        asked = questions_of(open_data(data, tasks=wanted), tasks=wanted, images_max=limit)
    _check(asked, data, notes)
    choice = DecodingChoice(beams, max_tokens)
    judged = _Model(
        model or "tiny", gateway if gateway.address else None, device, parallel, timeout_s
    )
    total = len(asked.questions)
    kept = f"answers are kept in {out}, and the same command resumes the run"
    with (
        told_when_interrupted(kept if out else "nothing is kept without --out"),
        _answerer(judged, choice, notes) as answerer,
        _progress(notes, total) as on_progress,
    ):
        evaluation = evaluate(
            answerer,
            asked,
            decoding=choice,
            nouns=nouns_of(data),
            folder=out,
            on_progress=on_progress,
        )
    _conclude(evaluation, Setup(data, asked, choice, limit), out, as_json=as_json)
    if calibrate:
        _calibrate(evaluation, judged.name, data, choice)
    return EXIT_FAILURE if evaluation.failed else 0


def _calibrate(evaluation: Evaluation, name: str, data: str, choice: DecodingChoice) -> None:
    """Fit the scores, write them beside the model, and print how well that went."""
    from arno.engine.checkpoints.calibration import write_calibration
    from arno.engine.checkpoints.folders import find_model_folders
    from arno.training.evaluation.calibration import REGIONS_MIN, calibration_of, fit

    fits = list(fit(evaluation))
    for one in fits:
        about = f"{one.task}: {one.region_count} regions"
        if one.score_map is None:
            echo(f"{about}, too few to calibrate ({REGIONS_MIN} are needed)", err=True)
        else:
            errors = f"{one.before:.3f} before and {one.after:.3f} after"
            echo(f"{about}, calibration error {errors} on the same data", err=True)
    calibration = calibration_of(fits)
    if not calibration.maps:
        raise InvalidFieldError(field="--data", problem="holds too little to calibrate", sent=data)
    path = write_calibration(
        find_model_folders(name).all[-1],
        calibration,
        fingerprint=evaluation.model.fingerprint,
        fitted_on={"data": data, "num_beams": choice.num_beams},
    )
    echo(f"written: {path}", err=True)


def _tasks(names: str) -> tuple[Task, ...] | None:
    try:
        return tuple(task_of(name) for name in names.split(",") if name.strip()) or None
    except InvalidFieldError as error:
        raise error.renamed("--tasks") from error


def _check(asked: QuestionSet, data: str, notes: Console) -> None:
    """Refuse data without questions; print what in it is broken."""
    if not asked.questions:
        raise InvalidFieldError(field="--data", problem="holds no question to ask", sent=data)
    for error in asked.broken[:_SHOWN_ERRORS]:
        show_error(error)
    if asked.broken:
        notes.print(f"{len(asked.broken)} broken samples are left out", style="yellow")


@contextlib.contextmanager
def _answerer(asked: _Model, choice: DecodingChoice, notes: Console) -> Iterator[Answerer]:
    if asked.gateway is not None:
        with asked.gateway.client(timeout_s=asked.timeout_s) as client:
            yield RemoteAnswerer(client, choice, parallel=asked.parallel)
        return
    from arno.training.evaluation.local import open_model

    with notes.status(f"loading {asked.name}"):
        model = open_model(asked.name, choice, device=asked.device)
    with contextlib.closing(model):
        yield model


@contextlib.contextmanager
def _progress(notes: Console, total: int) -> Iterator[Callable[[int], None]]:
    """Yield what shows how many are done: a bar on a terminal, else a line for every tenth."""
    if not notes.is_terminal:
        marks = {total * tenth // 10 for tenth in range(1, 10)} if total >= _MANY else set()
        yield lambda done: notes.print(f"{done} of {total} questions") if done in marks else None
        return
    with progress("asking", "questions") as shown:
        yield lambda done: shown(done, total)


def _conclude(evaluation: Evaluation, setup: Setup, out: Path | None, *, as_json: bool) -> None:
    """Print and write what came of it."""
    for failure in (*evaluation.failed, *evaluation.unasked)[:_SHOWN_ERRORS]:
        name = failure.question.question_id
        # An unreadable image names its line of the data itself.
        show_error(failure.error, about="" if name in failure.error.message else name)
    document = json.dumps(report(evaluation, setup), indent=2, ensure_ascii=False)
    if as_json:
        echo(document)
    else:
        print_figures(SafeConsole(highlight=False), evaluation, setup.data)
    if out is not None:
        # Data may have a name that is no UTF-8.
        (out / REPORT_FILE).write_text(f"{document}\n", encoding="utf-8", errors="backslashreplace")
        write_worst_page(out / WORST_FILE, evaluation, setup.data)
        echo(f"written: {out / REPORT_FILE}, {out / WORST_FILE}", err=True)
