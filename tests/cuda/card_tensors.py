"""Another library that owns memory of a GPU: what tests pass to the engine in place of tensors of PyTorch or CuPy.

The memory is that of the emulated card, whose functions the core exports for this, or that of a real one, by CUDA's own
runtime. Each tensor is filled by a stream of its own, so that it is complete only for those who wait for that.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from typing import Any

import numpy as np
import pytest

from engine import _core

_CUDA, _MANAGED = 2, 13
_NON_BLOCKING = 1
_ANY_DIRECTION = 4
_READ_ONLY = 1
_CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
_BFLOAT = 4


def _runtime() -> tuple[Any, str]:
    """Returns the library with CUDA's runtime, and what its functions' names begin with."""
    core = ctypes.CDLL(_core.__file__)
    if hasattr(core, "emulated_cudaMalloc"):
        return core, "emulated_"
    found = ctypes.util.find_library("cudart")
    if found is None:
        pytest.skip("CUDA's runtime is not installed, from which these tests allocate memory")
    return ctypes.CDLL(found), ""


def cuda(name: str, *arguments: Any) -> None:
    """Calls a function of CUDA's runtime."""
    library, prefix = _runtime()
    status = getattr(library, f"{prefix}{name}")(*arguments)
    assert status == 0, f"{name} returned {status}"


def emulated(name: str) -> Any:
    """Returns a function of the emulated card; skips the test on a real one."""
    library, prefix = _runtime()
    if not prefix:
        pytest.skip("this is about the emulated card")
    function = getattr(library, f"emulated_{name}")
    function.restype = ctypes.c_size_t
    return function


def memory_in_use() -> int:
    """Returns the bytes of the emulated card that are allocated."""
    in_use = emulated("memory_in_use")
    cuda("cudaDeviceSynchronize")  # streams may still have to free some
    return int(in_use())


class _Type(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("dtype", _Type),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    )


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", _Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype, _new_capsule.argtypes = (
    ctypes.py_object,
    (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p),
)

# What C points to lives as long as the tests.
_kept: list[Any] = []


class CardMemory:
    """Bytes of a GPU, which a stream of its own fills with those of an array."""

    def __init__(self, array: np.ndarray, device: int = 0) -> None:
        cuda("cudaSetDevice", device)
        self.pointer, self.stream = ctypes.c_void_p(), ctypes.c_void_p()
        cuda("cudaMalloc", ctypes.byref(self.pointer), ctypes.c_size_t(max(array.nbytes, 1)))
        cuda("cudaStreamCreateWithFlags", ctypes.byref(self.stream), _NON_BLOCKING)
        if array.nbytes:
            cuda(
                "cudaMemcpyAsync",
                self.pointer,
                ctypes.c_void_p(array.ctypes.data),
                ctypes.c_size_t(array.nbytes),
                _ANY_DIRECTION,
                self.stream,
            )
        cuda("cudaSetDevice", 0)

    def make_wait(self, stream: int) -> None:
        """Makes another stream wait until the memory is filled."""
        event = ctypes.c_void_p()
        cuda("cudaEventCreateWithFlags", ctypes.byref(event), 2)
        cuda("cudaEventRecord", event, self.stream)
        cuda("cudaStreamWaitEvent", ctypes.c_void_p(stream), event, 0)
        cuda("cudaEventDestroy", event)

    def __del__(self) -> None:
        cuda("cudaStreamDestroy", self.stream)
        cuda("cudaFree", self.pointer)


