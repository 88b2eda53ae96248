"""Attributes that users add to their classes change nothing, since those of the library begin with `_`."""

from __future__ import annotations

import abc
import types
from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import pytest
from common import Largest, compiled

import engine as keras

X = np.random.default_rng(1).normal(size=(24, 5)).astype(np.float32)
Y = np.arange(24) % 3
# Values of user attributes. None of them could be the value of an attribute of the library.
VALUES = [0.5, "text", None, [1, 2]]


class Scale(keras.layers.Layer):
    def build(self, input_shape: Any) -> None:
        self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones")

    def call(self, inputs: Any) -> Any:
        return inputs * self.factor

    def gradient(self, inputs: Any, upstream: Any) -> Any:
        return upstream * self.factor, np.sum(upstream * inputs, axis=0)


class CrossEntropy(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return -np.log(y_pred[np.arange(len(y_true)), y_true])

    def gradient(self, y_true: Any, y_pred: Any) -> Any:
        rows = np.arange(len(y_true))
        slope = np.zeros_like(y_pred)
        slope[rows, y_true] = -1 / y_pred[rows, y_true]
        return slope


class Warmer(keras.optimizers.Adam):
    pass


class Heard(keras.callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["heard"] = float(epoch)


class Shrink(keras.regularizers.Regularizer):
    def __call__(self, x: Any) -> float:
        return float(0.01 * np.sum(np.square(x)))

    def gradient(self, x: Any) -> Any:
        return 0.02 * np.asarray(x)


class Clip(keras.constraints.Constraint):
    def __call__(self, w: Any) -> Any:
        return np.clip(w, -1, 1)


class Halves(keras.initializers.Initializer):
    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return np.full(shape, 0.5, "float32")


class Falling(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step: Any) -> float:
        return 0.01 / (1.0 + float(step))


class Network(keras.Sequential):
    pass


KINDS = [
    Scale, CrossEntropy, Largest, Warmer, Heard, Shrink, Clip, Halves, Falling, Network,
    keras.layers.Dense, keras.losses.SparseCategoricalCrossentropy, keras.metrics.SparseCategoricalAccuracy,
]  # fmt: skip


def trained(changed: type, attributes: dict[str, Any], on_class: bool) -> list[Any]:
    """Weights, history and predictions of a network with an object of each class above.

    Args:
        changed: the class of which the network takes a subclass that has `attributes`.
        attributes: by name.
        on_class: whether they are attributes of the class, or of the object.
    """
    subclass: Any = type(changed.__name__, (changed,), dict(attributes) if on_class else {})

    def make(kind: Any, *args: Any, **options: Any) -> Any:
        made = subclass(*args, **options) if kind is changed else kind(*args, **options)
        if kind is changed and not on_class:
            for name, value in attributes.items():
                setattr(made, name, value)
        return made

    keras.utils.set_random_seed(3)
    hidden = make(
        keras.layers.Dense, 4, activation="relu", kernel_initializer=make(Halves), kernel_regularizer=make(Shrink),
        kernel_constraint=make(Clip), name="hidden",
    )  # fmt: skip
    model = make(
        Network,
        [
            keras.Input((5,)),
            hidden,
            make(Scale, name="scale"),
            keras.layers.Dense(3, "softmax", name="last"),
        ],
        name="network",
    )
    built_in = changed is keras.losses.SparseCategoricalCrossentropy
    loss = make(keras.losses.SparseCategoricalCrossentropy if built_in else CrossEntropy)
    accuracy = make(keras.metrics.SparseCategoricalAccuracy, name="accuracy")
    model.compile(make(Warmer, make(Falling)), loss=loss, metrics=[make(Largest), accuracy])
    history = model.fit(X, Y, epochs=2, batch_size=8, verbose=0, callbacks=[make(Heard)])
    evaluated = model.evaluate(X, Y, verbose=0)
    return [*model.get_weights(), history.history, evaluated, model.predict(X, verbose=0)]


def names_for(kind: type) -> Iterator[str]:
    """Yields the names of private attributes of `kind` and its objects, without the underscore."""
    made = {
        Network: lambda: Network([keras.layers.Dense(1)]),
        keras.layers.Dense: lambda: keras.layers.Dense(1),
    }
    made[Warmer] = Warmer
    instance: Any = made.get(kind, kind)()  # type: ignore[arg-type]
    public = {name for name in [*dir(kind), *vars(instance)] if not name.startswith("_")}
    private = {
        name for name in [*dir(kind), *vars(instance)] if name.startswith("_") and not name.endswith("__")
    }
    yield from sorted({name.lstrip("_") for name in private} - public)


@pytest.mark.parametrize("on_class", [True, False], ids=["class", "object"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_attributes_of_users_change_nothing(kind: type, on_class: bool) -> None:
    names = list(names_for(kind))
    expected = trained(kind, {}, on_class)
    for value in VALUES:
        for found, wanted in zip(trained(kind, dict.fromkeys(names, value), on_class), expected, strict=True):
            np.testing.assert_equal(found, wanted)


def test_the_names_are_those_that_the_library_uses() -> None:
    """This checks that the test above tries the right names."""
    assert {"lower", "makes_mask", "parts", "weight_specs_for"} <= set(names_for(Scale))
    assert {"kind", "slots", "batches"} <= set(names_for(Warmer))
    assert {"built_graph", "feature_names", "facts"} <= set(names_for(Network))


def test_a_weight_of_a_layer_may_be_called_weight() -> None:
    class Named(Scale):
        def build(self, input_shape: Any) -> None:
            self.weight = self.add_weight(shape=(input_shape[-1],), initializer="ones")
            self.factor = self.weight

    assert Named()(X).shape == X.shape


def test_layers_of_a_model_may_be_called_inputs_and_outputs() -> None:
    class Named(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inputs = keras.layers.Dense(3)
            self.outputs = keras.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.outputs(self.inputs(x))

    model = compiled(Named(), "sgd", "mse")
    model.fit(np.ones((4, 5)), np.ones((4, 2)), verbose=0)
    assert [weight.shape for weight in model.weights] == [(5, 3), (3,), (3, 2), (2,)]
    assert model.outputs is model.layers[1]
    assert model.output.shape == (None, 2)
    with pytest.raises(AttributeError):
        keras.Sequential([keras.Input((1,))]).outputs = 3  # type: ignore[assignment]


# Private names that classes of users plausibly have, such as `_graph` in a network on graphs: the library has others.
PLAUSIBLE = (
    *("_add_model", "_build", "_build_layers", "_build_model", "_call_build", "_compute", "_computed_by", "_create_weights"),
    *("_data", "_dense", "_encoder", "_forward", "_graph", "_hidden", "_init_weights", "_layers", "_make_layers", "_models"),
    *("_network", "_program", "_readings", "_remove_model", "_run_build", "_run_call", "_seed", "_setup", "_state", "_step"),
    *("_tokens", "_units", "_weight_init"),
)  # fmt: skip


@pytest.mark.parametrize("name", PLAUSIBLE)
def test_private_names_of_users_are_free(name: str) -> None:
    def helper(layer: Any, features: int) -> None:
        layer.factor = layer.add_weight(shape=(features,), initializer="ones")

    class Helped(keras.layers.Layer):
        def build(self, input_shape: Any) -> None:
            getattr(self, name)(input_shape[-1])

        def call(self, inputs: Any) -> Any:
            return inputs * self.factor

    class Network(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.scale: Any = type("OfUser", (Helped,), {name: helper})()
            setattr(self, name, {"nodes": 3})
            self.last = keras.layers.Dense(2)
            setattr(self.last, name, {"nodes": 4})

        def call(self, inputs: Any) -> Any:
            return self.last(self.scale(inputs))

    model = compiled(Network(), "sgd", "mse")
    model.fit(X, X[:, :2], verbose=0)
    assert model.predict(X, verbose=0).shape == (24, 2)
    assert len(model.weights) == 3
    assert getattr(model, name) == {"nodes": 3}
    assert getattr(model.last, name) == {"nodes": 4}


@pytest.mark.parametrize("kind", [keras.layers.Layer, keras.Model, keras.Sequential, keras.layers.Dropout])
def test_private_names_of_the_library_are_refused(kind: type) -> None:
    """A class that took one would change what the library computes."""
    private = {
        name: getattr(kind, name) for name in dir(kind) if name.startswith("_") and not name.endswith("__")
    }
    assert len(private) > 60
    for name in private:
        with pytest.raises(
            TypeError, match=rf"OfUser can't define `{name}`, which \w+ of the library uses itself"
        ):
            type("OfUser", (kind,), {name: lambda self: 1})
        with pytest.raises(TypeError, match="another name"):
            type("OfUser", (type("Mixin", (), {name: 1}), kind), {})
    made: Any = kind.__new__(kind)
    for name, value in private.items():
        if isinstance(value, (types.FunctionType, property)):
            with pytest.raises(
                AttributeError, match=f"`{name}` of {kind.__name__} can't be assigned.*take another name"
            ):
                setattr(made, name, 1)


class Abstract(abc.ABC):
    @abc.abstractmethod
    def of_user(self) -> int: ...


class Answering(Protocol):
    def of_user(self) -> int: ...


@pytest.mark.parametrize("mixin", [object, Abstract, Answering, Generic[TypeVar("T")]], ids=str)
def test_classes_of_all_layers_and_models_may_be_derived_from(mixin: Any) -> None:
    kinds = [keras.Model, keras.Sequential, *vars(keras.layers).values()]
    kinds = [
        kind
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, (keras.layers.Layer, keras.Model))
    ]
    assert len(kinds) > 60
    for kind in kinds:
        bases = (kind,) if mixin is object else (mixin, kind)
        derived = types.new_class("OfUser", bases, {}, lambda body: body.update(of_user=lambda self: 3))
        further = types.new_class("Further", (derived,), {}, lambda body: body.update(_of_user=4))
        assert issubclass(further, kind)
