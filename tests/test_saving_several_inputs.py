"""Files and pickles of models whose own layers and models take several inputs, in every form that `call` may have."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import layers, models, ops, saving


@saving.register_keras_serializable("several")
class Pair(layers.Layer):
    def call(self, pair: Any) -> Any:
        a, b = pair
        return a + 2 * b


@saving.register_keras_serializable("several")
class Named(layers.Layer):
    """Takes a dict, and has layers within."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.first, self.second = layers.Dense(3), layers.Dense(3)

    def call(self, named: Any) -> Any:
        return self.first(named["a"]) + self.second(named["b"])


@saving.register_keras_serializable("several")
class Arguments(layers.Layer):
    """Takes two arguments, whose shapes differ in the number of axes."""

    def build(self, shape: Any) -> None:
        self.w = self.add_weight((shape[-1], 2))

    def call(self, x: Any, steps: Any, factor: float = 1.0, training: Any = None) -> Any:
        return ops.concatenate([ops.matmul(x, self.w) * factor, ops.mean(steps, axis=1)], axis=-1)


@saving.register_keras_serializable("several")
class ByBothShapes(layers.Layer):
    def build(self, shapes: Any) -> None:
        self.w = self.add_weight((shapes[0][-1], shapes[1][-1]))

    def call(self, pair: Any) -> Any:
        return ops.matmul(pair[0], self.w) + pair[1]


@saving.register_keras_serializable("several")
class Parity(layers.Layer):
    """Integers of its inputs must be integers: `%` and `equal` of rounded floats would give something else."""

    def call(self, ids: Any) -> Any:
        if "int" not in str(ids.dtype):
            msg = f"the layer takes integers, got {ids.dtype}"
            raise TypeError(msg)
        return ops.one_hot(ids % 2, 2)


@saving.register_keras_serializable("several")
class Several(layers.Layer):
    """Has two outputs."""

    def call(self, a: Any, b: Any) -> Any:
        return {"sum": a + b, "both": ops.concatenate([a, b], axis=-1)}


@saving.register_keras_serializable("several")
class Inner(keras.Model):
    """A model that takes a dict."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.dense = layers.Dense(3)

    def call(self, named: Any) -> Any:
        return self.dense(named["a"]) * self.dense(named["b"])

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


def two() -> tuple[Any, Any]:
    return keras.Input((4,)), keras.Input((4,))


def joined(function: Callable[[Any, Any], Any]) -> keras.Model:
    a, b = two()
    return keras.Model([a, b], layers.Dense(2)(function(a, b)))


def with_steps(function: Callable[[Any, Any], Any]) -> keras.Model:
    a, b = keras.Input((4,)), keras.Input((5, 3))
    return keras.Model([a, b], layers.Dense(2)(function(a, b)))


def of_ids() -> keras.Model:
    ids = keras.Input((3,), dtype="int32")
    return keras.Model(ids, layers.Dense(2)(layers.Flatten()(Parity()(ids))))


def with_two_outputs() -> keras.Model:
    a, b = two()
    found = Several()(a, b)
    return keras.Model([a, b], [layers.Dense(2)(found["sum"]), layers.Dense(2)(found["both"])])


MODELS = {
    "list": lambda: joined(lambda a, b: Pair()([a, b])),
    "tuple": lambda: joined(lambda a, b: Pair()((a, b))),
    "one twice": lambda: joined(lambda a, b: Pair()([a, a]) + b),
    "dict": lambda: joined(lambda a, b: Named()({"a": a, "b": b})),
    "arguments": lambda: with_steps(Arguments()),
    "an option": lambda: with_steps(lambda a, b: Arguments()(a, steps=b, factor=3.0)),
    "build": lambda: joined(lambda a, b: ByBothShapes()([a, layers.Dense(3)(b)])),
    "integers": of_ids,
    "outputs": with_two_outputs,
    "a model": lambda: joined(lambda a, b: Inner()({"a": a, "b": b})),
    "operations": lambda: joined(lambda a, b: Pair()([ops.exp(a), ops.maximum(a, b)])),
    "twice": lambda: joined(lambda a, b: (pair := Pair())([pair([a, b]), b])),
}
FORMS = [".keras", ".npz", ".safetensors", ".h5", "", "pickle", "copy"]


def again(model: Any, form: str, folder: Path) -> Any:
    if form == "pickle":
        return pickle.loads(pickle.dumps(model))
    if form == "copy":
        return copy.deepcopy(model)
    path = folder / f"m{form}"
    model.save(path, **({} if form else {"zipped": False}))
    return models.load_model(path)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", MODELS)
def test_the_model_that_comes_back_computes_the_same(kind: str, form: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    model = MODELS[kind]()
    model.compile("adam", "mse")
    rng = np.random.default_rng(2)
    x = [
        rng.integers(0, 9, (6, *tensor.shape[1:]))
        if tensor.dtype == "int32"
        else rng.normal(size=(6, *tensor.shape[1:]))
        for tensor in model.inputs
    ]
    x = x[0] if len(x) == 1 else x
    expected = model.predict(x, verbose=0)
    y = [np.ones_like(each) for each in expected] if isinstance(expected, list) else np.ones_like(expected)
    found = again(model, form, tmp_path)
    np.testing.assert_array_equal(found.predict(x, verbose=0), expected)
    for each in (model, found):
        each.train_on_batch(x, y)
    np.testing.assert_array_equal(found.predict(x, verbose=0), model.predict(x, verbose=0))
