"""The door to the compiled core: nothing else in the package imports `engine._core`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Turns that an idle thread of GCC's OpenMP spins before it sleeps: 0.1 ms, of its own accord 7 ms. Whatever wants the
# core after a run, NumPy say, would have to share it for so long. Read when the library is loaded, hence here.
_SPIN, _OTHER, _TURNS = "GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "4000"
_ours = _SPIN not in os.environ and _OTHER not in os.environ
if _ours:
    os.environ[_SPIN] = _TURNS
try:
    from engine import _core
except ImportError as error:
    if any(word in str(error) for word in ("ENGINE_ISA", "sub-interpreter")):  # the core has said what to do
        raise
    msg = (
        f"the compiled part of engine, engine._core, can't be imported ({error}). Install mlp-engine again as "
        "it was installed, with pip's options `--force-reinstall --no-deps`: in a checkout of the sources `pip install "
        "--force-reinstall --no-deps .`, which needs a C++17 compiler and the headers of this Python"
    )
    raise ImportError(msg) from error
finally:
    if _ours:
        del os.environ[_SPIN]

if hasattr(os, "register_at_fork"):  # the core itself begins anew in a child
    os.register_at_fork(before=_core.begin_fork, after_in_parent=_core.end_fork)

__version__ = _core.__version__
accumulate = _core.accumulate
CompressedMatrix = _core.CompressedMatrix
Dataset = _core.Dataset
NotFiniteError = _core.NotFiniteError
Program = _core.Program
Run = _core.Run
Totals = _core.Totals
build_info = _core.build_info
first_nonfinite_row = _core.first_nonfinite_row
get_threads = _core.get_threads
matmul = _core.matmul
normal = _core.normal
orthogonal = _core.orthogonal
permutation = _core.permutation
set_threads = _core.set_threads
truncated_normal = _core.truncated_normal
uniform = _core.uniform

Float32 = NDArray[np.float32]
Rows = NDArray[np.uint8] | NDArray[np.float32] | NDArray[np.float64]
Operation = Mapping[str, Any]
Loan = tuple[Program, int]  # a weight array of another program, by its number


def build(
    input_size: int, operations: Sequence[Operation], weights: Sequence[Float32 | Loan], output_rows: int = 1
) -> Program:
    """A Program of `operations` that holds or shares `weights` and whose outputs are so many rows."""
    loans = [weight if isinstance(weight, tuple) else None for weight in weights]
    operations = operations or [{"kind": "activation", "activation": "linear"}]
    program = Program(input_size, operations, output_rows, loans)
    for index, weight in enumerate(weights):
        if not isinstance(weight, tuple):
            program.write_variables([weight], index)
    return program


def read_weights(program: Program, first: int = 0, count: int | None = None) -> list[Float32]:
    """Variables `first` to `first + count`, or all, as they are at one moment, in arrays that refuse to be written to."""
    arrays = program.variables if count is None else program.read_variables(first, count)
    for array in arrays:
        array.flags.writeable = False
    return arrays
