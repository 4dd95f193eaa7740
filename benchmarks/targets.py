"""What was aimed at, and what came out: ratios within one result, or between two."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.tables import Result, figure

_PEERS: Final = ("static", "onnxruntime", "litserve", "mosec", "ray-serve")
_OWN: Final = ("arno", "arno-bfloat16", "arno-int8")
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
    """

    text: str
    aim: str
    unit: str
    measure: Callable[[Results], float]
    ceiling: Callable[[Results], float] | None = None


def _throughput(results: Results, name: str, engine: str = "arno") -> float:
    return float(results[name]["engines"][engine]["throughput"])


def _over(name: str, engine: str, other: str) -> Callable[[Results], float]:
    def measure(results: Results) -> float:
        return _throughput(results, name, engine) / _throughput(results, name, other)

    return measure


def _over_best_peer(name: str) -> Callable[[Results], float]:
    def measure(results: Results) -> float:
        found = results[name]["engines"]
        best = max(_throughput(results, name, peer) for peer in _PEERS if peer in found)
        return _throughput(results, name) / best

    return measure


def _fastest_over(name: str, other: str) -> Callable[[Results], float]:
    def measure(results: Results) -> float:
        found = results[name]["engines"]
        best = max(_throughput(results, name, mode) for mode in _OWN if mode in found)
        return best / _throughput(results, name, other)

    return measure


def _ceiling(name: str, other: str, stages: str) -> Callable[[Results], float]:
    """Return the ratio of an engine that only multiplied: each image and prompt once, all cores."""

    def measure(results: Results) -> float:
        found: Any = results[stages]
        floor_s = sum(found["stages"][stage]["floor_s"] for stage in _ENCODERS)
        share = found["threads"] / found["machine"]["core_count"]
        return float(1.0 / (_throughput(results, name, other) * floor_s * share))

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


TARGETS: Final = (
    Target("base, mix, same precision and tokens, over transformers one by one", ">= 3", "x",
           _over("base-mix", "arno", "transformers"),
           _ceiling("base-mix", "transformers", "base-stages")),
    Target("base, mix, same precision, over static batches", ">= 2.5", "x",
           _over("base-mix", "arno", "static"), _ceiling("base-mix", "static", "base-stages")),
    Target("base, mix, the fastest mode, over transformers' default", ">= 5", "x",
           _fastest_over("base-mix", "transformers")),
    Target("base, three tasks an image, over three images", ">= 2.2", "x", _shared_images("base")),
    Target("base, one decode step, 4 requests x 3 beams, float32", "<= 110", " ms", _step_ms),
    Target("tiny, mix, over transformers one by one", ">= 8", "x",
           _over("tiny-mix", "arno", "transformers"),
           _ceiling("tiny-mix", "transformers", "tiny-stages")),
    Target("tiny, mix, over the best peer", ">= 2.5", "x", _over_best_peer("tiny-mix")),
    Target("tiny, p95 of captions within the mix, over captions alone", "<= 1.5", "x",
           _caption_p95),
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
