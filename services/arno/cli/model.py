"""`arno model`: look at a checkpoint, convert it, check it, or make one with random weights."""

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


@click.group("model")
def verb() -> None:
    """Look at a checkpoint, convert it, check it, or make one with random weights.

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


@verb.command("verify")
@_model_options
@click.option("--device", default="auto", show_default=True, help="As of a worker.")
@click.option(
    "--dtype",
    type=click.Choice(("auto", *_FORMATS)),
    default="auto",
    show_default=True,
    help="Number format to compute in.",
)
@click.option("--allow-untrained", is_flag=True, help="Accept answers that mean nothing.")
@click.option("--fingerprint", "expected", metavar="HEX", help="Fail unless it is this one.")
@click.option("--record", is_flag=True, help="Keep the answers beside the weights, to compare.")
def verify(
    model: str,
    base_model: str,
    download: bool,
    device: str,
    dtype: str,
    allow_untrained: bool,
    expected: str | None,
    record: bool,
) -> int:
    """Load a model as a worker does, ask it the prompts of the start-up self-test, and judge.

    Exit 1 where its fingerprint is another than asked for, or its answers are others than recorded.

    \b
    Example:
      arno model verify ./Florence-2-base-ft --record
      arno model verify ./Florence-2-base-ft --device cuda --dtype bfloat16
    """
    from arno.engine import create_engine
    from arno.engine.checkpoints.folders import find_model_folders
    from arno.engine.self_test import check_answers, compare_golden, record_golden

    settings = EngineSettings.model_validate(
        {
            "model": model,
            "base_model": base_model,
            "download": download,
            "device": device,
            "dtype": dtype,
        }
    )
    folder = find_model_folders(model, base_model=base_model, download=download).all[-1]
    engine = create_engine(settings)
    try:
        answers = check_answers(engine, allow_untrained=allow_untrained)
        card = engine.card
    finally:
        engine.close()
    echo(f"{card.name} {card.dtype}, fingerprint {card.fingerprint}")
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
