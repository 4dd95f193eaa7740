"""Read LoRA adapters as peft writes them, for models of either layout, and merge them.

An adapter changes a weight W to W + scale * B A. `Adapter` keeps A and B apart, by native module,
so that an engine may also run several side by side on one model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from arno.engine.checkpoints.assembly import (
    HEAD,
    SHARED,
    layout_of_names,
    native_module,
    native_name,
    share,
)
from arno.engine.checkpoints.config import Layout
from arno.engine.checkpoints.folders import ADAPTER_CONFIG_FILE, read_json
from arno.engine.checkpoints.stored_weights import (
    ADAPTER_FILES,
    StoredTensor,
    read_stored_weights,
)
from arno.errors import ModelError

_PREFIX: Final = "base_model.model."
_FACTOR: Final = re.compile(r"(?P<module>.+)\.lora_(?P<which>[AB])(\.[^.]+)?\.weight")
_REFUSED: Final = {
    "use_dora": "weight-decomposed adapters (DoRA) cannot be merged here",
    "fan_in_fan_out": "Florence-2 has no layer with transposed weights",
    "use_qalora": "quantised adapters cannot be merged here",
    "alora_invocation_tokens": "adapters that wait for a token cannot be merged",
    "layer_replication": "adapters that repeat layers change the model's shape",
}


@dataclass(frozen=True, slots=True)
class LowRank:
    """The change of one weight, as two factors.

    Attributes:
        down: A, [rank, in] or, for a convolution, [rank, in, height, width].
        up: B, [out, rank] or [out, rank, 1, 1].
        scale: Factor of the product.
    """

    down: torch.Tensor
    up: torch.Tensor
    scale: float

    def product(self) -> torch.Tensor:
        """Return scale * B A, in float32, in the shape of the weight."""
        down, up = self.down.float(), self.up.float()
        flat = up.flatten(1) @ down.flatten(1)
        return (self.scale * flat).reshape(up.shape[0], *down.shape[1:])


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter, in native names.

    Attributes:
        folder: The folder it was read from.
        factors: Changes by the name of the weight.
        replaced: Weights that it holds whole, by name.
    """

    folder: Path
    factors: Mapping[str, LowRank]
    replaced: Mapping[str, torch.Tensor]


def read_adapter(folder: Path) -> Adapter:
    """Read an adapter's folder.

    Raises:
        ModelError: It is not a LoRA, cannot be merged, or names a part that Florence-2 lacks.
    """
    config = _read_config(folder)
    stored = read_stored_weights(folder, ADAPTER_FILES)
    translate = _translation(folder, stored)
    halves: dict[str, dict[str, StoredTensor]] = {}
    replaced: dict[str, torch.Tensor] = {}
    for name, tensor in stored.items():
        bare = name.removeprefix(_PREFIX)
        if found := _FACTOR.fullmatch(bare):
            weight = translate(f"{found['module']}.weight")
            halves.setdefault(weight, {})[found["which"]] = tensor
            continue
        kept = bare.replace(".base_layer.", ".").replace(".modules_to_save.default.", ".")
        replaced[translate(kept)] = tensor.read()
    factors = {weight: _low_rank(folder, weight, pair, config) for weight, pair in halves.items()}
    return Adapter(folder, factors, replaced)


def merge_adapter(adapter: Adapter, weights: dict[str, torch.Tensor], *, tied: bool) -> bool:
    """Merge an adapter into weights; return whether `lm_head` is still the embedding matrix.

    Raises:
        ModelError: The adapter does not fit the model.
    """
    replaced = dict(adapter.replaced)
    share(adapter.folder, replaced, tied=False)  # encoder and decoder share the embedding
    for name, tensor in replaced.items():
        weights[name] = _fitting(adapter, name, weights, tensor)
    for name, low_rank in adapter.factors.items():
        if name != HEAD and weights.get(name) is weights[SHARED]:
            raise ModelError(f"model: {adapter.folder} changes the embedding of words, {name}")
        # A change of `lm_head` leaves the embedding as it is, as it did in training.
        change = _fitting(adapter, name, weights, low_rank.product())
        weights[name] = weights[name].float() + change
    return tied and weights[HEAD] is weights[SHARED]


def _fitting(
    adapter: Adapter, name: str, weights: Mapping[str, torch.Tensor], tensor: torch.Tensor
) -> torch.Tensor:
    if name not in weights:
        raise ModelError(
            f"model: {adapter.folder} is for a model with {name}, which this one lacks"
        )
    if weights[name].shape != tensor.shape:
        raise ModelError(
            f"model: {adapter.folder} is for another model: {name} is {list(weights[name].shape)} "
            f"here and {list(tensor.shape)} there"
        )
    return tensor


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / ADAPTER_CONFIG_FILE
    config = read_json(path)
    if config.get("peft_type") != "LORA":
        raise ModelError(f"model: {path}: peft_type is {config.get('peft_type')!r}, not 'LORA'")
    for field, reason in _REFUSED.items():
        if config.get(field):
            raise ModelError(f"model: {path}: {field}: {reason}")
    for field in ("r", "lora_alpha"):
        if not isinstance(config.get(field), int | float) or config[field] <= 0:
            raise ModelError(
                f"model: {path}: {field} is {config.get(field)!r}, not a number above 0"
            )
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(patterns, dict) or not all(
        isinstance(alpha, int | float) for alpha in patterns.values()
    ):
        raise ModelError(f"model: {path}: alpha_pattern is {patterns!r}, not numbers by names")
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as fault:
            raise ModelError(
                f"model: {path}: alpha_pattern {pattern!r} is no pattern of names: {fault}"
            ) from fault
    return config


def _translation(folder: Path, stored: Mapping[str, StoredTensor]) -> Callable[[str], str]:
    bare = [name.removeprefix(_PREFIX) for name in stored]
    layout = layout_of_names(bare)
    if layout is None and any(name.startswith("lm_head.") for name in bare):
        layout = Layout.NATIVE

    def translate(name: str) -> str:
        found = native_name(name) if layout is Layout.OLDER else layout and name
        if not found:
            raise ModelError(f"model: {folder}: {name} is no part of Florence-2")
        return found

    return translate


def _low_rank(
    folder: Path, weight: str, pair: Mapping[str, StoredTensor], config: Mapping[str, Any]
) -> LowRank:
    if set(pair) != {"A", "B"}:
        raise ModelError(f"model: {folder} has half an adapter for {weight}")
    down, up = pair["A"].read(), pair["B"].read()
    fit = down.dim() >= 2 and up.shape == (len(up), len(down), *[1] * (down.dim() - 2))
    if not fit:
        raise ModelError(
            f"model: {folder}: the halves for {weight} do not fit: {list(down.shape)} and "
            f"{list(up.shape)}"
        )
    return LowRank(down, up, _scale(weight.removesuffix(".weight"), down.shape[0], config))


def _scale(module: str, rank: int, config: Mapping[str, Any]) -> float:
    alpha = float(config["lora_alpha"])
    for pattern, found in (config.get("alpha_pattern") or {}).items():
        # Patterns name modules in the layout that was trained, or ends of names, common to both.
        names = {pattern, native_module(pattern) or pattern}
        if any(re.fullmatch(rf"(.*\.)?{name}", module) for name in names):
            alpha = float(found)
            break
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
