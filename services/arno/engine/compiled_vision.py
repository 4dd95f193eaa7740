"""The vision encoder and its projection as machine code, compiled ahead of time and kept.

Torch's compiler fuses what lies between the products, and lays the weights out for them. That takes
minutes, so it is done by `arno model compile`; a start uses what it finds. A package is for one
model, number format, image size, version of torch and processor, all of which its folder names.

Packages are machine code. They are looked for in a folder of this user's own, never beside a
checkpoint's weights: what comes from elsewhere is not run.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from transformers import Florence2ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from arno.engine.checkpoints import Checkpoint
from arno.engine.checkpoints.folders import SCALED
from arno.engine.int8 import INT8, Int8LinearToCompile
from arno.engine.interface import ModelCard
from arno.engine.linear import lay_out, lay_out_encoders
from arno.engine.settings import EngineSettings
from arno.errors import ModelError
from arno.ops.processor import read_processor

logger = logging.getLogger(__name__)

COMPILED_DTYPES: Final = ("float32", "bfloat16", INT8)
"""Number formats that are compiled on a CPU."""

_FACTS: Final = "facts.json"
_FORMS: Final = "2"
"""Counts up where Arno compiles otherwise than before, so that older packages are not found."""

_SMALL_SIDE_PX: Final = 256
_SMALL_GROUP: Final = 4
"""A small model's encoder is also compiled for this many images: arno-tiny's take 23.8 ms then, and
38 one after the other. A large one gains nothing, and would be compiled for twice as long."""

_DEVIATION_MAX: Final = {"float32": 1e-4, "bfloat16": 0.05, INT8: 0.1}
"""Largest difference from the plain encoder that is kept, over the largest feature; of 8-bit
products that from the encoder in float32."""


@dataclass(frozen=True, slots=True)
class CompiledFacts:
    """What is known of a package.

    Attributes:
        model: Name of the model when it was compiled.
        took_s: Seconds that compiling took.
        deviation: Largest difference from the plain encoder, over the largest feature.
        size_bytes: Of the packages.
        counts: Numbers of images that there is a package for, in rising order, 1 the first.
    """

    model: str
    took_s: float
    deviation: float
    size_bytes: int
    counts: tuple[int, ...]


def compiled_folder(checkpoint: Checkpoint, settings: EngineSettings) -> Path:
    """Return the folder of the package for this model on this processor, there or not."""
    card = checkpoint.card
    processor = read_processor()
    # How images are decoded does not concern the encoder.
    digest = card.fingerprint.replace(f"{SCALED}-", "")
    name = (
        f"{digest}-{card.dtype}-{card.image_size_px}px"
        f"-torch{torch.__version__}-{processor.digest}-{_FORMS}"
    )
    root = settings.compiled_folder or "~/.cache/arno/compiled"
    return Path(root).expanduser() / name


def read_facts(folder: Path) -> CompiledFacts | None:
    """Return what is known of the packages of a folder; None where one is missing."""
    try:
        facts = CompiledFacts(**json.loads((folder / _FACTS).read_text(encoding="utf-8")))
        there = [package_of(folder, count).is_file() for count in facts.counts]
    except (OSError, ValueError, TypeError):
        return None
    return facts if there and all(there) else None


def package_of(folder: Path, count: int) -> Path:
    """Return the package for a number of images."""
    return folder / f"vision-{count}.pt2"


def lay_out_encoders_of(checkpoint: Checkpoint, settings: EngineSettings) -> tuple[int, ...]:
    """Give a model's encoders their form for the device, compiled where that is kept.

    Returns:
        The numbers of images that the vision encoder takes at once; none where any will do.

    Raises:
        ModelError: It was to be compiled, and cannot be.
    """
    use_compiled(checkpoint, settings)
    int8 = checkpoint.card.dtype == INT8
    lay_out_encoders(checkpoint.network, vision_int8=int8)
    # Of 8-bit products the scales are those of all rows, which must be of one image.
    return (1,) if int8 else ()


def card_of(checkpoint: Checkpoint) -> ModelCard:
    """Return the card of a model whose encoders have their form."""
    untyped: Any = checkpoint.network.model
    return replace(checkpoint.card, compiled=isinstance(untyped.vision_tower, CompiledTower))


def use_compiled(checkpoint: Checkpoint, settings: EngineSettings) -> bool:
    """Put the kept package in the place of the vision encoder; return whether one was used.

    Without a package it compiles one if `vision_compile` is `on`, which takes minutes; if it is
    `auto`, it says how to make one.

    Raises:
        ModelError: It was to be compiled, and cannot be.
    """
    if settings.vision_compile == "off" or checkpoint.network.device.type != "cpu":
        return False
    if checkpoint.card.dtype not in COMPILED_DTYPES:
        if settings.vision_compile == "on":
            wanted = f"{', '.join(COMPILED_DTYPES[:-1])} or {COMPILED_DTYPES[-1]}"
            raise ModelError(f"vision_compile: on takes {wanted}, not {checkpoint.card.dtype}")
        return False
    folder = compiled_folder(checkpoint, settings)
    if read_facts(folder) is None:
        if settings.vision_compile != "on":
            logger.info(
                "the vision encoder runs uncompiled: for this model, torch and processor nothing "
                "is kept (`arno model compile`)",
                extra={"folder": str(folder)},
            )
            return False
        compile_and_keep(checkpoint, folder)
    try:
        _put_in_place(checkpoint.network, folder)
    except Exception:  # the loader raises various classes
        logger.warning("the vision encoder runs uncompiled: %s", folder, exc_info=True)
        return False
    logger.info("the vision encoder runs compiled", extra={"folder": str(folder)})
    return True


def compile_and_keep(checkpoint: Checkpoint, folder: Path) -> CompiledFacts:
    """Compile a model's vision encoder, compare it, and keep it in a folder.

    Raises:
        ModelError: There is no C++ compiler, compiling failed, or what it made computes something
            else.
    """
    logger.info("compiling the vision encoder, which takes minutes", extra={"folder": str(folder)})
    folder.parent.mkdir(parents=True, exist_ok=True)
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".compiling-") as name:
        made = Path(name) / folder.name
        made.mkdir(mode=0o700)
        counts = _counts(checkpoint)
        packages = {count: package_of(made, count) for count in counts}
        try:
            for count, package in packages.items():
                _compile(checkpoint, package, count)
        except Exception as fault:
            raise ModelError(f"model: compiling failed: {_reason(fault)}") from fault
        facts = CompiledFacts(
            model=checkpoint.card.name,
            took_s=round(time.monotonic() - began_s, 1),
            deviation=_deviation(checkpoint, packages),
            size_bytes=sum(package.stat().st_size for package in packages.values()),
            counts=counts,
        )
        (made / _FACTS).write_text(json.dumps(asdict(facts), indent=2) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)  # what lacked a part
        made.rename(folder)
    return facts


class CompiledTower(nn.Module):
    """Packages in the place of a vision tower; its projection is part of them."""

    def __init__(self, packages: Mapping[int, Path]) -> None:
        """Load packages.

        Args:
            packages: By the numbers of images that they take, 1 among them.

        Raises:
            PermissionError: Another user than this one or root could have written one.
        """
        super().__init__()
        load: Any = torch._inductor.aoti_load_package
        for package in packages.values():
            for path in (package, package.parent):
                _require_own(path)
        self._runs = {count: load(str(package)) for count, package in packages.items()}

    def forward(self, pixel_values: torch.Tensor, **_: Any) -> BaseModelOutput:
        """Return [B, V, D] of [B, C=3, H, W], as many images at once as there are packages for."""
        features, first = [], 0
        while first < len(pixel_values):
            left = len(pixel_values) - first
            count = max(each for each in self._runs if each <= left)
            features.append(self._runs[count](pixel_values[first : first + count].contiguous()))
            first += count
        return BaseModelOutput(last_hidden_state=torch.cat(features))


class _Encoder(nn.Module):
    def __init__(self, network: Florence2ForConditionalGeneration, *, int8: bool) -> None:
        super().__init__()
        untyped: Any = network.model
        self.tower, self.projector = untyped.vision_tower, untyped.multi_modal_projector
        if int8:
            self.tower = copy.deepcopy(self.tower)
            lay_out(self.tower, int8=Int8LinearToCompile)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.projector(self.tower(pixels).last_hidden_state)
        return features


def _counts(checkpoint: Checkpoint) -> tuple[int, ...]:
    """Return the numbers of images to compile for, in rising order."""
    small = checkpoint.recipe.side_px <= _SMALL_SIDE_PX
    # Of 8-bit products the scales are those of all rows, which must be of one image.
    group = _SMALL_GROUP if small and checkpoint.card.dtype != INT8 else 1
    return tuple(sorted({1, group}))


def _compile(checkpoint: Checkpoint, package: Path, count: int) -> None:
    encoder = _Encoder(checkpoint.network, int8=checkpoint.card.dtype == INT8)
    with torch.no_grad():
        program = torch.export.export(encoder, (_noise(checkpoint, count),))
        torch._inductor.aoti_compile_and_package(
            program,
            package_path=str(package),
            # Freezing makes the weights constants, laid out once for their products.
            inductor_configs={"freezing": True, "cpp.dynamic_threads": True},
        )


def _put_in_place(network: Florence2ForConditionalGeneration, folder: Path) -> None:
    facts = read_facts(folder)
    counts = facts.counts if facts is not None else ()
    tower = CompiledTower({count: package_of(folder, count) for count in counts})
    untyped: Any = network.model
    untyped.vision_tower, untyped.multi_modal_projector = tower, nn.Identity()


@torch.inference_mode()
def _deviation(checkpoint: Checkpoint, packages: Mapping[int, Path]) -> float:
    noise = _noise(checkpoint, sum(packages))  # so that each of them has its turn
    plain: torch.Tensor = checkpoint.network.get_image_features(noise).pooler_output
    compiled: Any = CompiledTower(packages)(noise).last_hidden_state
    deviation = float((compiled - plain).abs().max() / plain.abs().max())
    allowed = _DEVIATION_MAX[checkpoint.card.dtype]
    if not deviation <= allowed:
        raise ModelError(
            f"model: the compiled vision encoder differs by {deviation:.1e} from the plain one, "
            f"allowed are {allowed:.0e}; it is not kept"
        )
    return deviation


def _noise(checkpoint: Checkpoint, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    side_px = checkpoint.recipe.side_px
    noise = torch.randn((count, 3, side_px, side_px), generator=generator)
    return noise.to(checkpoint.network.dtype)


def _require_own(path: Path) -> None:
    found = path.stat()
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{path} is machine code that another user can write; not run")


def _reason(fault: Exception) -> str:
    if "compiler" in type(fault).__name__.lower() or "No working C++ compiler" in str(fault):
        return "there is no C++ compiler (on Debian: apt-get install g++)"
    return " ".join(str(fault).split())[:300] or type(fault).__name__
