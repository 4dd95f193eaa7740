"""Heads on arno-tiny's vision encoder against the same heads on random weights, at equal budgets.

python -m benchmarks.heads --work FOLDER

Every run is one of `arno train --head`, and stays in the folder: a second call goes on where the
first was stopped. Runs whose figures are kept already are not done again, but with `--again`.
`--page` writes the table of docs/heads.md and its plot from what is kept.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import click
from arno.training.heads.run import train_head
from arno.training.trainer.log import LOG_FILE
from arno.training.trainer.process_group import ProcessGroup
from arno.training.trainer.settings import TrainSettings
from rich.console import Console

from benchmarks.kept_pages import write_block
from benchmarks.machine import describe

_ROOT: Final = Path(__file__).resolve().parent.parent
FIGURES: Final = _ROOT / "benchmarks" / "results" / "heads.json"
PLOT: Final = _ROOT / "docs" / "benchmarks" / "heads.png"
PAGE: Final = _ROOT / "docs" / "heads.md"
_SEEDS: Final = (0, 1, 2)
_STARTS: Final = ("arno-tiny", "random")
_MEASURES: Final = {
    "segmentation": {"miou": "mean IoU"},
    "detection": {"box_map": "box mAP", "mask_map": "mask mAP"},
}
_STOPPED: Final = 130
_COLOURS: Final = {"arno-tiny": "tab:blue", "random": "tab:orange"}


@dataclass(frozen=True, slots=True)
class Budget:
    """What every run of a head gets.

    Attributes:
        steps: Steps of the optimiser.
        batch: Images a step.
        measured_every: Steps between two measurements.
    """

    steps: int
    batch: int
    measured_every: int


_BUDGETS: Final = {
    "segmentation": Budget(steps=90, batch=8, measured_every=30),
    "detection": Budget(steps=48, batch=8, measured_every=16),
}
_TRAIN: Final = "world:seed=1,n=600,world=plain"
_HELD_OUT: Final = "world:seed=2,n=60,world=plain"


def _settings(head: str, start: str, seed: int, work: Path) -> TrainSettings:
    budget = _BUDGETS[head]
    samples = {"region_samples": 32} if head == "detection" else {}
    return TrainSettings.model_validate(
        {
            "head": head,
            "data": _TRAIN,
            "validation": _HELD_OUT,
            "out": work / f"{head}-{start}-{seed}",
            "seed": seed,
            "steps": budget.steps,
            "batch": budget.batch,
            "micro_batch": budget.batch,
            "checkpoint_steps": budget.measured_every,
            "schedule": "steps",
            "learning_rate": 1e-3,
            "weight_decay": 0.05,
            "head_width": 32,
            "vision_random": start == "random",
            "device": "cpu",
            "threads": 1,
            "loader_processes": 0,
            **samples,
        }
    )


def _run(head: str, start: str, seed: int, work: Path) -> dict[str, Any]:
    """Do a run, or what is missing of it, and return its curve."""
    settings = _settings(head, start, seed, work)
    started_s = time.process_time()
    if not train_head(settings, ProcessGroup(), Console(stderr=True, quiet=True)):
        raise SystemExit(_STOPPED)
    lines = [json.loads(line) for line in (settings.out / LOG_FILE).read_text().splitlines()]
    names = [*_MEASURES[head], *(f"{name}_50" for name in _MEASURES[head] if name != "miou")]
    curve = [
        {"step": line["step"], **{name: line[name] for name in names}}
        for line in lines
        if names[0] in line
    ]
    run = {
        "head": head,
        "start": start,
        "seed": seed,
        "processor_s": time.process_time() - started_s,
        "curve": curve,
    }
    click.echo(json.dumps(run))
    return run


def _ends(runs: Sequence[dict[str, Any]], head: str, start: str, name: str) -> dict[int, float]:
    """Return the last figure of each seed."""
    mine = (run for run in runs if (run["head"], run["start"]) == (head, start))
    return {run["seed"]: run["curve"][-1][name] for run in mine}


def _rows(runs: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "| head | figure | seed | arno-tiny's encoder | random encoder |"
    yield "| --- | --- | --- | --- | --- |"
    for head, measures in _MEASURES.items():
        for name, words in measures.items():
            ours, theirs = (_ends(runs, head, start, name) for start in _STARTS)
            pairs = [(ours[seed], theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())]
            for seed, (one, other) in enumerate(pairs):
                yield f"| {head} | {words} | {seed} | {one:.3f} | {other:.3f} |"
            if pairs:
                means = [fmean(column) for column in zip(*pairs, strict=True)]
                columns = " | ".join(f"**{mean:.3f}**" for mean in means)
                yield f"| {head} | {words} | mean of {len(pairs)} | {columns} |"


def _write_table(document: dict[str, Any]) -> None:
    budget = ", ".join(f"{one.steps} steps for {head}" for head, one in _BUDGETS.items())
    machine = document["machine"]
    text = (
        "Written by `python -m benchmarks.heads --page` from `benchmarks/results/heads.json`. "
        f"Scenes at 128 pixels (`{_TRAIN}`; held out: `{_HELD_OUT}`), {budget}, each of "
        f"{_BUDGETS['detection'].batch} images; pyramids of 32 channels, the whole network "
        "trained, learning rate 1e-3 that falls to a tenth after 67 % and 89 %. The two columns "
        f"differ in `--vision-random` alone. {machine['processor']}, one thread, on a machine "
        f"with other work (load average {machine['load_average'][0]}), which changes no figure "
        "but the time.\n\n![mAP and mean IoU by images](benchmarks/heads.png)\n\n"
    )
    write_block(PAGE, "figures", text + "\n".join(_rows(document["runs"])))


def _draw(runs: Sequence[dict[str, Any]]) -> None:
    from matplotlib.figure import Figure

    measured = {run["head"] for run in runs}
    panels = [
        (head, name) for head, named in _MEASURES.items() for name in named if head in measured
    ]
    figure = Figure(figsize=(4.2 * len(panels), 3.6), layout="constrained")
    for place, (head, name) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), place)
        for run in runs:
            if run["head"] == head:
                axes.plot(
                    [point["step"] * _BUDGETS[head].batch for point in run["curve"]],
                    [point[name] for point in run["curve"]],
                    "o-",
                    color=_COLOURS[run["start"]],
                    label=run["start"] if run["seed"] == _SEEDS[0] else None,
                )
        axes.set(title=head, xlabel="images learned from", ylabel=_MEASURES[head][name])
        axes.set_ylim(bottom=0)
        axes.legend()
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PLOT, dpi=100)


@click.command()
@click.option("--work", type=click.Path(path_type=Path), help="Folder of the runs.")
@click.option(
    "--head", "heads", type=click.Choice(list(_BUDGETS)), multiple=True, help="Only this one."
)
@click.option("--again", is_flag=True, help="Also do the runs whose figures are kept.")
@click.option("--page", is_flag=True, help="Write the table and the plot from the kept figures.")
def main(work: Path | None, heads: tuple[str, ...], again: bool, page: bool) -> None:
    """Do the runs, keep their figures, and write the table and the plot."""
    for head, seed, start in product(heads or tuple(_BUDGETS), _SEEDS, _STARTS):
        if work is not None and (again or not _is_kept(head, start, seed)):
            _keep(_run(head, start, seed, work))
    if page or work is not None:
        document = _kept()
        _write_table(document)
        _draw(document["runs"])


def _kept() -> dict[str, Any]:
    found: dict[str, Any] = {"runs": []}
    return json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else found


def _is_kept(head: str, start: str, seed: int) -> bool:
    """Whether the figures of a run of this budget are there."""
    last = _BUDGETS[head].steps
    return any(
        (run["head"], run["start"], run["seed"], run["curve"][-1]["step"])
        == (head, start, seed, last)
        for run in _kept()["runs"]
    )


def _keep(found: dict[str, Any]) -> None:
    """Put a run in its place among those that are kept."""

    def place(run: dict[str, Any]) -> tuple[int, int, int]:
        heads = list(_BUDGETS)
        return heads.index(run["head"]), run["seed"], _STARTS.index(run["start"])

    others = [run for run in _kept()["runs"] if place(run) != place(found)]
    runs = sorted([*others, found], key=place)
    document = {"machine": describe("cpu"), "runs": runs}
    FIGURES.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
