"""`arno model`: look at a checkpoint, convert, check or compile it, or make a random one."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
from rich.markup import escape
from rich.table import Table

from arno.cli.main import EXIT_FAILURE
from arno.cli.terminal import SafeConsole, echo
from arno.engine.settings import EngineSettings
from arno.ops.help_sections import SectionedGroup

_SIZES: Final = ("tiny", "base", "large")
_FORMATS: Final = ("float32", "bfloat16", "float16")
_RANDOM: Final = "its weights are random: what it answers means nothing"


def _model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    command = click.option(
        "--download", is_flag=True, help="Fetch a hub id that is not in the local cache."
    )(command)
    command = click.option(
        "--base-model",
        default="",
        metavar="MODEL",
        help="What a LoRA folder adapts; if absent, the model that it was trained on.",
    )(command)
    return click.argument("model")(command)


@click.group("model", cls=SectionedGroup)
def verb() -> None:
    """Look at a checkpoint, convert, check or compile it, or make one with random weights.

    MODEL is a folder with a checkpoint (in the native layout or in that of the first releases) or
    with a LoRA adapter, a hub id, or tiny.

    \b
    Example:
      arno model inspect ./Florence-2-base-ft
      arno model verify ./my-adapter --base-model ./Florence-2-base-ft
    """
    # transformers remarks on every optional library that it would rather have.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


@verb.command("inspect")
@_model_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(model: str, base_model: str, download: bool, as_json: bool) -> int:
    """Say what a checkpoint is, and all that is wrong with it; exit 1 where anything is.

    Weights are not loaded, so values that are no numbers are found by `verify` alone.

    \b
    Example:
      arno model inspect ./Florence-2-large-ft --json
    """
    from arno.engine.checkpoints.folders import find_model_folders
    from arno.engine.checkpoints.inspection import inspect_model

    found = inspect_model(find_model_folders(model, base_model=base_model, download=download))
    facts = dataclasses.asdict(found)
    if as_json:
        echo(json.dumps(facts))
    else:
        _print_facts(facts)
    return EXIT_FAILURE if found.faults else 0


@verb.command("convert")
@_model_options
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to make; must be empty if it is there.",
)
@click.option(
    "--dtype",
    type=click.Choice(("stored", *_FORMATS)),
    default="stored",
    show_default=True,
    help="Number format to write.",
)
def convert(model: str, base_model: str, download: bool, out: Path, dtype: str) -> None:
    """Write a checkpoint in the native layout, adapters merged, as safetensors.

    \b
    Example:
      arno model convert ./older-Florence-2-base-ft --out ./Florence-2-base-ft
      arno model convert ./my-adapter --base-model ./Florence-2-base-ft --out ./merged
    """
    from arno.engine.checkpoints.write import convert_checkpoint

    settings = EngineSettings.model_validate(
        {"model": model, "base_model": base_model, "download": download}
    )
    card = convert_checkpoint(settings, out, dtype=dtype).card
    echo(f"wrote {out}: {card.dtype}, {card.position_count} positions")


def _dtype_option(*formats: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        "--dtype",
        type=click.Choice(("auto", *formats)),
        default="auto",
        show_default=True,
        help="Number format to compute in.",
    )


_image_side = click.option(
    "--image-side", default=0, metavar="PX", help="Side of images; if absent, the model's own."
)
_scaled_decoding = click.option(
    "--scaled-decoding", is_flag=True, help="Decode large JPEGs at a part of their size."
)
_compiled_folder = click.option(
    "--compiled-folder",
    default="",
    envvar="ARNO_COMPILED_FOLDER",
    metavar="DIR",
    help="Where `compile` keeps what it makes; if absent, ~/.cache/arno/compiled.",
)


@verb.command("compile")
@_model_options
@_dtype_option("float32", "bfloat16", "int8")
@_image_side
@click.option("--again", is_flag=True, help="Also where one is kept.")
@_compiled_folder
def compile_(
    model: str,
    base_model: str,
    download: bool,
    dtype: str,
    image_side: int,
    again: bool,
    compiled_folder: str,
) -> None:
    """Compile the costly parts of a model for this processor and keep them; starts then use them.

    They are the vision encoder and, of a small model, the decode step. It needs a C++ compiler, and
    takes minutes. What is made is compared with the plain parts. It is for this model, torch and
    processor only; another start runs uncompiled and says so.

    \b
    Example:
      arno model compile ./Florence-2-base-ft
      arno model compile ./Florence-2-base-ft --dtype int8     # the quickest, inexact
    """
    from arno.engine.checkpoints import load_checkpoint
    from arno.engine.compiled.packages import compile_and_keep, read_facts
    from arno.engine.compiled.packages import compiled_folder as folder_of
    from arno.engine.compiled.start import PARTS

    settings = _settings(
        model,
        base_model=base_model,
        download=download,
        device="cpu",
        dtype=dtype,
        image_side=image_side,
        compiled_folder=compiled_folder,
    )
    checkpoint = load_checkpoint(settings)
    folder = folder_of(checkpoint, settings)
    facts = None if again else read_facts(folder)
    if facts is None:
        facts = compile_and_keep(checkpoint, folder, PARTS)
        done = f"compiled in {facts.took_s:.0f} s"
    else:
        done = f"was compiled before, in {facts.took_s:.0f} s"
    deviation, size_mb = max(facts.deviations.values()), facts.size_bytes / 1e6
    echo(f"{model} {done}; differs by {deviation:.1e}; {size_mb:.0f} MB in {folder}")


@verb.command("verify")
@_model_options
@click.option("--device", default="auto", show_default=True, help="As of a worker.")
@_dtype_option(*_FORMATS, "int8")
@_image_side
@_scaled_decoding
@_compiled_folder
@click.option(
    "--allow-untrained",
    is_flag=True,
    help="Accept a model that answers with nothing but special tokens.",
)
@click.option(
    "--fingerprint", "expected", metavar="HEX", help="Fail unless the model has this fingerprint."
)
@click.option(
    "--record",
    is_flag=True,
    help="Store the answers beside the weights; later runs compare with them.",
)
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of images whose answers are compared with float32's at the model's own size.",
)
@click.option(
    "--agree",
    type=click.FloatRange(0, 1),
    default=0.9,
    show_default=True,
    help="Part of the answers of each task that has to agree.",
)
def verify(
    model: str,
    base_model: str,
    download: bool,
    device: str,
    dtype: str,
    image_side: int,
    scaled_decoding: bool,
    compiled_folder: str,
    allow_untrained: bool,
    expected: str | None,
    record: bool,
    images: Path | None,
    agree: float,
) -> int:
    """Load a model as a worker does, ask it the prompts of the start-up self-test, and judge.

    With --images, also compare the answers of a quicker mode (--dtype, --image-side,
    --scaled-decoding) with those of float32: the labels, the boxes, which have to overlap by 0.9,
    and the words of captions. A vision encoder that `compile` keeps for the mode is the one used.

    Exit 1 if the fingerprint is not the one given, if answers differ from the recorded ones, or if
    too few answers agree.

    \b
    Example:
      arno model verify ./Florence-2-base-ft --record
      arno model verify ./Florence-2-base-ft --device cuda --dtype bfloat16
      arno model verify ./Florence-2-base-ft --dtype int8 --images ./photos
    """
    from arno.engine import create_engine
    from arno.engine.checkpoints.folders import find_model_folders
    from arno.engine.self_test import check_answers, compare_golden, record_golden

    settings = _settings(
        model,
        base_model=base_model,
        download=download,
        device=device,
        dtype=dtype,
        image_side=image_side,
        scaled_decoding=scaled_decoding,
        compiled_folder=compiled_folder,
        allow_untrained=allow_untrained,
    )
    folder = find_model_folders(model, base_model=base_model, download=download).all[-1]
    engine = create_engine(settings)
    try:
        answers = check_answers(engine, allow_untrained=allow_untrained)
        card = engine.card
    finally:
        engine.close()
    compiled = ", compiled" * card.compiled
    echo(f"{card.name} {card.dtype}{compiled}, fingerprint {card.fingerprint}")
    table = Table("prompt", "beams", "answer", "end")
    for answer in answers:
        said = escape(answer.text) or "[red](nothing)[/]"
        table.add_row(answer.task, str(answer.num_beams), said, answer.finish_reason.lower())
    console = SafeConsole(highlight=False)
    console.print(table)
    if record:
        echo(f"recorded in {record_golden(folder, card, answers)}")
    differences = list(compare_golden(folder, card, answers))
    if expected and expected != card.fingerprint:
        differences.insert(0, f"its fingerprint is not {expected}")
    if images is not None:
        differences += _disagreements(settings, images, agree, console)
    for difference in differences:
        console.print(f"[red]{escape(difference)}[/]", soft_wrap=True)
    return EXIT_FAILURE if differences else 0


@verb.command("random")
@click.option("--size", type=click.Choice(_SIZES), default="base", show_default=True, help="Shape.")
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to make; must be empty if it is there.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the weights.")
@click.option(
    "--dtype",
    type=click.Choice(_FORMATS),
    default="float16",
    show_default=True,
    help="Number format to write.",
)
def random(size: str, out: Path, seed: int, dtype: str) -> None:
    """Write a checkpoint of real shape with random weights, for load tests and benchmarks.

    It is served with --allow-untrained only, and its fingerprint and its name in every result say
    that it is random.

    \b
    Example:
      arno model random --size base --out ./random-base
      arno up --model ./random-base      # with ARNO_ALLOW_UNTRAINED=true
    """
    import torch

    from arno.engine.checkpoints.folders import fingerprint
    from arno.engine.checkpoints.random_model import write_random_model

    write_random_model(out, size, seed=seed, dtype=getattr(torch, dtype))
    echo(f"wrote {out}: {size}, {dtype}, fingerprint {fingerprint(out)}")
    echo(_RANDOM)


def _settings(model: str, **given: object) -> EngineSettings:
    return EngineSettings.model_validate({"model": model, **given})


def _disagreements(
    settings: EngineSettings, folder: Path, agree: float, console: SafeConsole
) -> list[str]:
    """Print how far a mode agrees with float32 on a folder's images; return where it does not."""
    from arno.cli.infer import pictures_in
    from arno.engine.agreement import measure_agreement

    images = pictures_in(folder)
    if not images:
        raise click.UsageError(f"--images: there is no image in {folder}")
    found = measure_agreement(settings, images)
    table = Table("task", "answers", "agree", "boxes", "mean overlap")
    for each in found:
        boxes = (str(each.box_count), f"{each.overlap_mean:.3f}") if each.box_count else ("-", "-")
        table.add_row(each.task, str(each.answer_count), f"{each.share:.1%}", *boxes)
    console.print(table)
    return [
        f"{each.task}: {each.share:.1%} of the answers agree with float32, {agree:.1%} have to"
        for each in found
        if each.share < agree
    ]


def _print_facts(facts: dict[str, Any]) -> None:
    table = Table("what", show_header=False)
    table.add_column("found", overflow="fold")
    for name, value in facts.items():
        if name not in ("faults", "random_weights"):
            table.add_row(name.replace("_", " "), escape(_shown(value)))
    console = SafeConsole(highlight=False)
    console.print(table)
    if facts["random_weights"]:
        console.print(f"[yellow]{_RANDOM}[/]")
    for fault in facts["faults"]:
        console.print(f"[red]{escape(fault)}[/]", soft_wrap=True)
    if not facts["faults"]:
        console.print("[green]nothing is wrong with it[/] (`arno model verify` reads values, too)")


def _shown(value: object) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {count:,}" for name, count in value.items())
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
