"""The vision encoder and its projection as machine code, compiled ahead of time and kept.

Torch's compiler fuses what lies between the products, and lays the weights out for them. That takes
minutes, so it is done by `arno model compile`; a start uses what it finds. A package is for one
model, number format, image size, version of torch and processor, all of which its folder names.

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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from transformers import Florence2ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from arno.engine.checkpoints import Checkpoint
from arno.engine.int8 import INT8
from arno.engine.linear import lay_out_encoders
from arno.engine.settings import EngineSettings
from arno.errors import ModelError
from arno.ops.processor import read_processor

logger = logging.getLogger(__name__)

_PACKAGE: Final = "vision.pt2"
_FACTS: Final = "facts.json"
_FORMS: Final = "1"
"""Counts up where Arno compiles otherwise than before, so that older packages are not found."""

_DEVIATION_MAX: Final = {torch.float32: 1e-4, torch.bfloat16: 0.05}
"""Largest difference from the plain encoder that is kept, over the largest feature."""


@dataclass(frozen=True, slots=True)
class CompiledFacts:
    """What is known of a package.

    Attributes:
        model: Name of the model when it was compiled.
        took_s: Seconds that compiling took.
        deviation: Largest difference from the plain encoder, over the largest feature.
        size_bytes: Of the package.
    """

    model: str
    took_s: float
    deviation: float
    size_bytes: int


def compiled_folder(checkpoint: Checkpoint, settings: EngineSettings) -> Path:
    """Return the folder of the package for this model on this processor, there or not."""
    card = checkpoint.card
    processor = read_processor()
    name = (
        f"{card.fingerprint}-{card.dtype}-{card.image_size_px}px"
        f"-torch{torch.__version__}-{processor.digest}-{_FORMS}"
    )
    root = settings.compiled_folder or "~/.cache/arno/compiled"
    return Path(root).expanduser() / name


def read_facts(folder: Path) -> CompiledFacts | None:
    """Return what is known of a package; None where none is kept there."""
    try:
        facts = CompiledFacts(**json.loads((folder / _FACTS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return facts if (folder / _PACKAGE).is_file() else None


def lay_out_encoders_of(checkpoint: Checkpoint, settings: EngineSettings) -> tuple[int, ...]:
    """Give a model's encoders their form for the device, compiled where that is kept.

    Returns:
        The numbers of images that the vision encoder takes at once; none where any will do.

    Raises:
        ModelError: It was to be compiled, and cannot be.
    """
    compiled = use_compiled(checkpoint, settings)
    int8 = checkpoint.card.dtype == INT8
    lay_out_encoders(checkpoint.network, vision_int8=int8)
    # Of 8-bit products the scales are those of all rows, which must be of one image.
    return (1,) if compiled or int8 else ()


def use_compiled(checkpoint: Checkpoint, settings: EngineSettings) -> bool:
    """Put the kept package in the place of the vision encoder; return whether one was used.

    Without a package it compiles one if `vision_compile` is `on`, which takes minutes; if it is
    `auto`, it says how to make one.

    Raises:
        ModelError: It was to be compiled, and cannot be.
    """
    if settings.vision_compile == "off" or checkpoint.network.device.type != "cpu":
        return False
    if checkpoint.card.dtype not in ("float32", "bfloat16"):
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
    """Compile a model's vision encoder for one image, compare it, and keep it in a folder.

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
        try:
            _compile(checkpoint, made / _PACKAGE)
        except Exception as fault:
            raise ModelError(f"model: compiling failed: {_reason(fault)}") from fault
        facts = CompiledFacts(
            model=checkpoint.card.name,
            took_s=round(time.monotonic() - began_s, 1),
            deviation=_deviation(checkpoint, made),
            size_bytes=(made / _PACKAGE).stat().st_size,
        )
        (made / _FACTS).write_text(json.dumps(asdict(facts), indent=2) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)  # what lacked a part
        made.rename(folder)
    return facts


class CompiledTower(nn.Module):
    """A package in the place of a vision tower; its projection is part of it."""

    def __init__(self, package: Path) -> None:
        """Load a package.

        Raises:
            PermissionError: Another user than this one or root could have written it.
        """
        super().__init__()
        for path in (package, package.parent):
            _require_own(path)
        load: Any = torch._inductor.aoti_load_package
        self._run = load(str(package))

    def forward(self, pixel_values: torch.Tensor, **_: Any) -> BaseModelOutput:
        """Return [B, V, D] of [B, C=3, H, W]; each image by itself."""
        features = [self._run(image) for image in torch.split(pixel_values, 1)]
        return BaseModelOutput(last_hidden_state=torch.cat(features))


class _Encoder(nn.Module):
    def __init__(self, network: Florence2ForConditionalGeneration) -> None:
        super().__init__()
        untyped: Any = network.model
        self.tower, self.projector = untyped.vision_tower, untyped.multi_modal_projector

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.projector(self.tower(pixels).last_hidden_state)
        return features


def _compile(checkpoint: Checkpoint, package: Path) -> None:
    with torch.no_grad():
        program = torch.export.export(_Encoder(checkpoint.network), (_noise(checkpoint),))
        torch._inductor.aoti_compile_and_package(
            program,
            package_path=str(package),
            # Freezing makes the weights constants, laid out once for their products.
            inductor_configs={"freezing": True, "cpp.dynamic_threads": True},
        )


def _put_in_place(network: Florence2ForConditionalGeneration, folder: Path) -> None:
    tower = CompiledTower(folder / _PACKAGE)
    untyped: Any = network.model
    untyped.vision_tower, untyped.multi_modal_projector = tower, nn.Identity()


@torch.inference_mode()
def _deviation(checkpoint: Checkpoint, folder: Path) -> float:
    noise = _noise(checkpoint)
    plain: torch.Tensor = checkpoint.network.get_image_features(noise).pooler_output
    compiled: Any = CompiledTower(folder / _PACKAGE)(noise).last_hidden_state
    deviation = float((compiled - plain).abs().max() / plain.abs().max())
    if not deviation <= _DEVIATION_MAX[plain.dtype]:
        raise ModelError(
            f"model: the compiled vision encoder differs by {deviation:.1e} from the plain one, "
            f"allowed are {_DEVIATION_MAX[plain.dtype]:.0e}; it is not kept"
        )
    return deviation


def _noise(checkpoint: Checkpoint) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    side_px = checkpoint.recipe.side_px
    noise = torch.randn((1, 3, side_px, side_px), generator=generator)
    return noise.to(checkpoint.network.dtype)


def _require_own(path: Path) -> None:
    found = path.stat()
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{path} is machine code that another user can write; not run")


def _reason(fault: Exception) -> str:
    if "compiler" in type(fault).__name__.lower() or "No working C++ compiler" in str(fault):
        return "there is no C++ compiler (on Debian: apt-get install g++)"
    return " ".join(str(fault).split())[:300] or type(fault).__name__
