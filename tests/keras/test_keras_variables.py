"""Compares the weights of layers, `keras.Variable` and the variables of optimizers with those of Keras."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import engine

VALUES = (np.arange(6).reshape(3, 2) / 2 - 1).astype("float32")
X = (np.arange(24).reshape(8, 3) / 8).astype("float32")
Y = X[:, :1].copy()


def _kernel(api: Any, kind: str) -> Any:
    """Returns a variable with `VALUES`: the kernel of a layer of the library or of a user's, or one by itself."""
    if kind == "free":
        return api.Variable(VALUES, name="kernel")
    if kind == "built-in":
        layer = api.layers.Dense(2, name="dense")
    else:

        class Own(api.layers.Layer):
            def build(self, shape: Any) -> None:
                self.kernel = self.add_weight(shape=(shape[-1], 2), name="kernel")

            def call(self, inputs: Any) -> Any:
                return inputs @ self.kernel

        layer = Own(name="dense")
    layer.build((None, 3))
    layer.kernel.assign(VALUES)
    layer.kernel.layer = layer  # so that it lives on
    return layer.kernel


READINGS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda api, v: v + 1,
    "reflected add": lambda api, v: 1 + v,
    "array minus it": lambda api, v: np.ones((3, 2), np.float32) - v,
    "it minus array": lambda api, v: v - np.ones((3, 2), np.float32),
    "itself": lambda api, v: v * v,
    "product": lambda api, v: X @ v,
    "reflected product": lambda api, v: v @ np.ones((2, 2), np.float32),
    "power": lambda api, v: v**2,
    "reflected power": lambda api, v: 2**v,
    "quotient": lambda api, v: 1 / (v + 3),
    "whole quotient": lambda api, v: v // 2,
    "remainder": lambda api, v: v % 2,
    "negative": lambda api, v: -v,
    "absolute": lambda api, v: abs(v),
    "rounded": lambda api, v: round(v),
    "equal": lambda api, v: v == v,  # noqa: PLR0124
    "equal to a number": lambda api, v: v == 0.5,
    "unequal": lambda api, v: v != 0.5,
    "less": lambda api, v: v < 0.5,
    "at least": lambda api, v: v >= VALUES[::-1],
    "and": lambda api, v: v & 1,
    "row": lambda api, v: v[1],
    "column": lambda api, v: v[:, 0],
    "mask": lambda api, v: v[np.array([True, False, True])],
    "loop": lambda api, v: [np.asarray(row) for row in islice(v, 3)],
    "array": lambda api, v: np.asarray(v),
    "float64": lambda api, v: np.asarray(v, np.float64),
    "numpy": lambda api, v: v.numpy(),
    "value": lambda api, v: np.asarray(v.value),
    "np.exp": lambda api, v: np.exp(v),
    "np.mean": lambda api, v: np.mean(v, axis=0),
    "np.sum": lambda api, v: np.sum(v),
    "np.concatenate": lambda api, v: np.concatenate([v, v], axis=1),
    "np.dot": lambda api, v: np.dot(X, v),
    "np.where": lambda api, v: np.where(v > 0, v, 0),
    "np.linalg.norm": lambda api, v: np.linalg.norm(v),
    "np.shape": lambda api, v: np.shape(v),
    "np.size": lambda api, v: np.size(v),
    "ops.sum": lambda api, v: api.ops.sum(v),
    "ops.matmul": lambda api, v: api.ops.matmul(X, v),
    "ops.convert_to_numpy": lambda api, v: api.ops.convert_to_numpy(v),
    "ops.reshape": lambda api, v: api.ops.reshape(v, (2, 3)),
    "shape": lambda api, v: v.shape,
    "ndim": lambda api, v: v.ndim,
    "dtype": lambda api, v: str(v.dtype) == "float32",
    "name": lambda api, v: v.name,
    "trainable": lambda api, v: v.trainable,
    "regularizer": lambda api, v: v.regularizer,
    "constraint": lambda api, v: v.constraint,
    "is a variable": lambda api, v: isinstance(v, api.Variable),
    "in a list": lambda api, v: v in [v],
    "assigned": lambda api, v: [v.assign(VALUES[::-1]), np.asarray(v)][1],
    "added": lambda api, v: [v.assign_add(VALUES), np.asarray(v)][1],
    "subtracted": lambda api, v: [v.assign_sub(np.ones((3, 2))), np.asarray(v)][1],
    "number added": lambda api, v: [v.assign_add(1.5), np.asarray(v)][1],
    "own values": lambda api, v: [v.assign(v * 2 - v[0]), np.asarray(v)][1],
}


