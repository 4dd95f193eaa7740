"""Find the files that hold a checkpoint's weights, and read them one by one.

Safetensors files are mapped: a tensor costs no memory before it is used. The other kind of file is
a pickle, a small program; it is read by torch's restricted reader, which builds tensors and refuses
everything else.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open

from arno.engine.checkpoints.folders import read_json
from arno.errors import ModelError

_INDEX_SUFFIX: Final = ".index.json"
WEIGHT_FILES: Final = ("model.safetensors", "pytorch_model.bin")
ADAPTER_FILES: Final = ("adapter_model.safetensors", "adapter_model.bin")
"""File names of an adapter's weights, like those of a model's above: safetensors first."""

_WORDS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file.

    Attributes:
        file: The file that holds it.
        shape: Its sides.
        dtype: Its number format by name, such as `float16`.
        read: Returns the tensor, on the CPU.
    """

    file: Path
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], torch.Tensor]


def weight_files(folder: Path, names: tuple[str, ...] = WEIGHT_FILES) -> tuple[Path, ...]:
    """Return the files that hold a folder's weights, shards in order.

    Raises:
        ModelError: There are none, or the index names a missing file.
    """
    for name in names:
        if (folder / name).is_file():
            return (folder / name,)
        index = folder / f"{name}{_INDEX_SUFFIX}"
        if index.is_file():
            return tuple(sorted(set(_weight_map(index).values())))
    found = [path.name for suffix in ("safetensors", "bin") for path in folder.glob(f"*.{suffix}")]
    raise ModelError(
        f"model: {folder} has no weights: neither {' nor '.join(names)}, nor an index of shards"
        + (f"; it has {', '.join(sorted(found))}" if found else "")
    )


def read_stored_weights(
    folder: Path, names: tuple[str, ...] = WEIGHT_FILES
) -> dict[str, StoredTensor]:
    """Return every tensor of a folder's weights by name, without reading any.

    Raises:
        ModelError: There are none, a file is cut short or holds code, or the index of the shards
            does not name the tensors that they hold.
    """
    found: dict[str, StoredTensor] = {}
    for file in weight_files(folder, names):
        stored = _read_pickle(file) if file.suffix == ".bin" else _map_safetensors(file)
        for name, tensor in stored:
            if name in found:
                raise ModelError(f"model: {file}: {name} is in {found[name].file.name} already")
            found[name] = tensor
    for index in (folder / f"{name}{_INDEX_SUFFIX}" for name in names):
        if index.is_file() and not (folder / index.name.removesuffix(_INDEX_SUFFIX)).is_file():
            _check_index(index, found)
            break
    if not found:
        raise ModelError(f"model: the weights of {folder} hold nothing")
    return found


def _weight_map(index: Path) -> dict[str, Path]:
    entries = read_json(index).get("weight_map")
    if not isinstance(entries, dict) or not entries:
        raise ModelError(f"model: {index} has no weight_map")
    files: dict[str, Path] = {}
    for name, file in entries.items():
        if not isinstance(file, str) or Path(file).name != file:
            raise ModelError(f"model: {index}: {name} is in {file!r}, which is no file beside it")
        if not (index.parent / file).is_file():
            raise ModelError(f"model: {index} names {file}, which is not there")
        files[name] = index.parent / file
    return files


def _check_index(index: Path, found: Mapping[str, StoredTensor]) -> None:
    named = _weight_map(index)
    for name, file in named.items():
        if name not in found or found[name].file != file:
            raise ModelError(f"model: {index} says that {name} is in {file.name}, and it is not")
    stray = sorted(set(found) - set(named))
    if stray:
        raise ModelError(f"model: {index} does not know {stray[0]}, in {found[stray[0]].file.name}")


def _map_safetensors(file: Path) -> Iterator[tuple[str, StoredTensor]]:
    try:
        opened: Any = safe_open(file, framework="pt")
        for name in sorted(opened.keys()):
            view = opened.get_slice(name)
            yield (
                name,
                StoredTensor(
                    file=file,
                    shape=tuple(view.get_shape()),
                    dtype=_SAFETENSORS_DTYPES.get(view.get_dtype(), view.get_dtype()),
                    read=partial(opened.get_tensor, name),
                ),
            )
    except (SafetensorError, OSError) as fault:
        raise ModelError(f"model: {file} is cut short or no safetensors file: {fault}") from fault


_SAFETENSORS_DTYPES: Final = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
}


def _read_pickle(file: Path) -> Iterator[tuple[str, StoredTensor]]:
    for name, tensor in _unpickled(file).items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise ModelError(f"model: {file}: {name!r} is a {type(tensor).__name__}, not a tensor")
        yield (
            name,
            StoredTensor(
                file=file,
                shape=tuple(tensor.shape),
                dtype=str(tensor.dtype).removeprefix("torch."),
                read=tensor.detach,
            ),
        )


def _unpickled(file: Path) -> dict[Any, Any]:
    try:
        # Files written before torch 1.6 are not archives and cannot be mapped.
        archive = zipfile.is_zipfile(file)
        with warnings.catch_warnings():
            # What it cannot read raises an error as well.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            found = torch.load(file, map_location="cpu", weights_only=True, mmap=archive)
    except pickle.UnpicklingError as fault:
        raise ModelError(
            f"model: {file} holds something else than tensors, such as code, and is not read: "
            f"{_reason(fault)}"
        ) from fault
    except Exception as fault:  # torch raises nearly anything on bad files
        raise ModelError(f"model: {file} cannot be read: {_reason(fault)}") from fault
    if not isinstance(found, dict):
        raise ModelError(f"model: {file} holds a {type(found).__name__}, not tensors by name")
    return found


_REASON: Final = re.compile(
    r"(?:WeightsUnpickler error:|Trying to load)\s*(.+?)(?: Please use|$)", re.MULTILINE
)


def _reason(fault: Exception) -> str:
    # torch's message is a page of advice on how to run the code after all.
    text = str(fault)
    found = _REASON.search(text)
    line = (found[1] if found else text).strip().partition("\n")[0]
    return line[:_WORDS_MAX] or type(fault).__name__
