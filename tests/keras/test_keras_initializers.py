"""Compares initializers with Keras: names, arguments, configs and distributions. The numbers differ."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import engine

LEFT_OUT = {"STFT", "STFTInitializer", "stft", "Initializer"}
CLASSES = sorted(
    name
    for name in dir(keras.initializers)
    if inspect.isclass(getattr(keras.initializers, name)) and name not in LEFT_OUT
)
RANDOM = [
    ("RandomNormal", {"mean": 0.5, "stddev": 0.2}),
    ("RandomNormal", {}),
    ("TruncatedNormal", {"mean": -1.0, "stddev": 0.3}),
    ("RandomUniform", {"minval": -0.2, "maxval": 0.7}),
    ("VarianceScaling", {}),
    *(
        ("VarianceScaling", {"scale": 1.5, "mode": mode, "distribution": distribution})
        for mode in ("fan_in", "fan_out", "fan_avg")
        for distribution in ("truncated_normal", "untruncated_normal", "uniform")
    ),
    *((name, {}) for name in ("GlorotUniform", "GlorotNormal", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform")),
]  # fmt: skip
SHAPE = (150, 400)


def pair(name: str, **options: Any) -> tuple[Any, Any]:
    return getattr(keras.initializers, name)(**options), getattr(engine.initializers, name)(**options)


@pytest.mark.parametrize("name", CLASSES)
def test_arguments_and_configs(name: str) -> None:
    theirs, ours = pair(name)
    for function in ("__init__", "__call__"):
        arguments = [inspect.signature(getattr(type(one), function)).parameters for one in (theirs, ours)]
        named = [
            [(p.name, p.default) for p in own.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
            for own in arguments
        ]
        assert named[1] == named[0]
    # The config of Keras' Identity lacks the gain.
    assert ours.get_config() == (theirs.get_config() or ours.get_config())
    assert type(ours).from_config(ours.get_config()).get_config() == ours.get_config()


@pytest.mark.parametrize("name", CLASSES)
def test_by_name_class_and_config(name: str) -> None:
    ours = type(getattr(engine.initializers, name)())
    for identifier in (name, ours, ours(), {"class_name": name, "config": {}}):
        assert type(engine.initializers.get(identifier)) is ours
    theirs = keras.initializers.serialize(getattr(keras.initializers, name)())
    assert engine.initializers.deserialize(theirs).get_config() == ours().get_config()
    assert type(engine.initializers.deserialize(engine.initializers.serialize(ours()))) is ours


@pytest.mark.parametrize(
    "alias", ["normal", "uniform", "one", "zero", "glorot_uniform", "he_normal", "orthogonal"]
)
def test_aliases(alias: str) -> None:
    theirs, ours = keras.initializers.get(alias), engine.initializers.get(alias)
    assert type(ours).__name__ == type(theirs).__name__


@pytest.mark.parametrize(("name", "options"), RANDOM)
def test_moments_are_those_of_keras(name: str, options: dict[str, Any]) -> None:
    theirs, ours = (np.asarray(draw(SHAPE), float) for draw in pair(name, seed=7, **options))
    assert ours.shape == SHAPE
    n, spread = theirs.size, theirs.std()
    # Five standard errors of a difference of two samples; the tails of these distributions are no heavier than normal.
    assert abs(ours.mean() - theirs.mean()) < 5 * spread * math.sqrt(2 / n)
    assert abs(ours.std() - spread) < 5 * spread / math.sqrt(n)
    for power in (3, 4):
        moments = [(((a - theirs.mean()) / spread) ** power).mean() for a in (ours, theirs)]
        assert abs(moments[0] - moments[1]) < 5 * math.sqrt(2 * math.factorial(2 * power) / n)
    np.testing.assert_allclose(
        np.quantile(ours, [0.1, 0.5, 0.9]), np.quantile(theirs, [0.1, 0.5, 0.9]), atol=0.05 * spread
    )


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("Zeros", {}, (3, 4)),
        ("Ones", {}, (5,)),
        ("Constant", {"value": -1.5}, (2, 3, 4)),
        ("Identity", {"gain": 2.0}, (3, 5)),
    ],
)
def test_constant_values(name: str, options: dict[str, Any], shape: tuple[int, ...]) -> None:
    theirs, ours = (draw(shape) for draw in pair(name, **options))
    np.testing.assert_array_equal(ours, np.asarray(theirs))


@pytest.mark.parametrize("shape", [(7, 7), (20, 6), (6, 20), (2, 3, 5), (1, 4), (4, 1)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    theirs, ours = (
        np.asarray(draw(shape), float).reshape(-1, shape[-1]) for draw in pair("Orthogonal", gain=1.5, seed=3)
    )
    assert ours.shape == theirs.shape
    for matrix, tolerance in ((theirs, 1e-5), (ours, 1e-6)):
        rows, columns = matrix.shape
        product = matrix.T @ matrix if rows >= columns else matrix @ matrix.T
        np.testing.assert_allclose(product, 2.25 * np.eye(min(rows, columns)), atol=tolerance)


def test_the_same_numbers_at_every_call() -> None:
    for seed in (None, 5):
        for draw in pair("HeNormal", seed=seed):
            np.testing.assert_array_equal(np.asarray(draw((3, 4))), np.asarray(draw((3, 4))))


@pytest.mark.parametrize(
    "axes", [{}, {"input_axes": [0, 1], "output_axes": [2]}, {"input_axes": [2], "output_axes": [0]}]
)
@pytest.mark.parametrize("shape", [(40, 50, 30), (8, 9, 10, 50)])
def test_fans_of_several_axes(shape: tuple[int, ...], axes: dict[str, Any]) -> None:
    theirs, ours = (np.abs(np.asarray(draw(shape))).max() for draw in pair("GlorotUniform", seed=1, **axes))
    assert ours == pytest.approx(theirs, rel=2e-3)  # nearly the limit, in thousands of draws


def ones(shape: Any, dtype: Any = None) -> Any:
    return np.ones(shape, dtype or "float32")


@pytest.mark.parametrize(
    "start", [ones, np.full((4, 3), 2.5, np.float32), lambda shape, dtype=None: ones(shape) * 3]
)
def test_functions_and_arrays(start: Callable[..., Any] | np.ndarray[Any, Any]) -> None:
    kernels = []
    for api in (keras, engine):
        layer = api.layers.Dense(3, kernel_initializer=start)
        api.Sequential([api.Input((4,)), layer])
        kernels.append(np.asarray(layer.get_weights()[0]))
    np.testing.assert_array_equal(kernels[1], kernels[0])


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda api: api.initializers.VarianceScaling(scale=-1.0), ValueError, "scale"),
        (lambda api: api.initializers.VarianceScaling(mode="fan"), ValueError, "mode"),
        (lambda api: api.initializers.VarianceScaling(distribution="gamma"), ValueError, "distribution"),
        (lambda api: api.initializers.Identity()((3,)), ValueError, "2D|two axes"),
        (lambda api: api.initializers.Orthogonal()((3,)), ValueError, "two"),
        (lambda api: api.initializers.get("glorot"), ValueError, "glorot"),
        (lambda api: api.initializers.HeNormal(seed="x"), (ValueError, TypeError), "seed"),
    ],
)
def test_both_refuse(make: Callable[[Any], Any], error: Any, match: str) -> None:
    for api in (keras, engine):
        with pytest.raises(error, match=match):
            make(api)
