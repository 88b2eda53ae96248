"""The compiled core. This is the only module of the package that imports `engine._core`, the extension in C++.

All modules that compute import its classes and functions from here: programs, data sets, random numbers, products.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

try:
    from engine import _core
except ImportError as error:
    # The core's own message says what to do.
    if any(word in str(error) for word in ("ENGINE_ISA", "sub-interpreter")):
        raise
    msg = (
        f"the compiled part of engine, engine._core, can't be imported ({error}). Install mlp-engine again as "
        "it was installed, with pip's options `--force-reinstall --no-deps`: in a checkout of the sources `pip install "
        "--force-reinstall --no-deps .`, which needs a C++17 compiler and the headers of this Python"
    )
    raise ImportError(msg) from error

# The core resets its threads and locks in a forked child by itself; it only has to know of the fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_core.begin_fork, after_in_parent=_core.end_fork)

__version__ = _core.__version__
accumulate = _core.accumulate
activation_code = _core.activation_code
activation_gradient = _core.activation_gradient
ArrayFunction = _core.ArrayFunction
BatchCall = _core.BatchCall
CallTable = _core.CallTable
CompressedMatrix = _core.CompressedMatrix
ContextBlock = _core.ContextBlock
ContextValue = _core.ContextValue
Dataset = _core.Dataset
DeviceArray = _core.DeviceArray
FunctionSequence = _core.FunctionSequence
Lock = _core.Lock
NotFiniteError = _core.NotFiniteError
loss_code = _core.loss_code
OptimizerState = _core.OptimizerState
Program = _core.Program
RandomState = _core.RandomState
Run = _core.Run
StepCall = _core.StepCall
Totals = _core.Totals
WeightArray = _core.WeightArray
build_info = _core.build_info
compute_arrays_by = _core.compute_arrays_by
computed_within = _core.computed_within
device_array = _core.device_array
empty_on_device = _core.empty_on_device
first_nonfinite_row = _core.first_nonfinite_row
recordable = _core.recordable
get_device = _core.get_device
get_threads = _core.get_threads
held_together = _core.held_together
instances_within = _core.instances_within
matmul = _core.matmul
normal = _core.normal
orthogonal = _core.orthogonal
permutation = _core.permutation
read_arrays = _core.read_arrays
row_values = _core.row_values
set_threads = _core.set_threads
set_threads_here = _core.set_threads_here
side_by_side_on_device = _core.side_by_side_on_device
truncated_normal = _core.truncated_normal
uniform = _core.uniform
write_arrays = _core.write_arrays

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Rows: TypeAlias = NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.float64] | DeviceArray
Sums = tuple[float, int, list[float], list[NDArray[np.float64]]]
Operation = Mapping[str, Any]


@functools.cache
def _name_cuda_libraries() -> None:
    """Tells the core where packages for pip have put cuBLASLt, which computes large products on GPUs."""
    import importlib.util  # which nobody needs who uses no GPU

    package = importlib.util.find_spec("nvidia")  # a namespace: nothing is imported
    folders = (package.submodule_search_locations or ()) if package else ()
    names = ("cu13/lib/libcublasLt.so.13", "cublas/lib/libcublasLt.so.12")
    files = [os.path.join(folder, name) for name in names for folder in folders]  # noqa: PTH118
    _core.set_cuda_library_candidates(list(filter(os.path.isfile, files)))


def cuda_products() -> str:
    """Returns who computes large products of matrices on GPUs, as a sentence; empty where there is no GPU."""
    _name_cuda_libraries()
    return _core.cuda_products()


def set_device(name: str) -> None:
    """Makes programs that are built from now on programs of the device `name`.

    Raises:
        ValueError: if there is no such device.
    """
    if name != "cpu":
        _name_cuda_libraries()
    _core.set_device(name)


@contextmanager
def on_device(name: str | None) -> Iterator[None]:
    """Makes the programs that this thread builds in the `with` block programs of the device `name`, if it is given."""
    if name is None:
        yield
        return
    if name != "cpu":
        _name_cuda_libraries()
    former = _core.choose_for_thread(name)
    try:
        yield
    finally:
        _core.choose_for_thread(former)


def build(
    input_size: int | Sequence[int],
    operations: Sequence[Operation],
    arrays: Sequence[WeightArray],
    outputs: Sequence[tuple[int, int]] = (),
) -> Program:
    """Returns a new program.

    Args:
        input_size: numbers in one sample, or in one sample of each input.
        operations: what the program computes, in order; none at all computes the identity.
        arrays: the weights of each variable, which other programs may use as well.
        outputs: for each output the number of the operation that computes it, and its rows in one sample; default one
            output of one row, which the last operation computes.
    """
    operations = operations or [{"kind": "activation", "activation": "linear"}]
    return Program(input_size, operations, 1, arrays, outputs)


def new_arrays(values: Sequence[Float32], beside: Sequence[WeightArray] = ()) -> list[WeightArray]:
    """Returns new weight arrays that have one lock, which is that of the arrays `beside` if there are any."""
    arrays = list[WeightArray]()
    for value in values:
        arrays.append(WeightArray(value, next(iter((*beside, *arrays)), None)))
    return arrays


def read_weights(arrays: Sequence[WeightArray]) -> list[Float32]:
    """Returns read-only copies of weight arrays, taken at one moment."""
    copies = read_arrays(arrays)
    for copy in copies:
        copy.flags.writeable = False
    return copies