class CardTensor:
    """A tensor with the DLPack protocol.

    Args:
        array: its numbers, which may be a view of another array; all of that goes to the GPU.
        device: the number of the GPU.
        bfloat16: whether the numbers, of uint16, are those of bfloat16.
        versioned: whether it knows version 1 of DLPack.
        read_only: whether it says so.
        wrong: fields of the struct of DLPack and their values, in place of the right ones.
    """

    def __init__(
        self,
        array: np.ndarray,
        device: int = 0,
        *,
        bfloat16: bool = False,
        versioned: bool = True,
        read_only: bool = False,
        **wrong: Any,
    ) -> None:
        whole = array
        while isinstance(whole.base, np.ndarray):
            whole = whole.base
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self.given, self.device = array, device
        self.offset = array.ctypes.data - whole.ctypes.data if array.size else 0
        self.memory: CardMemory | None = CardMemory(whole, device)
        self.address = self.memory.pointer.value or 0
        self.bfloat16, self.versioned, self.read_only, self.wrong = bfloat16, versioned, read_only, wrong
        self.streams: list[Any] = []
        self.exports = 0
        self._deleted: list[None] = []

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def deletions(self) -> int:
        """How often a deleter was called."""
        return len(self._deleted)

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CUDA, self.device

    def __dlpack__(self, **options: Any) -> Any:
        if not self.versioned and "max_version" in options:
            msg = "unexpected keyword argument 'max_version'"
            raise TypeError(msg)
        self.streams.append(options["stream"])
        assert self.memory is not None
        self.memory.make_wait(options["stream"])
        return self.capsule()

    def capsule(self) -> Any:
        """Returns the tensor in a capsule."""
        managed: Any = (_Versioned if self.versioned else _Managed)()
        item = self.dtype.itemsize
        shape = (ctypes.c_int64 * max(self.ndim, 1))(*self.shape)
        strides = (ctypes.c_int64 * max(self.ndim, 1))(*(each // item for each in self.given.strides))
        tensor = managed.tensor
        tensor.data, tensor.byte_offset = self.address, self.offset
        tensor.device_type, tensor.device_id, tensor.ndim = _CUDA, self.device, self.ndim
        code = _BFLOAT if self.bfloat16 else _CODES[self.dtype.kind]
        tensor.dtype = _Type(code, 8 * item, 1)
        tensor.shape, tensor.strides = ctypes.addressof(shape), ctypes.addressof(strides)
        if self.given.flags.c_contiguous:
            tensor.strides = None
        memory, deleted = self.memory, self._deleted  # not `self`, since C keeps the function

        def delete(_: int) -> None:
            nonlocal memory
            deleted.append(None)
            memory = None

        managed.deleter = _Deleter(delete)
        if self.versioned:
            managed.major, managed.minor = 1, 0
            managed.flags = _READ_ONLY if self.read_only else 0
        for name, given in self.wrong.items():
            value = given
            holder = (
                managed if hasattr(managed, name) else tensor.dtype if hasattr(tensor.dtype, name) else tensor
            )
            if name in {"shape", "strides"} and given is not None:
                _kept.append((ctypes.c_int64 * len(given))(*given))
                value = ctypes.addressof(_kept[-1])
            setattr(holder, name, value)
        _kept.append((managed, shape, strides, managed.deleter))
        self.exports += 1
        name = b"dltensor_versioned" if self.versioned else b"dltensor"
        return _new_capsule(ctypes.addressof(managed), name, None)


class CardInterface:
    """A tensor with the CUDA array interface.

    Args:
        array: as for `CardTensor`.
        device: the number of the GPU.
        entries: those of the interface in place of the right ones; None for `stream` leaves it out.
    """

    def __init__(self, array: np.ndarray, device: int = 0, **entries: Any) -> None:
        whole = array
        while isinstance(whole.base, np.ndarray):
            whole = whole.base
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self.memory = CardMemory(whole, device)
        offset = array.ctypes.data - whole.ctypes.data
        self.interface = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": ((self.memory.pointer.value or 0) + offset, False),
            "version": 3,
            "strides": None if array.flags.c_contiguous else array.strides,
            "stream": self.memory.stream.value,
            **entries,
        }
        if entries.get("stream", ...) is None:
            del self.interface["stream"]

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.interface


def bits_of_bfloat16(array: np.ndarray) -> np.ndarray:
    """Returns numbers of bfloat16, in uint16, which have so few digits that they are exact."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    assert not (bits & 0xFFFF).any()
    return (bits >> 16).astype(np.uint16)
