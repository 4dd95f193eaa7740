"""Write `docs/benchmarks.md` from the results alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from benchmarks import tables
from benchmarks.engines.registry import ENGINES
from benchmarks.readme import HELD_OUT
from benchmarks.schedule import LENGTH_RATIOS
from benchmarks.tables import NOISY_CORES, Result, table
from benchmarks.targets import target_rows

_KINDS: Final[Mapping[str, tuple[str, Callable[[Result], str]]]] = MappingProxyType(
    {
        "comparison": ("Engines compared", tables.comparison),
        "sweep": ("By requests at once", tables.sweep),
        "stages": ("What a stage costs", tables.stages),
        "precision": ("What quicker number formats change", tables.precision),
        "starts": ("What a start costs", tables.starts),
        "soak": ("Memory over many requests", tables.soak),
        "overhead": ("What all the rest costs", tables.overhead),
        "hostile": ("Two tenants, one hostile", tables.hostile),
    }
)
"""The chapters of the page, in their order."""


def load_results(folder: Path) -> list[Result]:
    """Read the results of this page, in the order of their names; others have their own pages."""
    found = (json.loads(path.read_text()) for path in sorted(folder.glob("*.json")))
    return [result for result in found if result.get("kind") in _KINDS]


def page(results: Sequence[Result], plots: Mapping[str, str]) -> str:
    """Return the whole page.

    Args:
        results: What was measured.
        plots: Title and path of every picture.
    """
    engines = [[kind.name, kind.description] for kind in ENGINES.values()]
    ratios = [[task, f"{ratio:g}"] for task, ratio in LENGTH_RATIOS.items()]
    aims = target_rows({result["name"]: result for result in results})
    parts = [
        _INTRODUCTION,
        table(["engine", "what it is"], engines),
        _AIMS,
        table(["what", "aim", "measured", "ceiling"], aims),
        _MODEL,
        table(["scenes", "figure", "measured", "aim"], _model_rows()),
        _LENGTHS,
        table(["task", "length over a caption's"], ratios),
    ]
    for kind, (title, write) in _KINDS.items():
        found = [write(result) for result in results if result["kind"] == kind]
        parts += [f"## {title}", *(found or ["Nothing was measured yet."])]
        if kind == "sweep":
            parts += [f"![{title}]({path})" for title, path in plots.items()]
    return "\n\n".join(parts) + "\n"


def _model_rows() -> list[list[str]]:
    """Return how good arno-tiny is, from the file that its measurement wrote."""
    figures = json.loads(HELD_OUT.read_text())["figures"]
    return [
        [each["scenes"], each["figure"].replace("_50", "@0.5"), f"{each['value']:.3f}", _aim(each)]
        for each in figures
    ]


def _aim(figure: Mapping[str, float | None]) -> str:
    if figure["aim"] is None:
        return ""
    return f"{'<=' if figure['at_most'] else '>='} {figure['aim']:g}"


_INTRODUCTION = f"""# Benchmarks

This page is written by `python -m benchmarks report` from the JSON files in
[`benchmarks/results`](../benchmarks/results); nothing here is typed by hand. `make bench` measures
on this machine's CPU, `benchmarks/gpu` on a GPU, both without network.

In every comparison all engines get the same checkpoint, options, image files and prompts in the
same run. They run in processes of their own and in turn, interleaved, for several rounds, and each
round has images that no engine has seen. The time of a request is from its image file to its token
ids. The first engine of a table is the reference: `ratio` is throughput over its throughput
(medians of the rounds), and `equal` counts answers whose token ids are all the reference's. `RSS`
is the peak of an engine's processes together, `CPU s` their processor time for each answer, which
other processes disturb least (results without it are older than the column). `others` is how many
cores processes that have nothing to do with the run kept busy meanwhile, at its worst: above
{NOISY_CORES} the row has a star, and its figures are **noisy**; ratios from such rows are hints. A
busy machine hurts whoever synchronises threads most often, which is transformers.

Random weights find all tokens about equally likely, so that the last bits of a sum decide: their
answers are seldom `equal` in bfloat16, and not always in float32, where batches sum in another
order (also those of transformers: see `static`). arno-tiny's are what `equal` is there for; what
bfloat16 and int8 change in them has a chapter of its own.

vLLM and TensorRT-LLM are not among the peers: their packages need a GPU. TensorRT-LLM searches
with beams for BART, the text half of Florence-2, and has no Florence-2; vLLM's plugin for
Florence-2 (`vllm-bart-plugin`) has no beam search, which all of this is about."""

_AIMS = """## What was aimed at

Ratios within one run, on the machine that the sections below name. They are
CPUs; what was measured on a GPU is on [a page of its own](gpu.md).

The ceiling is the ratio of an engine that did nothing but the products of the two encoders, each
image and each prompt once, at the rate that this machine reaches with all its cores: it prepares
no image and decodes no token. Where an aim is above it, the machine is too slow at multiplying, or
the reference too quick, for any engine. It is left out where the rate is that of another machine.
For three tasks an image it is that engine's own ratio; for jobs without a model it is what the
processor time of a job allows."""

_MODEL = """## How good the bundled model is

Written by `python -m models.arno_tiny measure tiny`: 1,000 scenes like those of training, and 1,000
with backgrounds and clutter of families that were held out of it. A phantom is an object that is
reported where there is none; an absent phrase names what is not in the picture. How good its scores
are is on [a page of its own](scores.md#how-good-they-are)."""

_LENGTHS = """## How long the answers are

arno-tiny ends its answers itself; every request has a limit on top. The other sizes are
Florence-2's real shapes with **random weights**, whose answers never end by themselves (the
weights press the end's logit down, for every engine alike): an answer is as long as its request's
limit, drawn for each request around 12 tokens for a caption times the ratio below, a quarter up
and down. In a static batch every row gets its own limit through a logits processor. Random weights
take exactly as long as trained ones, and say nothing about answers. The prompts of random models
are tokenised by bytes, so that they are some 25 tokens longer than Florence-2's own."""
