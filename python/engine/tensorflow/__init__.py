"""The names of TensorFlow 2 for scripts about dense networks: `import engine.tensorflow as tf`.

`tf.keras` is `engine` itself. The other names are those functions and classes of TensorFlow that such scripts use, with its
arguments and rules, computed by `engine.ops` and the core. Tensors are arrays of NumPy with a method `numpy()`. A name that is
left out raises an AttributeError that says what to write instead. Nothing else in the package imports this folder.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np

import engine as keras
from engine import initializers, losses, metrics, optimizers
from engine import tree as nest
from engine._gradients.tape import UnconnectedGradients
from engine.tensorflow import (
    config,
    data,
    debugging,
    distribute,
    errors,
    io,
    linalg,
    math,
    nn,
    random,
    saved_model,
    strings,
    summary,
    train,
)
from engine.tensorflow._arrays import (
    argsort,
    boolean_mask,
    broadcast_dynamic_shape,
    broadcast_static_shape,
    broadcast_to,
    cast,
    clip_by_global_norm,
    clip_by_norm,
    clip_by_value,
    concat,
    cond,
    convert_to_tensor,
    custom_gradient,
    ensure_shape,
    expand_dims,
    fill,
    foldl,
    foldr,
    gather,
    gather_nd,
    identity,
    is_tensor,
    linspace,
    map_fn,
    meshgrid,
    no_effect,
    numpy_function,
    one_hot,
    ones,
    ones_like,
    pad,
    py_function,
    range,  # TensorFlow's name, as of all others here
    rank,
    repeat,
    reshape,
    reverse,
    roll,
    saturate_cast,
    scan,
    scatter_nd,
    searchsorted,
    sequence_mask,
    shape,
    size,
    slice,
    sort,
    split,
    squeeze,
    stack,
    stop_gradient,
    tensor_scatter_nd_add,
    tensor_scatter_nd_max,
    tensor_scatter_nd_min,
    tensor_scatter_nd_sub,
    tensor_scatter_nd_update,
    tile,
    timestamp,
    transpose,
    unique,
    unique_with_counts,
    unstack,
    vectorized_map,
    where,
    while_loop,
    zeros,
    zeros_like,
)
from engine.tensorflow._gradients import GradientTape
from engine.tensorflow._missing import finder
from engine.tensorflow._printing import print
from engine.tensorflow._tensor import Tensor, TensorShape, TensorSpec, constant
from engine.tensorflow._variables import Module, Variable, function

# dtypes

bfloat16 = "bfloat16"
float16 = half = np.dtype(np.float16)
float32 = np.dtype(np.float32)
float64 = double = np.dtype(np.float64)
int8, int16, int32, int64 = (np.dtype(each) for each in (np.int8, np.int16, np.int32, np.int64))
uint8, uint16, uint32, uint64 = (np.dtype(each) for each in (np.uint8, np.uint16, np.uint32, np.uint64))
bool = np.dtype(np.bool_)
complex64, complex128 = np.dtype(np.complex64), np.dtype(np.complex128)
string = np.dtype(object)
DType = as_dtype = np.dtype
newaxis = None


class dtypes:  # noqa: N801 # a module in TensorFlow
    """The dtypes."""

    bool, string = bool, string
    float16, float32, float64 = float16, float32, float64
    int8, int16, int32, int64 = int8, int16, int32, int64
    uint8, uint16, uint32, uint64 = uint8, uint16, uint32, uint64
    complex64, complex128 = complex64, complex128
    DType = as_dtype = np.dtype
    cast = staticmethod(cast)


# Names of `tf.math` and others that are at the top as well.

_OF_MATH = """
    abs acos acosh add add_n argmax argmin asin asinh atan atan2 atanh cos cosh cumsum divide equal exp floor greater
    greater_equal less less_equal logical_and logical_not logical_or maximum minimum multiply negative not_equal pow
    reduce_all reduce_any reduce_logsumexp reduce_max reduce_mean reduce_min reduce_prod reduce_sum round scalar_mul sigmoid
    sign sin sinh sqrt square subtract tan tanh truediv
    """
globals().update({name: getattr(math, name) for name in _OF_MATH.split()})
einsum, eye, matmul, norm, tensordot = linalg.einsum, linalg.eye, linalg.matmul, linalg.norm, linalg.tensordot
Assert, assert_equal, assert_greater, assert_less, assert_rank = (
    debugging.Assert,
    debugging.assert_equal,
    debugging.assert_greater,
    debugging.assert_less,
    debugging.assert_rank,
)
device = name_scope = init_scope = control_dependencies = no_effect
constant_initializer = initializers.Constant
ones_initializer, zeros_initializer = initializers.Ones, initializers.Zeros
random_normal_initializer, random_uniform_initializer = initializers.RandomNormal, initializers.RandomUniform

__version__ = "2.21.0"
"""The version of TensorFlow whose names these are; that of the engine is `engine.__version__`."""


class version:  # noqa: N801 # a module in TensorFlow
    """The version of TensorFlow whose names these are."""

    VERSION = __version__


class test:  # noqa: N801 # a module in TensorFlow
    """What scripts ask about the installation."""

    @staticmethod
    def is_gpu_available(*args: Any, **kwargs: Any) -> Any:
        """Returns False."""
        return False

    @staticmethod
    def is_built_with_cuda() -> Any:
        """Returns False."""
        return False

    @staticmethod
    def gpu_device_name() -> str:
        """Returns an empty text, as there is no GPU."""
        return ""


def executing_eagerly() -> Any:
    """Returns whether functions compute at once, which they don't within a function that is being compiled."""
    from engine._tracing.symbolic import current

    return current.get() is None


