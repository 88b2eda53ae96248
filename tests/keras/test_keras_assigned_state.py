"""Compares with Keras what weights are that `call` assigns, and what it returns, in every way of running a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from common import assert_all_close, compiled

import engine

X = (np.arange(24).reshape(6, 4) / 8).astype("float32")
Y = X[:, :1].copy()


def _layer(api: Any, kind: str) -> Any:
    class Stateful(api.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            if kind == "variable":
                self.state = api.Variable(np.zeros(4, "float32"), trainable=False)
            else:
                self.state = self.add_weight(shape=(4,), initializer="zeros", trainable=False)

    class Counting(Stateful):
        def call(self, inputs: Any) -> Any:
            self.state.assign(self.state + 1.0)
            return inputs + self.state

    class Moving(Stateful):
        """A moving mean, in training alone."""

        def call(self, inputs: Any, training: bool = False) -> Any:
            if training:
                self.state.assign(0.5 * self.state + 0.5 * api.ops.mean(inputs, axis=0))
            return inputs - self.state

    class Branching(Stateful):
        """Another number for training and for predictions."""

        def call(self, inputs: Any, training: bool = False) -> Any:
            before = self.state * 1.0
            if training:
                self.state.assign_add(10.0 * api.ops.ones((4,)))
            else:
                self.state.assign_add(api.ops.ones((4,)))
            return inputs + self.state * 0.5 + before

    if kind == "normalization":
        return api.layers.BatchNormalization(momentum=0.5)
    return {"moving": Moving, "branching": Branching}.get(kind, Counting)()


def _state(layer: Any) -> np.ndarray[Any, Any]:
    return np.asarray(layer.moving_mean if hasattr(layer, "moving_mean") else layer.state)


def _functional(api: Any, layer: Any, times: int = 1, nested: bool = False) -> Any:
    inputs = outputs = api.Input((4,))
    for _ in range(times):
        outputs = layer(outputs)
    if nested:
        outputs = api.Model(inputs, outputs)(inputs)
    return api.Model(inputs, api.layers.Dense(1, kernel_initializer="ones")(outputs))


def _subclassed(api: Any, layer: Any) -> Any:
    takes_training = not layer.name.startswith("counting")

    class Own(api.Model):
        def __init__(self) -> None:
            super().__init__()
            self.stateful, self.dense = layer, api.layers.Dense(1, kernel_initializer="ones")
            for each in (self.stateful, self.dense):
                each.build((None, 4))

        def call(self, inputs: Any, training: bool = False) -> Any:
            options = {"training": training} if takes_training else {}
            return self.dense(self.stateful(inputs, **options))

    return Own()


MODELS: dict[str, Callable[[Any, Any], Any]] = {
    "functional": _functional,
    "sequential": lambda api, layer: api.Sequential(
        [api.Input((4,)), layer, api.layers.Dense(1, kernel_initializer="ones")]
    ),
    "subclass": _subclassed,
    "used twice": lambda api, layer: _functional(api, layer, times=2),
    "nested": lambda api, layer: _functional(api, layer, nested=True),
}

Way = Callable[[Any], Any]
WAYS: dict[str, Way] = {
    "call": lambda model: [model(X), model(X)][1],
    "call with training": lambda model: [model(X, training=True), model(X, training=True)][1],
    "call, predict": lambda model: [model(X), model.predict(X, batch_size=4, verbose=0)][1],
    "predict_on_batch": lambda model: model.predict_on_batch(X),
    "evaluate": lambda model: model.evaluate(X, Y, batch_size=4, verbose=0),
    "test_on_batch": lambda model: model.test_on_batch(X, Y),
    "train_on_batch": lambda model: model.train_on_batch(X, Y),
    "fit": lambda model: [
        *model.fit(
            X,
            Y,
            batch_size=4,
            epochs=2,
            shuffle=False,
            verbose=0,
            validation_data=(X, Y),
            validation_batch_size=3,
        ).history.values()
    ],
    "fit, predict, fit": lambda model: [
        model.fit(X, Y, batch_size=3, verbose=0, shuffle=False).history["loss"],
        model.predict(X, batch_size=5, verbose=0).tolist(),
        model.fit(X, Y, verbose=0, shuffle=False).history["loss"],
    ][1],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["counting", "moving", "branching", "normalization"])
@pytest.mark.parametrize("model", MODELS)
def test_models(model: str, kind: str, way: str) -> None:
    found = []
    for api in (keras, engine):
        layer = _layer(api, kind)
        made = compiled(MODELS[model](api, layer), api.optimizers.SGD(0.0), "mse")
        before = _state(layer)
        outputs = WAYS[way](made)
        found.append([_state(layer) - before, *(np.asarray(each) for each in _flat(outputs))])
    theirs, ours = found
    assert_all_close(ours, theirs, rtol=1e-5, atol=1e-5)


def _flat(value: Any) -> list[Any]:
    return [each for part in value for each in _flat(part)] if isinstance(value, list) else [value]


@pytest.mark.parametrize("training", [None, False, True])
@pytest.mark.parametrize("kind", ["counting", "variable", "moving", "branching", "normalization"])
def test_a_layer_that_is_called(kind: str, training: bool | None) -> None:
    options = {} if training is None or kind in {"counting", "variable"} else {"training": training}
    found = []
    for api in (keras, engine):
        layer = _layer(api, kind)
        outputs = [np.asarray(layer(X, **options)) for _ in range(3)]
        found.append([*outputs, _state(layer)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("api", [keras, engine])
def test_shapes_are_found_without_assignments(api: Any) -> None:
    layer = _layer(api, "counting")
    layer(api.Input((4,)))
    assert (_state(layer) == 0).all()


@pytest.mark.parametrize("api", [keras, engine])
def test_the_training_of_the_call_around_reaches_layers_within(api: Any) -> None:
    class Seen(api.layers.Layer):
        def call(self, inputs: Any, training: Any = None) -> Any:
            seen.append(training)
            return inputs

    class Silent(api.layers.Layer):
        """Its `call` has no such argument."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = Seen()

        def call(self, inputs: Any) -> Any:
            return self.inner(inputs)

    class Around(api.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.drop = Silent(), api.layers.Dropout(0.5)

        def call(self, inputs: Any, training: Any = False) -> Any:
            return self.drop(self.inner(inputs))

    layer = Around()
    for training in (True, False, None):
        seen = list[Any]()
        options = {} if training is None else {"training": training}
        outputs = np.asarray(layer(np.ones((4, 50), "float32"), **options))
        assert set(np.unique(outputs)) == ({0.0, 2.0} if training else {1.0})
        assert bool(seen[-1]) == bool(training)  # Keras also calls it with symbols before


class Scaling:
    """Makes layers and models with a factor in an attribute, of one of both libraries."""

    def __init__(self, api: Any) -> None:
        class Layer(api.layers.Layer):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.dense, self.factor, self._bias = api.layers.Dense(3, kernel_initializer="ones"), 1.0, 0.0

            def call(self, x: Any) -> Any:
                return self.dense(x) * self.factor + self._bias

        class Model(api.Model):  # type: ignore[misc]
            def __init__(self, layer: Any = None) -> None:
                super().__init__()
                self.dense, self.factor, self._bias = (
                    layer or api.layers.Dense(3, kernel_initializer="ones"),
                    1.0,
                    0.0,
                )

            def call(self, x: Any) -> Any:
                return self.dense(x) * self.factor + self._bias

        self.api, self.layer, self.model = api, Layer, Model

    def alone(self) -> Any:
        model = self.model()
        return model, model

    def of_a_layer(self) -> Any:
        layer = self.layer()
        return self.model(layer), layer

    def sequential(self) -> Any:
        layer = self.layer()
        return self.api.Sequential([self.api.Input((3,)), layer]), layer

    def functional(self) -> Any:
        part, inputs = self.layer(), self.api.Input((3,))
        return self.api.Model(inputs, part(inputs)), part

    def functional_of_a_model(self) -> Any:
        part, inputs = self.model(), self.api.Input((3,))
        return self.api.Model(inputs, part(inputs)), part


ONES = np.ones((2, 3), np.float32)


@pytest.mark.parametrize("name", ["factor", "_bias"])
@pytest.mark.parametrize("runs_before", [True, False])
@pytest.mark.parametrize("form", ["alone", "of_a_layer", "sequential", "functional", "functional_of_a_model"])
def test_an_attribute_that_call_reads(form: str, runs_before: bool, name: str) -> None:
    """Calls follow it at once; what is compiled follows it before it runs first, and with the next `compile`, as in Keras."""
    found = []
    for api in (keras, engine):
        model, part = getattr(Scaling(api), form)()
        model.compile("sgd", "mse")

        def numbers(model: Any = model) -> list[float]:
            outputs = [model.predict(ONES, verbose=0), model(ONES), model(ONES, training=True)]
            return [float(np.asarray(each)[0, 0]) for each in outputs] + [
                float(model.evaluate(ONES, 0 * ONES, verbose=0))
            ]

        model(ONES)
        steps = [numbers()] if runs_before else []
        setattr(part, name, 2.0)
        steps.append(numbers())
        if api is engine:
            with engine.GradientTape():
                on_tape = model(engine.ops.convert_to_tensor(ONES))
            for each in (on_tape, engine.function(lambda x, model=model: model(x))(ONES)):
                np.testing.assert_array_equal(each, model(ONES))
        model.compile("sgd", "mse")
        steps.append(numbers())
        found.append(steps)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_frozen_layer_in_a_call_with_training(compiled: bool) -> None:
    """`BatchNormalization` that is frozen computes as in predictions at once, and keeps its averages."""
    x = np.random.default_rng(0).normal(2, 3, (16, 3)).astype(np.float32)
    found = []
    for api in (keras, engine):
        layer = api.layers.BatchNormalization()
        model = api.Sequential([api.Input((3,)), layer])
        if compiled:
            model.compile("sgd", "mse")
        outputs = [model(x, training=True)]
        for part, trainable in ((layer, False), (layer, True), (model, False), (model, True)):
            part.trainable = trainable
            outputs += [model(x, training=True), layer.moving_mean, model(x)]
        found.append([np.array(each) for each in outputs])
    for ours, theirs in zip(*reversed(found), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_an_activation_that_is_assigned_before_the_first_prediction() -> None:
    found = []
    for api in (keras, engine):
        dense = api.layers.Dense(2, "relu", kernel_initializer="ones")
        model = api.Sequential([api.Input((3,)), dense])
        dense.activation = api.activations.linear
        before = model.predict(-ONES, verbose=0)
        dense.activation = api.activations.relu
        found.append([before, np.asarray(model(-ONES)), model.predict(-ONES, verbose=0)])
    np.testing.assert_array_equal(found[1], found[0])
