"""Activations of the core: as fields of an operation, on arrays, and their gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from engine._base.checks import REAL
from engine._core_interface.cpp import Float32, activation_gradient, build
from engine._core_interface.operations import ActivationFields, activation_operation
from engine._tracing.core_formulas import recorded_activation
from engine._tracing.dispatch import records
from engine._tracing.traceable import traceable

_Function = TypeVar("_Function", bound=Callable[..., Float32])

# What the names of activations begin with where what records them is listed, unlike those of functions of `ops`.
OF_ACTIVATIONS = "activations."

# The activations of the core: what makes the core's fields from the arguments after `x`.
operations: dict[Callable[..., Float32], Callable[..., ActivationFields]] = {}


class _Activation(Protocol):
    def __call__(self, x: ArrayLike) -> Float32: ...


def of_core(fields: Callable[..., ActivationFields]) -> Callable[[_Function], _Function]:
    """Decorates an activation that the core has, so that layers lower it and functions record it, by the core's formula.

    Args:
        fields: what makes the core's fields from the arguments after `x`.
    """

    def register(function: _Function) -> _Function:
        recordable = traceable(function, prefix=OF_ACTIVATIONS)
        records(OF_ACTIVATIONS + function.__name__)(recorded_activation(function, fields))
        operations[recordable] = fields
        return recordable

    return register


def without_constants(name: str, says: str) -> _Activation:
    """Returns an activation of the core that has no argument but `x`.

    Args:
        name: its name.
        says: the first line of its docstring.
    """

    def activation(x: ArrayLike) -> Float32:
        return apply(operation(name), x)

    activation.__name__ = activation.__qualname__ = name
    activation.__module__ = "engine.activations"
    activation.__doc__ = (
        f"{says}\n\n    Args:\n        x: array of real numbers, of any shape.\n\n"
        "    Returns:\n        A float32 array in the shape of `x`.\n    "
    )
    return of_core(partial(operation, name))(activation)


def operation(name: str, *parameters: float) -> ActivationFields:
    """Returns the fields of a core operation that name its activation.

    Args:
        name: the core's name of the activation.
        *parameters: its constants, in the order of the core.
    """
    return {"activation": name, "parameters": parameters} if parameters else {"activation": name}


def apply(lowered: ActivationFields, x: ArrayLike) -> Float32:
    """Applies an activation to `x`, along its last axis, by the kernels that a layer uses.

    Raises:
        TypeError: if `x` holds anything but real numbers.
    """
    array = np.asarray(x)
    if array.dtype.kind not in REAL:
        msg = f"`x` must hold real numbers, got dtype {array.dtype}"
        raise TypeError(msg)
    rows = np.asarray(array, np.float32, order="C")
    flat = rows.reshape(-1, rows.shape[-1] if rows.ndim else 1) if rows.size else rows
    if not flat.size:
        return rows
    return build(flat.shape[1], [activation_operation(lowered)], []).predict(flat).reshape(rows.shape)


def gradient(lowered: ActivationFields, saved: Float32, upstream: Float32) -> Float32:
    """Returns the gradient with respect to the inputs of an activation along the last axis.

    Args:
        lowered: the activation.
        saved: what the gradient is computed from: the outputs for sigmoid, tanh, exponential and the activations of
            rows such as softmax, the inputs for others.
        upstream: the gradient with respect to the outputs, in the shape of `saved`.
    """
    if not saved.size:
        return np.zeros(saved.shape, np.float32)
    rows = saved.reshape(-1, saved.shape[-1] if saved.ndim else 1)
    slopes = np.ascontiguousarray(upstream, np.float32).reshape(rows.shape)
    return activation_gradient(lowered, np.ascontiguousarray(rows, np.float32), slopes).reshape(saved.shape)
