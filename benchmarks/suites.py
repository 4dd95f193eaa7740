"""What `make bench` and `benchmarks/gpu` measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

from benchmarks.comparison import Plan
from benchmarks.overhead import Overhead
from benchmarks.precision import Precision
from benchmarks.soak import Soak
from benchmarks.stages import Sizes
from benchmarks.starts import Starts
from benchmarks.sweep import Sweep

_PEERS: Final = ("transformers", "static", "onnxruntime", "litserve", "mosec", "ray-serve")
_OWN: Final = ("transformers", "static", "arno")
_BATCHING: Final = ("static", "arno")
_EXACT: Final = ("arno", "arno-compiled")
_INEXACT: Final = ("arno-bfloat16", "arno-int8", "arno-int8-compiled")
_FASTEST: Final = (*_INEXACT, "arno-int8-compiled-384")

Work: TypeAlias = Plan | Sweep | Sizes | Precision | Soak | Starts | Overhead


@dataclass(frozen=True, slots=True)
class Measurement:
    """One result of a suite.

    Attributes:
        name: Of the result.
        model: Which.
        work: What is measured.
        seconds: What it takes, roughly; a suite with a limit leaves it out if there is less.
        dtype: Overrides the command line's.
        wide: Size of static and of Arno's batches, likewise.
    """

    name: str
    model: str
    work: Work
    seconds: float = 60.0
    dtype: str = ""
    wide: int = 0


def _compared(plan: Plan, *, seconds: float = 60.0, dtype: str = "", wide: int = 0) -> Measurement:
    return Measurement(plan.name, plan.model, plan, seconds, dtype, wide)


def _cpu() -> tuple[Measurement, ...]:
    """Return what takes half an hour on two cores; the seconds are those of such a machine."""
    video = Plan("tiny-video", "tiny", "video", _OWN, 120, 1, rate=30.0, steady=True)
    swept = Plan("tiny-concurrency", "tiny", "mix", _BATCHING, 0)
    images = Plan("base-three-images", "base", "three-images", ("arno",), 6, 1, concurrency=6)
    shared = Plan("base-three-tasks", "base", "three-tasks", ("arno",), 6, 1, concurrency=6)
    return (
        Measurement("tiny-stages", "tiny", Sizes(), 30),
        Measurement("tiny-precision", "tiny", Precision("tiny-precision"), 60),
        Measurement(
            "tiny-precision-int8", "tiny", Precision("tiny-precision-int8", dtype="int8"), 60
        ),
        _compared(Plan("tiny-mix", "tiny", "mix", (*_PEERS, *_EXACT), 96, 3), seconds=280),
        *(
            _compared(Plan(f"tiny-{name}", "tiny", name, _OWN, 96, 2), seconds=90)
            for name in ("caption", "detection", "three-tasks", "three-images")
        ),
        Measurement("tiny-concurrency", "tiny", Sweep(swept), 150),
        *(
            _compared(Plan(f"tiny-{name}-open", "tiny", name, _BATCHING, 60, 1, rate=4.0))
            for name in ("mix", "caption")
        ),
        _compared(video),
        Measurement("base-stages", "base", Sizes(repeats=1, tokens=16), 150),
        Measurement("base-stages-bfloat16", "base", Sizes(repeats=1, tokens=16), 100, "bfloat16"),
        _compared(
            Plan("base-mix", "base", "mix", (*_PEERS[:3], *_EXACT), 16, 1, concurrency=8),
            seconds=420,
        ),
        _compared(
            Plan("base-fastest", "base", "mix", ("transformers", *_FASTEST), 16, 1, concurrency=8),
            seconds=300,
        ),
        Measurement("base-starts", "base", Starts("base-starts"), 200),
        _compared(shared, seconds=60),
        _compared(images, seconds=90),
        Measurement("dry-soak", "dry", Soak(_soak("dry-soak", 20_000)), 180),
        Measurement("overhead", "", Overhead(seconds=8.0), 120),
    )


def _soak(name: str, requests: int) -> Plan:
    return Plan(name, "dry", "mix", ("arno",), requests, concurrency=64, length_factor=0.3)


def _gpu(model: str, big: str) -> tuple[Measurement, ...]:
    """Return what fits into one call of ten minutes, the most telling first."""
    half = "bfloat16"
    many = Plan(f"gpu-{model}-mix", model, "mix", _OWN, 64, 2, concurrency=64)
    exact = Plan(f"gpu-{model}-mix-float32", model, "mix", _OWN, 24, 1, concurrency=24)
    swept = Plan(f"gpu-{model}-concurrency", model, "caption", ("arno",), 0)
    large = Plan(f"gpu-{big}-caption", big, "caption", _BATCHING, 128, 2, concurrency=64)
    open_loop = (
        Plan(f"gpu-{model}-{name}-open", model, name, ("arno",), 400, 1, rate=50.0)
        for name in ("caption", "mix")
    )
    return (
        Measurement(f"gpu-{model}-stages", model, Sizes(), 40, half),
        Measurement(f"gpu-{model}-stages-64", model, Sizes(requests=64), 40, half),
        _compared(many, seconds=90, dtype=half, wide=64),
        Measurement(
            f"gpu-{model}-concurrency", model, Sweep(swept, (1, 8, 32, 64), 32), 90, half, 64
        ),
        _compared(exact, seconds=60, dtype="float32", wide=64),
        Measurement(f"gpu-{big}-stages", big, Sizes(), 50, half),
        _compared(large, seconds=60, dtype=half, wide=64),
        *(_compared(plan, seconds=30, dtype=half, wide=64) for plan in open_loop),
    )


def _dry() -> tuple[Measurement, ...]:
    """Return one of each kind, as small as can be: to try the scripts out."""
    small = Sizes(requests=2, tokens=8, repeats=1)
    mix = Plan(
        "dry-mix", "dry", "mix", (*_PEERS[:3], *_EXACT, *_INEXACT), 8, 1, 4, length_factor=0.3
    )
    video = Plan("dry-open", "dry", "video", ("arno",), 30, 1, rate=30.0, steady=True)
    swept = Plan("dry-concurrency", "dry", "caption", ("arno",), 0, length_factor=0.5)
    return (
        Measurement("dry-stages", "dry", small, 5),
        Measurement("dry-stages-bfloat16", "dry", small, 5, "bfloat16"),
        Measurement("dry-precision", "tiny", Precision("dry-precision", images=2), 10),
        _compared(mix, seconds=60),
        Measurement("dry-starts", "dry", Starts("dry-starts", rounds=1), 30),
        Measurement("dry-concurrency", "dry", Sweep(swept, (1, 4), 4), 20),
        _compared(video, seconds=20),
        Measurement("dry-soak-short", "dry", Soak(_soak("dry-soak-short", 64), parts=2), 20),
    )


SUITES: Final[Mapping[str, tuple[Measurement, ...]]] = MappingProxyType(
    {"cpu": _cpu(), "gpu": _gpu("base", "large"), "dry": _dry()}
)
"""`dry` runs through the same code on any machine in a few minutes."""
