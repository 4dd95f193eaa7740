"""Draw the plots of the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.tables import Result


def draw_plots(results: Sequence[Result], folder: Path) -> dict[str, str]:
    """Draw throughput by engine, and by concurrency where it was measured.

    Returns:
        Titles and file names.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, str] = {}
    compared = [r for r in results if r["kind"] == "comparison" and r["engines"]]
    for model in sorted({result["plan"]["model"] for result in compared}):
        title = f"{model}: throughput over the reference's"
        drawn[title] = _bars(
            [r for r in compared if r["plan"]["model"] == model],
            folder / f"{model}-ratios.png",
            title,
        )
    for result in results:
        if result["kind"] == "sweep":
            title = f"{result['name']}: throughput by requests at once"
            drawn[title] = _curves(result, folder / f"{result['name']}.png", title)
    return drawn


def reference(result: Result) -> float:
    """Return the throughput of the engine that the others are compared with."""
    first = next(name for name in result["plan"]["engines"] if name in result["engines"])
    return float(result["engines"][first]["throughput"])


def _bars(results: Sequence[Result], path: Path, title: str) -> str:
    from matplotlib import pyplot

    places = [
        (f"{result['name']}: {name}", found["throughput"] / reference(result))
        for result in results
        for name, found in result["engines"].items()
    ]
    pyplot.figure(figsize=(8, 0.8 + 0.32 * len(places)))
    pyplot.barh([place for place, _ in places][::-1], [value for _, value in places][::-1])
    pyplot.xlabel("answers/s over the reference's")
    return _save(pyplot, path, title)


def _curves(result: Result, path: Path, title: str) -> str:
    from matplotlib import pyplot

    pyplot.figure(figsize=(6, 4))
    for name in result["points"][0]["engines"]:
        points = [(p["concurrency"], p["engines"][name]["throughput"]) for p in result["points"]]
        pyplot.plot(*zip(*points, strict=True), marker="o", label=name)
    pyplot.xscale("log", base=2)
    pyplot.xlabel("requests at once")
    pyplot.ylabel("answers/s")
    pyplot.ylim(bottom=0)
    pyplot.legend()
    return _save(pyplot, path, title)


def _save(pyplot: Any, path: Path, title: str) -> str:
    pyplot.title(title)
    pyplot.tight_layout()
    pyplot.savefig(path, dpi=100, metadata={"Software": None})
    pyplot.close()
    return path.name
