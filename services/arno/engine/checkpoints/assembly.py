"""Bring stored weights under the native classes' names and shapes, every one accounted for.

The tables of older names work on modules, so that they serve weights (`MODULE.weight`) and LoRA
adapters (`MODULE.lora_A.weight`) alike. A name that is in no table has no translation: nothing is
guessed.

Source of the names: the published safetensors files, and transformers'
`convert_florence2_original_pytorch_to_hf.py`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from arno.engine.checkpoints.config import Layout
from arno.engine.checkpoints.stored_weights import StoredTensor
from arno.errors import ModelError

_TOP_OF_NATIVE: Final = "model."
_TOPS_OF_OLDER: Final = ("vision_tower.", "language_model.", "image_p", "visual_temporal_embed.")


SHARED: Final = "model.language_model.shared.weight"
HEAD: Final = "lm_head.weight"
_EMBEDDINGS: Final = (
    SHARED,
    "model.language_model.encoder.embed_tokens.weight",
    "model.language_model.decoder.embed_tokens.weight",
)
"""Names of one matrix (a fourth is `lm_head`); a file may hold it under any or all of them."""

_PAD_ID: Final = 1
_LISTED_MAX: Final = 8

Shapes = Mapping[str, tuple[int, ...]]


def assemble(
    folder: Path,
    stored: Mapping[str, StoredTensor],
    expected: Shapes,
    *,
    tied: bool,
    grow_from: int | None = None,
) -> dict[str, torch.Tensor]:
    """Return every weight of the native model by name; memory-mapped tensors stay mapped.

    Args:
        folder: For messages.
        stored: The tensors of the files, in either layout.
        expected: Names and shapes of the native model.
        tied: Whether `lm_head` is the embedding matrix.
        grow_from: Rows of the stored embedding matrix, if the model needs more; None if it has
            enough.

    Raises:
        ModelError: Names are unknown or missing, or shapes differ from the configuration; all of
            them are listed.
    """
    named = _translate(folder, stored)
    read = {name: tensor for name, tensor in named.items() if name in expected}
    weights = {name: _read(entry) for name, entry in read.items()}
    share(folder, weights, tied=tied)
    if grow_from is not None:
        _grow_vocabulary(weights, expected, grow_from)
    problems = [
        *_listed("unknown", sorted(named[name].stored_name for name in set(named) - set(expected))),
        *_listed("missing", sorted(set(expected) - set(weights))),
        *_listed("of another shape", _misshapen(weights, expected)),
    ]
    if problems:
        raise ModelError(
            f"model: the weights of {folder} do not fit the model: {'; '.join(problems)}"
        )
    return weights


@dataclass(frozen=True, slots=True)
class _Named:
    """A stored tensor and its name in the file."""

    stored_name: str
    tensor: StoredTensor


def _translate(folder: Path, stored: Mapping[str, StoredTensor]) -> dict[str, _Named]:
    layout = layout_of_names(stored)
    if layout is None:
        some = ", ".join(sorted(stored)[:_LISTED_MAX])
        raise ModelError(f"model: {folder} holds weights of another kind of model: {some}")
    if layout is Layout.NATIVE:
        return {name: _Named(name, tensor) for name, tensor in stored.items()}
    found: dict[str, _Named] = {}
    for name, tensor in stored.items():
        if name == LOGITS_BIAS:
            _check_zero(tensor)
            continue
        # A name without a translation is in no model, so it will be listed as unknown.
        found[native_name(name) or f"?{name}"] = _Named(name, tensor)
    return found


def _read(named: _Named) -> torch.Tensor:
    tensor = named.tensor.read()
    return tensor.t() if named.stored_name == IMAGE_PROJECTION and tensor.dim() > 1 else tensor


def _check_zero(tensor: StoredTensor) -> None:
    if bool(tensor.read().any()):
        raise ModelError(
            f"model: {tensor.file}: {LOGITS_BIAS} is not zero; Florence-2 has no such bias"
        )


def share(folder: Path, weights: dict[str, torch.Tensor], *, tied: bool) -> None:
    """Copy the embedding matrix from any of its names to all of them.

    Raises:
        ModelError: It is stored under several names, with different values.
    """
    names = (*_EMBEDDINGS, HEAD) if tied else _EMBEDDINGS
    there = [name for name in names if name in weights]
    if not there:
        return
    first = weights[there[0]]
    for name in there[1:]:
        if weights[name].shape != first.shape or not torch.equal(weights[name], first):
            raise ModelError(
                f"model: {folder}: {name} and {there[0]} are one matrix in Florence-2, and differ "
                "here; it was saved or trained by something that took them apart"
            )
    weights.update(dict.fromkeys(names, first))


def _grow_vocabulary(weights: dict[str, torch.Tensor], expected: Shapes, stored_rows: int) -> None:
    """Add the rows that the configuration has and the file lacks, for the image's token.

    They are copies of padding's row: training makes padding less likely at every step, so no new
    token is ever likelier than one that is never written.
    """
    grown: dict[int, torch.Tensor] = {}  # one matrix stays one
    for name in (*_EMBEDDINGS, HEAD):
        matrix = weights.get(name)
        if matrix is None or matrix.dim() == 1 or matrix.shape[0] != stored_rows:
            continue  # a wrong shape, which `assemble` reports
        if id(matrix) not in grown:
            rows = matrix[_PAD_ID].expand(expected[name][0] - stored_rows, -1)
            grown[id(matrix)] = torch.cat([matrix, rows])
        weights[name] = grown[id(matrix)]


def _misshapen(weights: Mapping[str, torch.Tensor], expected: Shapes) -> list[str]:
    return [
        f"{name} {list(tensor.shape)} instead of {list(expected[name])}"
        for name, tensor in sorted(weights.items())
        if tuple(tensor.shape) != expected[name]
    ]


def _listed(what: str, names: Iterable[str]) -> list[str]:
    found = list(names)
    if not found:
        return []
    rest = f" and {len(found) - _LISTED_MAX} more" if len(found) > _LISTED_MAX else ""
    return [f"{what}: {', '.join(found[:_LISTED_MAX])}{rest}"]


def layout_of_names(names: Collection[str]) -> Layout | None:
    """Return the layout of the names of weights, or None if they fit neither."""
    if any(name.startswith(_TOP_OF_NATIVE) for name in names):
        return Layout.NATIVE
    if any(name.startswith(_TOPS_OF_OLDER) for name in names):
        return Layout.OLDER
    return None


IMAGE_PROJECTION: Final = "image_projection"
"""A bare matrix [in, out] in the older layout; natively a linear layer's weight [out, in]."""