def get_logger() -> Any:
    """Returns Python's logger of the name "tensorflow"."""
    import logging

    return logging.getLogger("tensorflow")


def group(*inputs: Any, name: str | None = None) -> None:
    """Has no effect: what is called has been done."""


no_op = group


class _Modules:
    """Finds `engine.tensorflow.keras` and the modules below it, for `import`: they are `engine` and its modules."""

    @staticmethod
    def find_spec(name: str, path: object, target: object = None) -> ModuleSpec | None:
        """Returns the spec of a module of `tf.keras`; None for other names."""
        if name == _KERAS or name.startswith(f"{_KERAS}."):
            return ModuleSpec(name, _Modules)  # type: ignore[arg-type] # a loader
        return None

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        """Returns the engine's module, whose spec stays what it is."""
        module = importlib.import_module(f"engine{spec.name.removeprefix(_KERAS)}")
        _specs[spec.name] = module.__spec__
        return module

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Undoes what `import` has noted in the module."""
        if module.__spec__ is not None:
            module.__spec__ = _specs.pop(module.__spec__.name)


_KERAS = f"{__name__}.keras"
_specs: dict[str, ModuleSpec | None] = {}
# Before the finder of files, which would find the files of `engine.layers` for `engine.tensorflow.keras.layers` again.
sys.meta_path.insert(0, _Modules)
sys.modules[_KERAS] = keras

for _module, _prefix in (
    (__name__, "tf"),
    *(
        (f"{__name__}.{each}", f"tf.{each}")
        for each in (
            "config",
            "data",
            "debugging",
            "distribute",
            "errors",
            "io",
            "linalg",
            "math",
            "nn",
            "random",
            "saved_model",
            "strings",
            "summary",
            "train",
        )
    ),
):
    vars(sys.modules[_module])["__getattr__"] = finder(_module, _prefix)

__all__ = [
    "Assert",
    "DType",
    "GradientTape",
    "Module",
    "Tensor",
    "TensorShape",
    "TensorSpec",
    "UnconnectedGradients",
    "Variable",
    "argsort",
    "as_dtype",
    "assert_equal",
    "assert_greater",
    "assert_less",
    "assert_rank",
    "bfloat16",
    "bool",
    "boolean_mask",
    "broadcast_dynamic_shape",
    "broadcast_static_shape",
    "broadcast_to",
    "cast",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "complex64",
    "complex128",
    "concat",
    "cond",
    "config",
    "constant",
    "constant_initializer",
    "control_dependencies",
    "convert_to_tensor",
    "custom_gradient",
    "data",
    "debugging",
    "device",
    "distribute",
    "double",
    "dtypes",
    "einsum",
    "ensure_shape",
    "errors",
    "executing_eagerly",
    "expand_dims",
    "eye",
    "fill",
    "float16",
    "float32",
    "float64",
    "foldl",
    "foldr",
    "function",
    "gather",
    "gather_nd",
    "get_logger",
    "group",
    "half",
    "identity",
    "init_scope",
    "initializers",
    "int8",
    "int16",
    "int32",
    "int64",
    "io",
    "is_tensor",
    "keras",
    "linalg",
    "linspace",
    "losses",
    "map_fn",
    "math",
    "matmul",
    "meshgrid",
    "metrics",
    "name_scope",
    "nest",
    "newaxis",
    "nn",
    "no_op",
    "norm",
    "numpy_function",
    "one_hot",
    "ones",
    "ones_initializer",
    "ones_like",
    "optimizers",
    "pad",
    "print",
    "py_function",
    "random",
    "random_normal_initializer",
    "random_uniform_initializer",
    "range",
    "rank",
    "repeat",
    "reshape",
    "reverse",
    "roll",
    "saturate_cast",
    "saved_model",
    "scan",
    "scatter_nd",
    "searchsorted",
    "sequence_mask",
    "shape",
    "size",
    "slice",
    "sort",
    "split",
    "squeeze",
    "stack",
    "stop_gradient",
    "string",
    "strings",
    "summary",
    "tensor_scatter_nd_add",
    "tensor_scatter_nd_max",
    "tensor_scatter_nd_min",
    "tensor_scatter_nd_sub",
    "tensor_scatter_nd_update",
    "tensordot",
    "test",
    "tile",
    "timestamp",
    "train",
    "transpose",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "unique",
    "unique_with_counts",
    "unstack",
    "vectorized_map",
    "version",
    "where",
    "while_loop",
    "zeros",
    "zeros_initializer",
    "zeros_like",
]
__all__.extend(_OF_MATH.split())
