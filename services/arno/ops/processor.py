"""The processor of this machine and the instructions that decide how fast it multiplies."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CPUINFO: Final = Path("/proc/cpuinfo")
_MODEL_FIELDS: Final = frozenset({"model name", "Processor"})
_FLAG_FIELDS: Final = frozenset({"flags", "Features"})  # of x86 and of ARM

_NAMES: Final = {
    "avx2": "AVX2",
    "avx_vnni": "AVX-VNNI",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "amx_bf16": "AMX BF16",
    "amx_int8": "AMX INT8",
    "asimd": "NEON",
    "sve": "SVE",
    "i8mm": "I8MM",
}
"""What is shown, by the kernel's name for it."""

_INT8: Final = frozenset({"avx_vnni", "avx512_vnni", "amx_int8"})


@dataclass(frozen=True, slots=True)
class Processor:
    """A processor, as the kernel describes it.

    Attributes:
        model: Its name, such as `AMD EPYC 7B13`.
        flags: All that it can do, by the kernel's names.
    """

    model: str
    flags: frozenset[str]

    @property
    def instructions(self) -> str:
        """Return the instructions for products that it has, such as `AVX2, AVX-VNNI`."""
        return ", ".join(shown for flag, shown in _NAMES.items() if flag in self.flags) or "none"

    @property
    def multiplies_int8(self) -> bool:
        """Return whether it has instructions for products of 8-bit numbers (VNNI or AMX)."""
        return not _INT8.isdisjoint(self.flags)

    @property
    def digest(self) -> str:
        """Return what tells code for this processor from code for another, 12 hex digits."""
        described = "\n".join((platform.machine(), self.model, *sorted(self.flags)))
        return hashlib.sha256(described.encode()).hexdigest()[:12]


def read_processor(cpuinfo: Path = _CPUINFO) -> Processor:
    """Return this machine's processor; without flags where the kernel does not describe it."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    model, flags = platform.machine(), frozenset[str]()
    for line in lines:
        name, _, value = (part.strip() for part in line.partition(":"))
        if name in _MODEL_FIELDS:
            model = value
        elif name in _FLAG_FIELDS:
            flags = frozenset(value.split())
            break  # the first one's; the others are alike
    return Processor(model, flags)