@pytest.mark.parametrize("kind", ["built-in", "own", "free"])
@pytest.mark.parametrize("reading", READINGS)
def test_a_variable_reads_as_in_keras(reading: str, kind: str) -> None:
    read = READINGS[reading]
    ours, theirs = read(engine, _kernel(engine, kind)), read(keras, _kernel(keras, kind))
    np.testing.assert_array_equal(np.shape(ours), np.shape(theirs))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", ["built-in", "own", "free"])
@pytest.mark.parametrize("action", ["float", "int", "wrong shape", "item"])
def test_what_a_variable_refuses(action: str, kind: str) -> None:
    actions: dict[str, Callable[[Any], Any]] = {
        "float": float,
        "int": int,
        "wrong shape": lambda v: v.assign(np.ones(3)),
        "item": lambda v: v.__setitem__(0, 1.0),
    }
    for api in (engine, keras):
        variable = _kernel(api, kind)
        with pytest.raises((TypeError, ValueError, AttributeError)):
            actions[action](variable)
        np.testing.assert_array_equal(variable, VALUES)


@pytest.mark.parametrize("kind", ["built-in", "own", "free"])
def test_operators_in_place_give_arrays(kind: str) -> None:
    for api in (engine, keras):
        variable = changed = _kernel(api, kind)
        changed += 1
        changed *= 2
        assert not isinstance(changed, api.Variable)
        np.testing.assert_array_equal(changed, (VALUES + 1) * 2)
        np.testing.assert_array_equal(variable, VALUES)


def _model(api: Any) -> Any:
    model = api.Sequential(
        [
            api.Input((3,)),
            api.layers.Dense(2, name="hidden"),
            api.layers.BatchNormalization(),
            api.layers.Dense(1),
        ],
        name="model",
    )
    model.compile(api.optimizers.Adam(), "mse")
    return model


def test_it_is_the_same_object_each_time() -> None:
    for api in (engine, keras):
        model = _model(api)
        layer, normalization = model.layers[:2]
        assert layer.kernel is layer.kernel is layer.weights[0] is model.weights[0]
        assert layer.bias is model.trainable_variables[1]
        assert normalization.moving_mean is model.non_trainable_variables[0]
        assert normalization.gamma is model.trainable_weights[2]
        kernel, before = layer.kernel, layer.kernel.numpy()
        model.fit(X, Y, epochs=1, verbose=0)
        assert layer.kernel is kernel
        assert (kernel.numpy() != before).any()


def test_set_weights_is_seen_through_variables(tmp_path: Path) -> None:
    for api in (engine, keras):
        model = _model(api)
        kernel = model.layers[0].kernel
        new = [np.full(each.shape, 0.25, np.float32) for each in model.weights]
        model.set_weights(new)
        np.testing.assert_array_equal(kernel, new[0])
        model.save_weights(tmp_path / f"{api.__name__}.weights.h5")
        kernel.assign(VALUES)
        np.testing.assert_array_equal(model.get_weights()[0], VALUES)
        model.load_weights(tmp_path / f"{api.__name__}.weights.h5")
        assert model.layers[0].kernel is kernel
        np.testing.assert_array_equal(kernel, new[0])


@pytest.mark.parametrize("way", ["clone", "deepcopy", "pickle"])
def test_copies_have_variables_of_their_own(way: str) -> None:
    for api in (engine, keras):
        model = _model(api)
        kernel = model.layers[0].kernel
        kernel.assign(VALUES)
        if way == "clone":
            twin = api.models.clone_model(model)
            twin.set_weights(model.get_weights())
        else:
            twin = copy.deepcopy(model) if way == "deepcopy" else pickle.loads(pickle.dumps(model))
        copied = twin.layers[0].kernel
        assert copied is twin.weights[0]
        assert copied is not kernel
        np.testing.assert_array_equal(copied, VALUES)
        copied.assign_add(1.0)
        np.testing.assert_array_equal(kernel, VALUES)
        np.testing.assert_array_equal(twin.get_weights()[0], VALUES + 1)


