"""`arno annotate`: make a data set of images, by models and functions that annotate."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from arno.bulk import Answerer, GatewayAnswerer, LocalAnswerer, open_source
from arno.bulk.gateway_answerer import GatewayOptions
from arno.cli.annotator_names import NAMED, open_annotator
from arno.cli.asking import TaskFlags, address_options, many_images_options, task_options
from arno.cli.connecting import Connection
from arno.cli.dataset.flags import format_option, out_option, print_counts, shard_option
from arno.cli.main import EXIT_FAILURE
from arno.cli.terminal import SafeConsole, progress, told_when_interrupted
from arno.client import TaskRequest
from arno.data_engine.annotation import FAILURES_FILE, WINDOW, RunOptions, Sources, annotate
from arno.data_engine.annotators.annotator import Annotator, TaskAnnotator
from arno.dataset import Dataset
from arno.dataset.shards import ShardFormat
from arno.errors import InvalidFieldError, UnavailableError
from arno.ops.help_sections import SectionedCommand
from arno.training.data.annotated import is_data_set


@click.command("annotate", cls=SectionedCommand)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE..")
@out_option
@task_options
@click.option(
    "--annotator",
    "others",
    multiple=True,
    metavar="[NAME=]KIND:WHAT",
    help=f"Also annotate with {NAMED}; repeatable.",
)
@click.option(
    "--region-texts",
    is_flag=True,
    help="Give each category region a text by Florence-2: its class, a caption of its crop, or a "
    "noun chunk of the texts, whichever the model finds likeliest there.",
)
@click.option("--no-florence", is_flag=True, help="Annotate with --annotator alone.")
@click.option("--name", default="florence", show_default=True, help="Name of this annotator.")
@format_option
@shard_option
@click.option(
    "--window",
    type=click.IntRange(1, 100_000),
    default=WINDOW,
    show_default=True,
    metavar="N",
    help="Images under way at once: held in memory, and what a kill may cost.",
)
@many_images_options
@address_options
def verb(
    sources: tuple[str, ...],
    out: Path,
    others: tuple[str, ...],
    region_texts: bool,
    no_florence: bool,
    model: str | None,
    name: str,
    form: str,
    shard_records: int,
    window: int,
    in_flight: int,
    fps: float | None,
    failures_max: int | None,
    gateway: Connection,
    timeout_s: float,
    **flags: Any,
) -> int:
    """Annotate every image of SOURCE and write a data set: docs/dataset.md.

    SOURCE is what `arno batch` takes, or a data set, whose annotations are kept beside the new
    ones. Florence-2 runs on the batch lane of a gateway, or in this process with --model. The
    same command resumes an unfinished run. Failures are in failures.jsonl; exit code 1.

    \b
    Examples:
      arno annotate photos/ --task CAPTION --task CAPTION_TO_PHRASE_GROUNDING@CAPTION --out seen
      arno annotate photos/ --task OD --model tiny --annotator detector:./detr --out seen
      arno annotate photos/ --task OD --annotator tesseract --annotator captioner:./blip --out seen
      arno annotate labels --no-florence --annotator python:mine:find --out more
    """
    found = _sources(sources, fps)
    console = SafeConsole(stderr=True, highlight=False)
    options = RunOptions(ShardFormat(form), shard_records, window, failures_max)
    with contextlib.ExitStack() as stack:
        annotators: list[Annotator] = []
        answerer_of: Callable[[Sequence[TaskRequest], str], Answerer] | None = None
        if not no_florence:
            tasks = TaskFlags(**flags).requests()
            options_of = GatewayOptions(in_flight_max=in_flight)
            answerer_of = stack.enter_context(
                _answerers(model, gateway, timeout_s, out, options_of, writes=region_texts)
            )
            annotators.append(TaskAnnotator(answerer_of(tasks, ""), tasks, name=name))
        annotators += [open_annotator(written) for written in others]
        if not annotators:
            problem = "none is left to annotate"
            raise InvalidFieldError(field="--annotator", problem=problem, limit=NAMED)
        if region_texts:
            if answerer_of is None:
                problem = "needs Florence-2: leave out --no-florence"
                raise InvalidFieldError(field="--region-texts", problem=problem)
            annotators.append(_region_texts(answerer_of((), "region texts")))
        on_progress = stack.enter_context(progress("annotating", "images"))
        sentence = f"what was found is kept in {out}, and the same command resumes the run"
        stack.enter_context(told_when_interrupted(sentence))
        counts = annotate(found, annotators, out, options, on_progress=on_progress)
    print_counts(counts, f"{out}")
    if counts["failures"]:
        console.print(f"failures: {out / FAILURES_FILE}")
    return EXIT_FAILURE if counts["failures"] else 0


def _region_texts(answerer: Answerer) -> Annotator:
    from arno.data_engine.annotators.region_texts import RegionTexts
    from arno.dataset.text_analysis import NounChunks

    return RegionTexts(answerer, NounChunks())


def _sources(names: Sequence[str], fps: float | None) -> Sources:
    if len(names) == 1 and is_data_set(Path(names[0])):
        return Sources(Dataset(Path(names[0])))
    return Sources(open_source(*names, fps=fps))


@contextlib.contextmanager
def _answerers(
    model: str | None,
    gateway: Connection,
    timeout_s: float,
    out: Path,
    options: GatewayOptions,
    *,
    writes: bool,
) -> Iterator[Callable[[Sequence[TaskRequest], str], Answerer]]:
    """Yield what makes an answerer of tasks and a purpose: each may be asked while another is.

    Raises:
        InvalidFieldError: It is to write texts of regions, and the model is a head.
        UnavailableError: No gateway is ready; one that goes away later is waited for.
    """
    if model is None:
        with gateway.client(timeout_s=timeout_s) as client:
            if not client.ready():
                where = f"no Arno gateway is ready at {gateway.address}"
                raise UnavailableError(
                    f"{where}: start one with `arno up`, or annotate in this process with --model"
                )
            yield lambda tasks, purpose: GatewayAnswerer(
                client,
                tasks,
                # Given again, the command meets the jobs that it left open; another question
                # does not.
                run_id=f"{out.absolute()} {purpose or tasks}",
                options=options,
            )
        return
    from arno.engine.in_process.florence import load

    with load(model) as florence:
        if writes and florence.categories:
            problem = "needs a Florence-2, and this model is a head, which writes no texts"
            raise InvalidFieldError(field="--region-texts", problem=problem, sent=model)
        yield lambda tasks, purpose: LocalAnswerer(florence, tasks)
