"""The folder of a model's packages: how they are compiled, compared, kept, found and loaded.

Torch's compiler fuses what lies between the products, and lays the weights out for them. That takes
minutes, so it is done by `arno model compile`; a start uses what it finds. A folder is for one
model, number format, image size, version of torch and processor, all of which its name has.

Packages are machine code. They are looked for in a folder of this user's own, never beside a
checkpoint's weights: what comes from elsewhere is not run.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import torch
from torch import nn

from arno.engine.checkpoints import Checkpoint
from arno.engine.checkpoints.folders import SCALED
from arno.engine.compiled.native import NativePackage, keep_library
from arno.engine.settings import EngineSettings
from arno.errors import ModelError
from arno.ops.processor import read_processor

logger = logging.getLogger(__name__)

_FACTS: Final = "facts.json"
_FORMS: Final = "6"
"""Counts up where Arno compiles otherwise than before, so that older packages are not found."""

Packages: TypeAlias = Mapping[int, Path]
"""The files of a part, by the size that each is compiled for."""


class Part(Protocol):
    """What is compiled of a model.

    Attributes:
        name: Names its packages.
        title: Names it to people.
    """

    name: str
    title: str

    def sizes(self, checkpoint: Checkpoint) -> tuple[int, ...]:
        """Return the sizes to compile for, in rising order; the part says what they count."""

    def compile(self, checkpoint: Checkpoint, size: int, package: Path) -> None:
        """Write the package for a size."""

    def deviation(self, checkpoint: Checkpoint, packages: Packages) -> float:
        """Return the largest difference from the plain part, over the largest value."""

    def deviation_max(self, dtype: str) -> float:
        """Return the largest difference that is kept, of a model in this number format."""

    def put_in_place(self, network: Any, packages: Packages) -> None:
        """Load packages and put them in the place of the plain part, whose weights are freed."""


@dataclass(frozen=True, slots=True)
class CompiledFacts:
    """What is known of a folder.

    Attributes:
        model: Name of the model when it was compiled.
        took_s: Seconds that compiling took.
        size_bytes: Of the packages.
        deviations: By part, the largest difference from the plain one, over the largest value.
        sizes: By part, the sizes that there is a package for, in rising order.
    """

    model: str
    took_s: float
    size_bytes: int
    deviations: dict[str, float]
    sizes: dict[str, list[int]]


def compiled_folder(checkpoint: Checkpoint, settings: EngineSettings) -> Path:
    """Return the folder of the packages for this model on this processor, there or not."""
    card = checkpoint.card
    processor = read_processor()
    # How images are decoded does not concern what is compiled.
    digest = card.fingerprint.replace(f"{SCALED}-", "")
    name = (
        f"{digest}-{card.dtype}-{card.image_size_px}px"
        f"-torch{torch.__version__}-{processor.digest}-{_FORMS}"
    )
    root = settings.compiled_folder or "~/.cache/arno/compiled"
    return Path(root).expanduser() / name


def read_facts(folder: Path) -> CompiledFacts | None:
    """Return what is known of the packages of a folder; None where one is missing or cut short."""
    try:
        facts = CompiledFacts(**json.loads((folder / _FACTS).read_text(encoding="utf-8")))
        packages = [
            package
            for name, sizes in facts.sizes.items()
            for package in packages_of(folder, name, sizes).values()
        ]
        # A library that was cut short would end the process when it is loaded.
        there = facts.size_bytes == sum(package.stat().st_size for package in packages)
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return facts if there else None


def packages_of(folder: Path, name: str, sizes: Iterable[int]) -> dict[int, Path]:
    """Return the packages of a part, there or not."""
    return {size: folder / f"{name}-{size}.so" for size in sizes}


def compile_and_keep(checkpoint: Checkpoint, folder: Path, parts: Sequence[Part]) -> CompiledFacts:
    """Compile parts of a model, compare them with the plain ones, and keep them in a folder.

    Raises:
        ModelError: There is no C++ compiler, compiling failed, or what it made computes something
            else.
    """
    titles = " and ".join(f"the {part.title}" for part in parts)
    logger.info("compiling %s, which takes minutes", titles, extra={"folder": str(folder)})
    folder.parent.mkdir(parents=True, exist_ok=True)
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".compiling-") as scratch:
        made = Path(scratch) / folder.name
        made.mkdir(mode=0o700)
        sizes = {part.name: list(part.sizes(checkpoint)) for part in parts}
        for part in parts:
            for size, package in packages_of(made, part.name, sizes[part.name]).items():
                _compile(part, checkpoint, size, package)
        took_s = round(time.monotonic() - began_s, 1)
        facts = CompiledFacts(
            model=checkpoint.card.name,
            took_s=took_s,
            size_bytes=sum(package.stat().st_size for package in made.iterdir()),
            deviations={
                part.name: _compared(
                    part, checkpoint, packages_of(made, part.name, sizes[part.name])
                )
                for part in parts
            },
            sizes=sizes,
        )
        (made / _FACTS).write_text(json.dumps(asdict(facts), indent=2) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)  # what lacked a part
        made.rename(folder)
    return facts


def compile_module(
    module: nn.Module, arguments: tuple[Any, ...], package: Path, *, sizes: Any = None
) -> None:
    """Compile a module, and write the package.

    Args:
        module: It; its weights become constants, laid out once for their products.
        arguments: Arguments like those that it will get.
        package: Where to write.
        sizes: Which of their sizes differ from call to call, as `torch.export` takes it; None:
            none. With any, constants stay as they are.
    """
    archive = package.with_suffix(".pt2")
    program = export_module(module, arguments, sizes)
    with torch.no_grad():
        torch._inductor.aoti_compile_and_package(
            program,
            package_path=str(archive),
            inductor_configs={"freezing": sizes is None, "cpp.dynamic_threads": True},
        )
    keep_library(archive, package)
    archive.unlink()


def export_module(
    module: nn.Module, arguments: tuple[Any, ...], sizes: Any
) -> torch.export.ExportedProgram:
    """Return what a module does as a graph; arguments are those of `compile_module`."""
    symbols: Any = torch.fx.experimental._config
    # Else sizes that differ could not be 1.
    with torch.no_grad(), symbols.patch(backed_size_oblivious=True):
        return torch.export.export(
            module,
            arguments,
            dynamic_shapes=sizes,
            prefer_deferred_runtime_asserts_over_guards=sizes is not None,
        )


def load_packages(packages: Packages) -> dict[int, NativePackage]:
    """Load the packages of a part; return what each computes, by size.

    Raises:
        PermissionError: Another user than this one or root could have written one.
    """
    for package in packages.values():
        for path in (package, package.parent):
            _require_own(path)
    return {size: NativePackage(package) for size, package in packages.items()}


def _compile(part: Part, checkpoint: Checkpoint, size: int, package: Path) -> None:
    try:
        part.compile(checkpoint, size, package)
    except Exception as fault:
        raise ModelError(f"model: compiling failed: {_reason(fault)}") from fault


def _compared(part: Part, checkpoint: Checkpoint, packages: Packages) -> float:
    deviation = part.deviation(checkpoint, packages)
    allowed = part.deviation_max(checkpoint.card.dtype)
    if not deviation <= allowed:
        raise ModelError(
            f"model: the compiled {part.title} differs by {deviation:.1e} from the plain one, "
            f"allowed are {allowed:.0e}; it is not kept"
        )
    return deviation


def _require_own(path: Path) -> None:
    found = path.stat()
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{path} is machine code that another user can write; not run")


def _reason(fault: Exception) -> str:
    if "compiler" in type(fault).__name__.lower() or "No working C++ compiler" in str(fault):
        return "there is no C++ compiler (on Debian: apt-get install g++)"
    return " ".join(str(fault).split())[:300] or type(fault).__name__