def test_a_copy_of_a_variable_is_another_one() -> None:
    for api in (engine, keras):
        variable = _kernel(api, "built-in")
        twin = copy.deepcopy(variable)
        twin.assign_add(1.0)
        np.testing.assert_array_equal(variable, VALUES)
        np.testing.assert_array_equal(twin, VALUES + 1)


def test_a_variable_outlives_its_layer() -> None:
    for api in (engine, keras):
        layer = api.layers.Dense(2)
        layer.build((None, 3))
        kernel = layer.kernel
        kernel.assign(VALUES)
        del layer
        np.testing.assert_array_equal(kernel * 2, VALUES * 2)
        kernel.assign_add(1.0)
        np.testing.assert_array_equal(kernel, VALUES + 1)


def test_the_variables_of_an_optimizer() -> None:
    """They are of the same class, and those of one model can be given to that of another."""
    found = []
    for api in (engine, keras):
        model = _model(api)
        model.set_weights([np.full(each.shape, 0.25, np.float32) for each in model.weights])
        model.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
        variables = model.optimizer.variables
        assert all(isinstance(each, api.Variable) for each in variables)
        assert [each.dtype == "int32" for each in variables[:2]] == [True, False] or api is keras
        found.append([(each.name, tuple(each.shape), np.asarray(each)) for each in variables])
        variables[2].assign(VALUES)
        np.testing.assert_array_equal(model.optimizer.variables[2], VALUES)
        np.testing.assert_array_equal(variables[2] + 1, VALUES + 1)
    for ours, theirs in zip(*found, strict=True):
        assert ours[1] == theirs[1]
        np.testing.assert_allclose(ours[2], theirs[2], rtol=1e-4, atol=1e-6)


def _back(api: Any, layer: Any) -> Any:
    """Returns a layer that multiplies by the transposed kernel of another one."""

    class Back(api.layers.Layer):  # type: ignore[misc] # of one of the two packages
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def call(self, inputs: Any) -> Any:
            return inputs @ api.ops.transpose(self.layer.kernel)

    return Back()


def test_a_variable_of_another_layer_is_read_in_call() -> None:
    """Training goes through both places, as in Keras."""
    weights = []
    for api in (engine, keras):
        dense = api.layers.Dense(2, use_bias=False)
        inputs = api.Input((3,))
        model = api.Model(inputs, _back(api, dense)(dense(inputs)))
        dense.kernel.assign(VALUES)
        model.compile(api.optimizers.SGD(0.1), "mse")
        model.fit(X, X, batch_size=8, shuffle=False, verbose=0)
        weights.append(np.asarray(dense.kernel))
    np.testing.assert_allclose(*weights, rtol=1e-5, atol=1e-6)
    assert (weights[0] != VALUES).any()


@pytest.mark.parametrize("name", ["SGD", "Adam", "Nadam"])
def test_numbers_of_an_optimizer_are_variables(name: str) -> None:
    def facts(api: Any) -> list[Any]:
        optimizer = getattr(api.optimizers, name)(0.1)
        optimizer.build([api.Variable(VALUES)])
        steps, rate = optimizer.iterations, optimizer.learning_rate
        first, second = optimizer.variables[:2]
        found = [first is steps, second is rate, optimizer.variables[0] is first]
        found += [
            isinstance(steps, api.Variable),
            isinstance(rate, api.Variable),
            str(steps.dtype),
            str(rate.dtype),
        ]
        optimizer.apply([np.ones((3, 2), "float32")])
        found += [int(steps), f"{float(rate):.6f}", int(steps + 1), bool(rate > 0.05), steps.name, rate.name]
        rate.assign(0.05)
        steps.assign(7)
        found += [float(optimizer.learning_rate), int(optimizer.iterations), float(np.asarray(rate * 2))]
        optimizer.learning_rate = 0.25
        return [*found, float(rate), str(optimizer.iterations.shape)]

    assert facts(engine) == facts(keras)
