"""List the licence of every package that ships, and refuse those that may not.

Stands alone: `scripts/audit.py` writes the list beside the bill of materials, and a test holds the
packages of this environment against the rule.

The licence is what the package declares: its expression (PEP 639), else its classifiers, else the
first line of its licence field. What declares nothing, or a licence that binds programs which
merely use the package, fails.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from typing import Final

_UNDECLARED: Final = {
    "cuda-toolkit": "LicenseRef-NVIDIA-Proprietary",
    "faster-coco-eval": "Apache-2.0",
}
"""Packages whose metadata name no licence, and what their licence file says."""

_LONG_TEXTS: Final = {
    "cycler": "BSD-3-Clause",
    "kiwisolver": "BSD-3-Clause",
    "matplotlib": "LicenseRef-Matplotlib",
    "scipy": "BSD-3-Clause",
}
"""Packages whose licence field holds a whole text."""


class Kind(StrEnum):
    """What a licence asks of those who ship Arno."""

    PERMISSIVE = "permissive: keep the notice"
    FILES = "weak copyleft: publish changes of its own files"
    REDISTRIBUTABLE = "proprietary, redistributable: comes with torch's builds for CUDA"
    REFUSED = "refused"


_RULES: Final = (
    (Kind.REFUSED, r"AGPL|Affero|SSPL|BUSL|Business Source|Commons Clause|Non-?Commercial"),
    (Kind.FILES, r"LGPL|Lesser General Public|MPL|Mozilla"),
    (Kind.REFUSED, r"GPL|General Public"),
    (Kind.REDISTRIBUTABLE, r"NVIDIA"),
    (
        Kind.PERMISSIVE,
        r"MIT|BSD|Apache|PSF|Python Software Foundation|ISC|Zlib|CC0|BSL-1\.0|CNRI|HPND|Matplotlib",
    ),
)
"""The first that is found decides: ``LGPL`` holds ``GPL``."""


@dataclass(frozen=True, slots=True)
class Licence:
    """The licence of a package.

    Attributes:
        package: Its name.
        version: Its version.
        text: What it declares; empty where it declares nothing.
    """

    package: str
    version: str
    text: str

    @property
    def kind(self) -> Kind:
        """What it asks."""
        for kind, pattern in _RULES:
            if re.search(pattern, self.text, re.IGNORECASE):
                return kind
        return Kind.REFUSED


def licences(shipped: Mapping[str, str]) -> list[Licence]:
    """Return the licence of every installed package of a name-to-version mapping, by name."""
    return [Licence(name, version, _declared(name)) for name, version in sorted(shipped.items())]


def page(found: Iterable[Licence]) -> str:
    """Return the list as Markdown."""
    rows = [f"| {one.package} | {one.version} | {one.text} | {one.kind} |" for one in found]
    head = ["| package | version | licence | asks |", "| --- | --- | --- | --- |"]
    return "\n".join(["# Licences of what ships", "", *head, *rows]) + "\n"


def summary(found: Iterable[Licence]) -> str:
    """Return how many packages there are of each kind, in one line."""
    counts = Counter(one.kind for one in found)
    return ", ".join(f"{counts[kind]} {kind.partition(':')[0]}" for kind in Kind if counts[kind])


def refused(found: Iterable[Licence]) -> list[str]:
    """Return a sentence about each package that may not ship."""
    return [
        f"{one.package} {one.version}: {one.text or 'declares no licence'}"
        for one in found
        if one.kind is Kind.REFUSED
    ]


def _declared(name: str) -> str:
    known = _UNDECLARED.get(name) or _LONG_TEXTS.get(name)
    if known:
        return known
    about = metadata.metadata(name)
    expression = about.get("License-Expression")
    if expression:
        return str(expression)
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in about.get_all("Classifier") or ()
        if line.startswith("License :: ")
    ]
    if classifiers:
        return ", ".join(classifiers)
    lines = str(about.get("License") or "").strip().splitlines()
    return lines[0] if lines else ""
