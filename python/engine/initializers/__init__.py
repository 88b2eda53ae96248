"""Initializers: functions that create the initial values of weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from engine._base.lazy_imports import on_first_use
from engine._base.spec import array_of_config, registered_or_same, serialize
from engine.initializers.base import ArrayInitializer, Initializer, deserialize, is_named, named
from engine.initializers.constant import Constant, Identity, Ones, Zeros
from engine.initializers.random import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
)

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "IdentityInitializer",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "OrthogonalInitializer",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "constant",
    "deserialize",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "serialize",
    "truncated_normal",
    "variance_scaling",
    "zeros",
]

# Keras' other names of the classes.
constant, zeros, ones, identity = Constant, Zeros, Ones, Identity
random_normal, truncated_normal, random_uniform = RandomNormal, TruncatedNormal, RandomUniform
variance_scaling, orthogonal = VarianceScaling, Orthogonal
glorot_uniform, glorot_normal = GlorotUniform, GlorotNormal
lecun_uniform, lecun_normal = LecunUniform, LecunNormal
he_uniform, he_normal = HeUniform, HeNormal
IdentityInitializer, OrthogonalInitializer = Identity, Orthogonal


def get(identifier: object) -> Any:
    """Returns the initializer for an identifier.

    Args:
        identifier: a name, a class, an instance, a config dict, a function `f(shape, dtype=None)` that returns an
            array, an array with the initial values, or None, which is returned as None.

    Raises:
        ValueError: if the name is unknown. The message suggests similar names.
        TypeError: if `identifier` is of another type.
    """
    if identifier is None:
        return None
    identifier = registered_or_same(identifier, is_named)
    if isinstance(identifier, Mapping) and identifier.get("class_name") == "__numpy__":
        identifier = array_of_config(identifier["config"])
    if isinstance(identifier, np.ndarray):
        return ArrayInitializer(identifier)
    named_or_config = isinstance(identifier, (str, Mapping, type, Initializer))
    return identifier if callable(identifier) and not named_or_config else named(identifier)


if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)
