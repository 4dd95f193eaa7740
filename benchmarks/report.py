"""Write `docs/benchmarks.md` and its plots from the results alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.engines.registry import ENGINES
from benchmarks.schedule import LENGTH_RATIOS, WORKLOADS

NOISY_CORES = 0.2
"""Where others kept more of the machine busy than this, a figure is marked."""

Result = dict[str, Any]


def load_results(folder: Path) -> list[Result]:
    """Read all results, in the order of their names."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def figure(value: float) -> str:
    """Return a number with three digits that count."""
    if value >= 100:
        return f"{value:.0f}"
    return (
        f"{value:.{2 if value < 1 else 2 if value < 10 else 1}f}"
        if value >= 0.1
        else f"{value:.2g}"
    )


def milliseconds(value_s: float) -> str:
    """Return seconds as milliseconds."""
    return figure(value_s * 1000)


def comparison_rows(result: Result) -> list[list[str]]:
    """Return a row for every engine of a comparison, the reference's ratio being 1."""
    engines: Mapping[str, Any] = result["engines"]
    names = [name for name in result["plan"]["engines"] if name in engines]
    reference = engines[names[0]]["throughput"] if names else 1.0
    rows = []
    for name in names:
        found = engines[name]
        late = found["latency_s"]
        rows.append(
            [
                name + (" *" if found["others_cores"] > NOISY_CORES else ""),
                figure(found["throughput"]),
                f"{found['throughput'] / reference:.2f}",
                *(figure(late[part]) if late else "-" for part in ("p50", "p95", "p99")),
                f"{found['equal_count']} of {found['request_count']}",
                f"{found['rss_bytes'] / 2**30:.1f}",
                f"{found['others_cores']:.1f}",
            ]
        )
    return rows


def comparison(result: Result) -> str:
    """Return the section of a comparison."""
    plan, machine = result["plan"], result["machine"]
    arrivals = (
        f"arrivals at {plan['rate']:g}/s" + (", evenly" if plan["steady"] else ", Poisson")
        if plan["rate"]
        else f"saturation, {plan['concurrency']} at once"
    )
    rounds = max((len(e["throughputs"]) for e in result["engines"].values()), default=0)
    head = ["engine", "answers/s", "ratio", "p50 s", "p95 s", "p99 s", "equal", "RSS GiB", "others"]
    lines = [
        f"### {result['name']}",
        f"{plan['model']}, {result['serving']['dtype']}, {plan['num_beams']} beams; "
        f"{WORKLOADS[plan['workload']].description}; {arrivals}; {rounds} rounds of "
        f"{plan['requests']} requests, {result['mean_tokens']:.0f} tokens at most on average. "
        + where(machine),
        table(head, comparison_rows(result)),
    ]
    lines += [f"Skipped: {reason}" for reason in result["skipped"].values()]
    return "\n\n".join(lines)


def where(machine: Mapping[str, Any]) -> str:
    """Return on what, when and at which commit something was measured."""
    device = "" if machine["device"] == "cpu" else f"{machine['device']}; "
    load = machine["load_average"][0]
    return (
        f"{device}{machine['processor']}, {machine['core_count']} cores; commit "
        f"{machine['commit']}; load {load} at the start; {machine['measured_at'][:10]}."
    )


def stages(result: Result) -> str:
    """Return the section of a measurement of the stages."""
    reach = result["reach"]
    rows = []
    for name, found in result["stages"].items():
        rows.append(
            [
                name,
                milliseconds(found["took_s"]),
                milliseconds(found["floor_s"]) if "floor_s" in found else "-",
                f"{found['over_floor']:.1f}" if "over_floor" in found else "-",
                milliseconds(found["transformers_s"]) if "transformers_s" in found else "-",
                f"{found['transformers_s'] / found['took_s']:.1f}"
                if "transformers_s" in found
                else "-",
            ]
        )
    head = ["stage", "Arno ms", "floor ms", "over floor", "transformers ms", "ratio"]
    noisy = " **Noisy.**" if result["others_cores"] > NOISY_CORES else ""
    return "\n\n".join(
        [
            f"### {result['name']}",
            f"{result['model']}, {result['dtype']}. The machine reached "
            f"{reach['flops_per_s'] / 1e9:.0f} GFLOP/s in a product of square matrices and "
            f"{reach['bytes_per_s'] / 1e9:.1f} GB/s reading, in the same run; a floor is the "
            f"longer of the two. Others used {result['others_cores']:.1f} cores.{noisy} "
            + where(result["machine"]),
            table(head, rows),
        ]
    )


def _ratio(found: Mapping[str, float]) -> str:
    theirs_s = found.get("transformers_s")
    return "-" if theirs_s is None else f"{theirs_s / found['took_s']:.1f}"