LOGITS_BIAS: Final = "language_model.final_logits_bias"
"""Always zero in Florence-2, and absent from the native classes."""

_PROJECTOR: Final = "model.multi_modal_projector"
_PARAMETERS: Final = {
    IMAGE_PROJECTION: f"{_PROJECTOR}.image_projection.weight",
    "visual_temporal_embed.pos_idx_to_embed": (
        f"{_PROJECTOR}.visual_temporal_embed.pos_idx_to_embed"
    ),
}
_MODULES: Final = {
    "image_proj_norm": f"{_PROJECTOR}.image_proj_norm",
    "image_pos_embed.row_embeddings": f"{_PROJECTOR}.image_position_embed.row_embeddings",
    "image_pos_embed.column_embeddings": f"{_PROJECTOR}.image_position_embed.column_embeddings",
    "language_model.lm_head": "lm_head",
}
_CONVOLUTION: Final = re.compile(r"vision_tower\.convs\.(\d+)\.(proj|norm)")
_CONVOLUTION_PARTS: Final = {"proj": "conv", "norm": "norm"}
_BLOCK: Final = re.compile(r"vision_tower\.blocks\.(\d+)\.(\d+)\.(spatial|channel)_block\.(.+)")
_BLOCK_PARTS: Final = {
    "conv1.fn.dw": "conv1",
    "conv2.fn.dw": "conv2",
    "ffn.norm": "norm2",
    "ffn.fn.net.fc1": "ffn.fc1",
    "ffn.fn.net.fc2": "ffn.fc2",
}
_ATTENTIONS: Final = {"spatial": "window_attn", "channel": "channel_attn"}
_ATTENTION_PARTS: Final = {
    "norm": "norm1",
    "fn.qkv": "{attention}.qkv",
    "fn.proj": "{attention}.proj",
}
_LANGUAGE: Final = "language_model.model."


def native_name(older: str) -> str | None:
    """Return the native name of a weight of the older layout, or None without one."""
    if older in _PARAMETERS:
        return _PARAMETERS[older]
    module, _, parameter = older.rpartition(".")
    if parameter not in ("weight", "bias"):
        return None
    translated = native_module(module)
    return None if translated is None else f"{translated}.{parameter}"


def native_module(older: str) -> str | None:
    """Return the native name of a module of the older layout, or None without one."""
    if older in _MODULES:
        return _MODULES[older]
    if older.startswith(_LANGUAGE):
        # Both layouts use BART's own names; comparing all names later finds the unknown ones.
        return f"model.language_model.{older.removeprefix(_LANGUAGE)}"
    if found := _CONVOLUTION.fullmatch(older):
        stage, part = found.groups()
        return f"model.vision_tower.convs.{stage}.{_CONVOLUTION_PARTS[part]}"
    if found := _BLOCK.fullmatch(older):
        stage, block, kind, part = found.groups()
        translated = _block_part(kind, part)
        if translated:
            return f"model.vision_tower.blocks.{stage}.{block}.{kind}_block.{translated}"
    return None


def _block_part(kind: str, part: str) -> str | None:
    attention = _ATTENTIONS[kind]
    if part.startswith(f"{attention}."):
        found = _ATTENTION_PARTS.get(part.removeprefix(f"{attention}."))
        return found and found.format(attention=attention)
    return _BLOCK_PARTS.get(part)
