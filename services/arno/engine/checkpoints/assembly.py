"""Bring stored weights under the native classes' names and shapes, every one accounted for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from arno.engine.checkpoints.layout import Layout, layout_of_names
from arno.engine.checkpoints.older_names import IMAGE_PROJECTION, LOGITS_BIAS, native_name
from arno.engine.checkpoints.stored_weights import StoredTensor
from arno.errors import ModelError

SHARED: Final = "model.language_model.shared.weight"
HEAD: Final = "lm_head.weight"
_EMBEDDINGS: Final = (
    SHARED,
    "model.language_model.encoder.embed_tokens.weight",
    "model.language_model.decoder.embed_tokens.weight",
)
"""One matrix under three names, and with `lm_head` four; a file may hold any of them, or all."""

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
    """Return every weight of the native model by its name; mapped ones stay mapped.

    Args:
        folder: For messages.
        stored: What the files hold, in either layout.
        expected: Names and shapes of the native model.
        tied: Whether `lm_head` is the embedding matrix.
        grow_from: Rows of the stored embedding matrix, where the model is to get more; None where
            it has what it needs.

    Raises:
        ModelError: A name is unknown, one is missing, or a shape is not the configuration's; all of
            them are listed.
    """
    named = _translate(folder, stored)
    read = {name: tensor for name, tensor in named.items() if name in expected}
    weights = {name: _read(entry) for name, entry in read.items()}
    share(folder, weights, tied=tied)
    if grow_from is not None:
        _grow_vocabulary(weights, expected, grow_from)
    faults = [
        *_listed("unknown", sorted(named[name].stored_name for name in set(named) - set(expected))),
        *_listed("missing", sorted(set(expected) - set(weights))),
        *_listed("of another shape", _misshapen(weights, expected)),
    ]
    if faults:
        raise ModelError(
            f"model: the weights of {folder} do not fit the model: {'; '.join(faults)}"
        )
    return weights


@dataclass(frozen=True, slots=True)
class _Named:
    """A stored tensor, and under which name it was found."""

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
        # An untranslated name is in no model, and so is listed as unknown.
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
    """Put the embedding matrix, where it is there under any of its names, under all of them.

    Raises:
        ModelError: It is there under several, and differs.
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
    """Add rows for the image's token, up to a length that a GPU likes.

    They are copies of padding's row: the token that training pushes down at every step, so that no
    new one is ever likelier than a token that is never written.
    """
    grown: dict[int, torch.Tensor] = {}  # one matrix stays one
    for name in (*_EMBEDDINGS, HEAD):
        matrix = weights.get(name)
        if matrix is None or matrix.dim() == 1 or matrix.shape[0] != stored_rows:
            continue  # a wrong shape, which is told of later
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