def page(results: Sequence[Result], plots: Mapping[str, str]) -> str:
    """Return the whole page.

    Args:
        results: What was measured.
        plots: Title and path of every picture.
    """
    engines = [[kind.name, kind.description] for kind in ENGINES.values()]
    ratios = [[task, f"{ratio:g}"] for task, ratio in LENGTH_RATIOS.items()]
    parts = [_INTRODUCTION, table(["engine", "what it is"], engines), _LENGTHS,
             table(["task", "length over a caption's"], ratios)]  # fmt: skip
    found = [comparison(r) for r in results if r["kind"] == "comparison"]
    costs = [stages(r) for r in results if r["kind"] == "stages"]
    parts += ["## Engines compared", *(found or ["Nothing was measured yet."])]
    parts += [f"![{title}]({path})" for title, path in plots.items()]
    parts += ["## What a stage costs", *(costs or ["Nothing was measured yet."])]
    return "\n\n".join(parts) + "\n"


def draw_plots(results: Sequence[Result], folder: Path) -> dict[str, str]:
    """Draw throughput by engine, and by concurrency where a result was taken at several.

    Returns:
        Titles and file names.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, str] = {}
    compared = [r for r in results if r["kind"] == "comparison" and r["engines"]]
    for model in sorted({result["plan"]["model"] for result in compared}):
        of_model = [r for r in compared if r["plan"]["model"] == model]
        bars = [r for r in of_model if "concurrency-" not in r["name"]]
        curves = [r for r in of_model if "concurrency-" in r["name"]]
        if bars:
            pyplot.figure(figsize=(8, 0.8 + 0.32 * sum(len(r["engines"]) for r in bars)))
            places = [(f"{r['name']}: {name}", found["throughput"] / reference(r))
                      for r in bars for name, found in r["engines"].items()]  # fmt: skip
            pyplot.barh([place for place, _ in places][::-1], [v for _, v in places][::-1])
            pyplot.xlabel("answers/s over the reference's")
            title = f"{model}: throughput over the reference's"
            drawn[title] = _save(pyplot, folder / f"{model}-ratios.png", title)
        if curves:
            pyplot.figure(figsize=(6, 4))
            for name in curves[0]["engines"]:
                points = sorted((r["plan"]["concurrency"], r["engines"][name]["throughput"])
                                for r in curves if name in r["engines"])  # fmt: skip
                pyplot.plot(*zip(*points, strict=True), marker="o", label=name)
            pyplot.xscale("log", base=2)
            pyplot.xlabel("requests at once")
            pyplot.ylabel("answers/s")
            pyplot.legend()
            title = f"{model}: throughput by concurrency"
            drawn[title] = _save(pyplot, folder / f"{model}-concurrency.png", title)
    return drawn


def reference(result: Result) -> float:
    """Return the throughput of the engine that the others are compared with."""
    first = next(name for name in result["plan"]["engines"] if name in result["engines"])
    return float(result["engines"][first]["throughput"])


def _save(pyplot: Any, path: Path, title: str) -> str:
    pyplot.title(title)
    pyplot.tight_layout()
    pyplot.savefig(path, dpi=100, metadata={"Software": None})
    pyplot.close()
    return path.name


_INTRODUCTION = f"""# Benchmarks

This page is written by `python -m benchmarks report` from the JSON files in
[`benchmarks/results`](../benchmarks/results); nothing here is typed by hand. `make bench`
measures on this machine's CPU,
`benchmarks/gpu` on a GPU, both without network.

In every comparison all engines get the same checkpoint, options, image files and prompts in the
same run. They run in
processes of their own and in turn, interleaved, for several rounds, and each round has images
that no engine has seen.
The time of a request is from its image file to its token ids. The first engine of a table is the
reference: `ratio` is
throughput over its throughput (medians of the rounds), and `equal` counts answers whose token ids
are all the
reference's. `RSS` is the peak of an engine's processes together. `others` is how many cores
processes that have nothing to do with the run kept
busy meanwhile, at its worst: above {NOISY_CORES} the row has a star, and its figures are
**noisy**; ratios from such rows are hints. A busy machine
hurts whoever synchronises threads most often, which is transformers."""

_LENGTHS = """## How long the answers are

arno-tiny ends its answers itself; every request has a limit on top. The other sizes are
Florence-2's real shapes with
**random weights**, whose answers never end by themselves (the weights press the end's logit down,
for every engine
alike): an answer is as long as its request's limit, drawn for each request around 12 tokens for a
caption times the ratio below, a
quarter up and down. In a static batch every row gets its own limit through a logits processor.
Random weights take
exactly as long as trained ones, and say nothing about answers. The prompts of random models are
tokenised by bytes, so
that they are some 25 tokens longer than Florence-2's own."""
