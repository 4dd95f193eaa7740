"""A compiled package as a function that other threads need not wait for.

Torch's own loader holds Python's lock for as long as a package runs. In a worker that encodes an
image for seconds, the threads that poll the bus and speak to the store would stand still. A package
is a shared library with a C interface, and `ctypes` calls that without the lock.
"""

from __future__ import annotations

import ctypes
import shutil
import zipfile
from collections.abc import Iterable, Sequence
from ctypes import byref, c_char_p, c_size_t, c_void_p
from pathlib import Path
from typing import Any, Final

import torch

_PROXY: Final = ".wrapper.json"
"""Is in the archive where an operator has no C interface and needs torch's own loader."""


def keep_library(archive: Path, library: Path) -> None:
    """Take the shared library out of what AOTInductor wrote.

    Raises:
        RuntimeError: It would need more of torch than the C interface.
    """
    with zipfile.ZipFile(archive) as parts:
        names = parts.namelist()
        if any(name.endswith(_PROXY) for name in names):
            raise RuntimeError("an operator of it has no C interface")
        (name,) = (name for name in names if name.endswith(".so"))
        with parts.open(name) as source, library.open("wb") as target:
            shutil.copyfileobj(source, target)


class NativePackage:
    """A shared library that AOTInductor made. One call at a time runs, those of other threads wait.

    Sizes, strides and number formats of its arguments are not checked: they must be those that it
    was compiled for.
    """

    def __init__(self, library: Path) -> None:
        """Load a library, which stays in the process from then on.

        Raises:
            OSError: It is no library for this machine.
            RuntimeError: It cannot be set up.
        """
        self._name = library.name
        self._library = ctypes.CDLL(str(library))
        self._container = c_void_p()
        create = self._library.AOTInductorModelContainerCreateWithDevice
        self._require(create(byref(self._container), c_size_t(1), b"cpu", None))
        self._inputs = self._count(self._library.AOTInductorModelContainerGetNumInputs)
        self._outputs = self._count(self._library.AOTInductorModelContainerGetNumOutputs)

    def __call__(self, *arguments: torch.Tensor) -> list[torch.Tensor]:
        """Run it.

        Raises:
            RuntimeError: It failed.
            TypeError: It takes another number of arguments.
        """
        if len(arguments) != self._inputs:
            raise TypeError(f"{self._name} takes {self._inputs} tensors, not {len(arguments)}")
        given, made = _handles(arguments), (c_void_p * self._outputs)()
        self._require(
            self._library.AOTInductorModelContainerRun(
                self._container,
                given,  # which it frees
                c_size_t(self._inputs),
                made,
                c_size_t(self._outputs),
                None,
                None,
            )
        )
        return _tensors(made)

    def _count(self, function: Any) -> int:
        number = c_size_t()
        self._require(function(self._container, byref(number)))
        return number.value

    def _require(self, code: int) -> None:
        if code:
            words = c_char_p()
            self._library.AOTInductorGetLastError(byref(words))
            raise RuntimeError(f"{self._name}: {(words.value or b'it failed').decode()}")


_pointer_of: Any = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = c_void_p, [ctypes.py_object, c_char_p]
_capsule_of: Any = ctypes.pythonapi.PyCapsule_New
_capsule_of.restype, _capsule_of.argtypes = ctypes.py_object, [c_void_p, c_char_p, c_void_p]


def _handles(tensors: Sequence[torch.Tensor]) -> Any:
    """Return an array of new handles of tensors, for a call that frees them."""
    make: Any = torch._C._aoti.unsafe_alloc_void_ptrs_from_tensors
    capsules = make(tensors)
    return (c_void_p * len(capsules))(*(_pointer_of(capsule, None) for capsule in capsules))


def _tensors(handles: Iterable[int | None]) -> list[torch.Tensor]:
    """Return the tensors of handles, which it frees.

    Torch's function for a single handle does not free it, and so keeps the tensor for ever.
    """
    take: Any = torch._C._aoti.alloc_tensors_by_stealing_from_void_ptrs
    tensors: list[torch.Tensor] = take([_capsule_of(handle, None, None) for handle in handles])
    return tensors
