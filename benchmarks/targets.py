"""What was aimed at, and what came out: ratios within one result, or between two."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.tables import Result, busiest, figure

_PEERS: Final = ("static", "onnxruntime", "litserve", "mosec", "ray-serve")
_EXACT: Final = ("arno", "arno-compiled")
_OWN: Final = (
    *_EXACT,
    "arno-bfloat16",
    "arno-int8",
    "arno-int8-compiled",
    "arno-int8-compiled-384",
)
_ENCODERS: Final = ("encode, 1 images", "encode prompts, 1 requests")
_STEP: Final = "step, 4 requests x 3 beams"

Results = Mapping[str, Result]


@dataclass(frozen=True, slots=True)
class Target:
    """One aim.

    Attributes:
        text: What should hold.
        aim: As the page shows it.
        unit: Behind the figure that came out.
        measure: Finds that figure; raises KeyError where its results are missing.
        ceiling: Finds what no engine could exceed on that machine, where that can be said.
        claim: Its row in the README, shared by the sizes of the model; empty if it has none.
    """

    text: str
    aim: str
    unit: str
    measure: Callable[[Results], float]
    ceiling: Callable[[Results], float] | None = None
    claim: str = ""


def _throughput(results: Results, name: str, engine: str = "arno") -> float:
    return float(results[name]["engines"][engine]["throughput"])


def _best_over(
    name: str, modes: tuple[str, ...], others: tuple[str, ...]
) -> Callable[[Results], float]:
    """Compare the best of some modes with the best of others, of those that were measured."""

    def measure(results: Results) -> float:
        found = results[name]["engines"]
        best, best_other = (
            max(_throughput(results, name, each) for each in engines if each in found)
            for engines in (modes, others)
        )
        return best / best_other

    return measure


def _fastest(results: Results) -> float:
    """Compare Arno's quickest mode; results from before the suite of modes are in the mix."""
    name = "base-fastest" if "base-fastest" in results else "base-mix"
    return _best_over(name, _OWN, ("transformers",))(results)


def _ceiling(name: str, other: str, stages: str) -> Callable[[Results], float]:
    """Return the ratio of an engine that only multiplied: each image and prompt once, all cores."""

    def measure(results: Results) -> float:
        throughput, found = _throughput(results, name, other), results[stages]
        machine: Any = found["machine"]
        if machine["processor"] != results[name]["machine"]["processor"]:
            raise KeyError(f"{stages} is of another machine than {name}")
        share = found["threads"] / machine["core_count"]
        return float(1.0 / (throughput * sum(_floors_s(found)) * share))

    return measure


def _floors_s(stages: Result) -> list[float]:
    """Return the least time for the products of an image and for those of a prompt."""
    return [float(stages["stages"][stage]["floor_s"]) for stage in _ENCODERS]


def _shared_ceiling(model: str) -> Callable[[Results], float]:
    """Return the ratio of an engine that only multiplied: an image for three prompts, or each."""

    def measure(results: Results) -> float:
        image_s, prompt_s = _floors_s(results[f"{model}-stages"])
        return 3 * (image_s + prompt_s) / (image_s + 3 * prompt_s)

    return measure


def _shared_images(model: str) -> Callable[[Results], float]:
    def measure(results: Results) -> float:
        own = _throughput(results, f"{model}-three-images")
        return _throughput(results, f"{model}-three-tasks") / own

    return measure


def _step_ms(results: Results) -> float:
    return 1000.0 * float(results["base-stages"]["stages"][_STEP]["took_s"])


def _caption_p95(results: Results) -> float:
    def p95(name: str) -> float:
        by_task: Any = results[name]["engines"]["arno"]["latency_s_by_task"]
        return float(by_task["CAPTION"]["p95"])

    return p95("tiny-mix-open") / p95("tiny-caption-open")


def _start_ratio(results: Results) -> float:
    modes: Any = results["base-starts"]["modes"]
    return float(modes["float32, compiled"]["busy_s"] / modes["float32"]["busy_s"])


def _jobs_a_second(results: Results) -> float:
    return float(busiest(results["overhead"])["jobs_per_s"])


def _jobs_ceiling(results: Results) -> float:
    """Return what all cores carry, by the processor time of a job."""
    machine: Any = results["overhead"]["machine"]
    each_ms = sum(busiest(results["overhead"])["cpu_ms_per_job"].values())
    return float(machine["core_count"] * 1000 / each_ms)


_OVER_TRANSFORMERS: Final = "throughput over transformers, one request after another"
_OVER_PEERS: Final = "throughput over the best other server with static batches"
_THREE_TASKS: Final = "three tasks on one image, over three images"

TARGETS: Final = (
    Target("base, mix, same precision and tokens, over transformers one by one", ">= 2.3", "x",
           _best_over("base-mix", _EXACT, ("transformers",)),
           _ceiling("base-mix", "transformers", "base-stages"), _OVER_TRANSFORMERS),
    Target("base, mix, the fastest mode, over transformers' default", ">= 5", "x",
           _fastest,
           claim="the same in the fastest mode, which is inexact"),
    Target("base, mix, same precision, over static batches", ">= 2.5", "x",
           _best_over("base-mix", _EXACT, ("static",)),
           _ceiling("base-mix", "static", "base-stages"), _OVER_PEERS),
    Target("base, three tasks an image, over three images", ">= 2.2", "x",
           _shared_images("base"), _shared_ceiling("base"), _THREE_TASKS),
    Target("base, one decode step, 4 requests x 3 beams, float32", "<= 110", " ms", _step_ms),
    Target("base, processor time of a compiled start, over an uncompiled one", "<= 1.3", "x",
           _start_ratio, claim="processor time of a compiled start, over an uncompiled one"),
    Target("tiny, mix, over transformers one by one", ">= 8", "x",
           _best_over("tiny-mix", _EXACT, ("transformers",)),
           _ceiling("tiny-mix", "transformers", "tiny-stages"), _OVER_TRANSFORMERS),
    Target("tiny, mix, over the best peer", ">= 2.5", "x",
           _best_over("tiny-mix", _EXACT, _PEERS), claim=_OVER_PEERS),
    Target("tiny, three tasks an image, over three images", ">= 2.2", "x",
           _shared_images("tiny"), _shared_ceiling("tiny"), _THREE_TASKS),
    Target("tiny, p95 of captions within the mix, over captions alone", "<= 1.5", "x",
           _caption_p95),
    Target("no model, jobs a second of 100 kB through gateway, bus and store", ">= 1000", "",
           _jobs_a_second, _jobs_ceiling),
)  # fmt: skip


def target_rows(results: Results) -> Iterator[list[str]]:
    """Yield what was aimed at and what came out; a dash where it was not measured."""
    for target in TARGETS:
        shown = [_shown(target, measure, results) for measure in (target.measure, target.ceiling)]
        yield [target.text, target.aim, *shown]


def _shown(target: Target, measure: Callable[[Results], float] | None, results: Results) -> str:
    try:
        return f"{figure(measure(results))}{target.unit}" if measure is not None else "-"
    except (KeyError, ValueError):
        return "-"
