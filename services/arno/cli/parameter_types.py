"""Types of command line parameters that click does not have: finite numbers, sizes in bytes."""

from __future__ import annotations

import math
import re
from typing import Any, Final

import click

_SIZE: Final = re.compile(r"(\d+)\s*(|B|[KMG]iB|[kKMG]B)")
_FACTORS: Final = {
    "": 1,
    "B": 1,
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMG", start=1)},
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMG", start=1)},
    "kB": 1000,
}


class FiniteRange(click.FloatRange):
    """A `click.FloatRange` that refuses nan and inf: no time, rate or age is either."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


class Bytes(click.ParamType[int]):
    """A number of bytes above 0, with or without a unit: 268435456, 256MiB."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes."""
        if isinstance(value, int):
            return value
        found = _SIZE.fullmatch(value.strip())
        size = int(found[1]) * _FACTORS[found[2]] if found else 0
        if size < 1:
            self.fail(f"{value!r} is no size above 0, such as 268435456 or 256MiB", param, ctx)
        return size


BYTES: Final = Bytes()
