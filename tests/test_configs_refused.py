"""Every kind of class raises a clear error for an invalid config."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import engine as keras
from engine import (
    activations,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
)

CLASSES = [
    layers.Dense,
    layers.Lambda,
    optimizers.Adam,
    optimizers.schedules.CosineDecay,
    losses.Huber,
    metrics.AUC,
    initializers.VarianceScaling,
    regularizers.L2,
    constraints.MaxNorm,
    models.Sequential,
    models.Model,
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("config", [5, None, "units", [1], [("units", 1)], {1: 2}])
def test_what_is_no_config(cls: Any, config: Any) -> None:
    with pytest.raises(TypeError, match=r"`config` must be a dict of arguments by name, .* got"):
        cls.from_config(config)


@pytest.mark.parametrize("bad", [5, [1], {"a": 1}, {}, b"x", 3.5, object, "nothing"])
@pytest.mark.parametrize(
    "module",
    [
        layers,
        optimizers,
        optimizers.schedules,
        losses,
        metrics,
        initializers,
        regularizers,
        constraints,
        activations,
    ],
)
def test_what_stands_for_nothing(module: Any, bad: Any) -> None:
    kinds = "layer|optimizer|learning_rate|loss|metric|initializer|regularizer|constraint|activation"
    for make in [module.deserialize, *([module.get] if hasattr(module, "get") else [])]:
        with pytest.raises(
            (TypeError, ValueError), match=rf"(`({kinds})` must be a name, |unknown `({kinds})` 'nothing')"
        ):
            make(bad)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda v: v(input_axes="a"), TypeError, "`input_axes` must be a tuple of integers"),
        (lambda v: v(output_axes=1), TypeError, "`output_axes` must be a tuple of integers"),
        (lambda v: v(input_axes=[0.5], output_axes=[1]), TypeError, r"`input_axes\[0\]` .* integer, got 0.5"),
        (lambda v: v(input_axes=[7], output_axes=[1])((3, 4)), ValueError, r"`input_axes` .* -1; got \[7\]"),
        (lambda v: v(input_axes=[0], output_axes=[-3])((3, 4)), ValueError, "`output_axes` must hold axes"),
    ],
)
def test_axes_of_fans(make: Callable[[Any], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(keras.initializers.VarianceScaling)
