"""Activation functions: NumPy in, NumPy out, computed by the same kernels as inside a layer."""

from __future__ import annotations

from collections.abc import Callable

from numpy.typing import ArrayLike

from engine._checks import nearest
from engine._program import Float32, activate

Activation = Callable[[ArrayLike], Float32]


def linear(x: ArrayLike) -> Float32:
    """`x` as it is."""
    return activate("linear", x)


def relu(x: ArrayLike) -> Float32:
    """`max(x, 0)`; a NaN stays a NaN."""
    return activate("relu", x)


def sigmoid(x: ArrayLike) -> Float32:
    """`1 / (1 + exp(-x))`."""
    return activate("sigmoid", x)


def tanh(x: ArrayLike) -> Float32:
    """The hyperbolic tangent."""
    return activate("tanh", x)


def silu(x: ArrayLike) -> Float32:
    """`x * sigmoid(x)`, also known as swish (Elfwing, Uchibe and Doya, 2017)."""
    return activate("silu", x)


def softmax(x: ArrayLike) -> Float32:
    """`exp(x) / sum(exp(x))` over the last axis."""
    return activate("softmax", x)


_known = {function.__name__: function for function in (linear, relu, sigmoid, tanh, silu, softmax)}
_known["swish"] = silu


def get(identifier: object) -> Activation:
    """The activation that a name or one of this module's functions stands for; None is `linear`.

    Raises:
        ValueError: for an unknown name; the message suggests the nearest.
        TypeError: for anything else, such as a function of your own.
    """
    if identifier is None:
        return linear
    if isinstance(identifier, str):
        if identifier.lower() not in _known:
            known = ", ".join(sorted(_known))
            msg = f"unknown activation {identifier!r}{nearest(identifier, _known)} Known: {known}"
            raise ValueError(msg)
        return _known[identifier.lower()]
    for function in _known.values():
        if identifier is function:
            return function
    msg = f"`activation` must be a name or a function of engine.activations, got {identifier!r}"
    raise TypeError(msg)
