"""What `make bench` and `benchmarks/gpu` measure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from benchmarks.comparison import Plan
from benchmarks.stages import Sizes

_PEERS: Final = ("transformers", "static", "litserve", "mosec", "ray-serve", "arno")
_OWN: Final = ("transformers", "static", "arno")
_CONCURRENCIES: Final = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One result of a suite.

    Attributes:
        work: A comparison, or the sizes of a measurement of the stages.
        name: Of the result.
        model: Which.
        seconds: What it takes, roughly; a suite with a limit leaves it out if there is less.
        dtype: Overrides the command line's.
        wide: Size of static and of Arno's batches, likewise.
    """

    work: Plan | Sizes
    name: str
    model: str
    seconds: float = 60.0
    dtype: str = ""
    wide: int = 0


def _compared(plan: Plan, *, seconds: float = 60.0, dtype: str = "", wide: int = 0) -> Measurement:
    return Measurement(plan, plan.name, plan.model, seconds, dtype, wide)


def _cpu() -> tuple[Measurement, ...]:
    tiny = [
        Plan(f"tiny-{name}", "tiny", name, _PEERS if name == "mix" else _OWN, 48)
        for name in ("mix", "caption", "detection", "three-tasks", "three-images")
    ]
    swept = [
        Plan(
            f"tiny-concurrency-{at:02}",
            "tiny",
            "mix",
            ("static", "arno"),
            max(24, 2 * at),
            rounds=2,
            concurrency=at,
        )
        for at in _CONCURRENCIES
    ]
    open_loop = [
        Plan("tiny-mix-open", "tiny", "mix", _OWN, 60, rate=4.0, rounds=2),
        Plan("tiny-caption-open", "tiny", "caption", _OWN, 60, rate=4.0, rounds=2),
        Plan("tiny-video", "tiny", "video", _OWN, 120, rate=30.0, steady=True, rounds=2),
    ]
    base = [
        Plan("base-mix", "base", "mix", _OWN, 8, rounds=2, concurrency=8, seconds=400),
        Plan("base-three-tasks", "base", "three-tasks", ("arno",), 6, rounds=2, concurrency=6),
        Plan("base-three-images", "base", "three-images", ("arno",), 6, rounds=2, concurrency=6),
    ]
    return (
        Measurement(Sizes(), "tiny-stages", "tiny"),
        *(_compared(plan) for plan in (*tiny, *swept, *open_loop)),
        Measurement(Sizes(repeats=2, tokens=16), "base-stages", "base"),
        *(_compared(plan, seconds=600) for plan in base),
    )


def _gpu(model: str, big: str) -> tuple[Measurement, ...]:
    """Return what fits into one call of ten minutes, the most telling first."""
    half = "bfloat16"
    swept = [
        _compared(
            Plan(
                f"gpu-{model}-concurrency-{at:02}",
                model,
                "caption",
                ("arno",),
                16 + 8 * at,
                rounds=2,
                concurrency=at,
            ),
            seconds=25,
            dtype=half,
            wide=64,
        )
        for at in (1, 8, 32, 64)
    ]
    return (
        Measurement(Sizes(), f"gpu-{model}-stages", model, 40, half),
        Measurement(Sizes(requests=64), f"gpu-{model}-stages-64", model, 40, half),
        _compared(
            Plan(f"gpu-{model}-mix", model, "mix", _OWN, 64, rounds=2, concurrency=64),
            seconds=90,
            dtype=half,
            wide=64,
        ),
        _compared(
            Plan(f"gpu-{model}-mix-float32", model, "mix", _OWN, 24, rounds=1, concurrency=24),
            seconds=60,
            dtype="float32",
            wide=64,
        ),
        *swept,
        Measurement(Sizes(), f"gpu-{big}-stages", big, 50, half),
        _compared(
            Plan(
                f"gpu-{big}-caption",
                big,
                "caption",
                ("static", "arno"),
                128,
                rounds=2,
                concurrency=64,
            ),
            seconds=60,
            dtype=half,
            wide=64,
        ),
        _compared(
            Plan(
                f"gpu-{model}-caption-open", model, "caption", ("arno",), 400, rate=50.0, rounds=1
            ),
            seconds=30,
            dtype=half,
            wide=64,
        ),
        _compared(
            Plan(f"gpu-{model}-mix-open", model, "mix", ("arno",), 400, rate=50.0, rounds=1),
            seconds=30,
            dtype=half,
            wide=64,
        ),
    )


def _dry() -> tuple[Measurement, ...]:
    """Return one of each kind, as small as can be: to try the scripts out."""
    return (
        Measurement(Sizes(requests=2, tokens=8, repeats=1), "dry-stages", "dry", 5),
        Measurement(
            Sizes(requests=2, tokens=8, repeats=1), "dry-stages-half", "dry", 5, "bfloat16"
        ),
        _compared(Plan("dry-mix", "dry", "mix", _OWN, 8, 1, 4, length_factor=0.3), seconds=40),
        _compared(
            Plan("dry-open", "dry", "video", ("arno",), 30, 1, rate=30.0, steady=True), seconds=20
        ),
    )


SUITES: Final[Mapping[str, tuple[Measurement, ...]]] = MappingProxyType(
    {"cpu": _cpu(), "gpu": _gpu("base", "large"), "dry": _dry()}
)
"""`dry` runs through the same code on any machine in a minute."""
