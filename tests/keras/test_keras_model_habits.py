"""Compares uses of models with Keras: assigning an optimizer, cloning, restoring from a config, adding an axis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from common import assert_all_close, assert_all_equal

import engine

APIS = pytest.mark.parametrize("api", [engine, keras], ids=["engine", "keras"])
X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
Y = np.arange(8) % 2


def compiled(api: Any, **options: Any) -> Any:
    model = api.Sequential(
        [api.Input((3,)), api.layers.Dense(4, "relu"), api.layers.Dense(2, "softmax")], name="habits"
    )
    model.compile(**({"optimizer": "sgd", "loss": "sparse_categorical_crossentropy"} | options))
    return model


@APIS
def test_run_eagerly_may_be_assigned(api: Any) -> None:
    model = compiled(api)
    assert model.run_eagerly is False
    model.run_eagerly = True
    assert model.run_eagerly is True
    model.fit(X, Y, verbose=0)


def test_an_optimizer_may_be_assigned_and_trains_from_then_on() -> None:
    found = []
    for api in (keras, engine):
        model = compiled(api)
        if found:
            model.set_weights(found[0][0])
        start = [np.array(weight) for weight in model.get_weights()]
        model.fit(X, Y, verbose=0, shuffle=False)
        model.optimizer = api.optimizers.Adam(0.01)
        model.fit(X, Y, verbose=0, shuffle=False, batch_size=4)
        found.append(
            (start, model.get_weights(), type(model.optimizer).__name__, int(model.optimizer.iterations))
        )
    assert_all_close(found[1][1], found[0][1], rtol=1e-5, atol=1e-6)
    assert found[1][2:] == found[0][2:] == ("Adam", 2)


@APIS
def test_an_optimizer_may_be_assigned_before_compile(api: Any) -> None:
    model = api.Sequential([api.Input((3,)), api.layers.Dense(2)])
    model.optimizer = api.optimizers.Adam(0.01)
    assert type(model.optimizer).__name__ == "Adam"
    model.compile(loss="mse")
    assert type(model.optimizer).__name__ == "RMSprop"


def test_what_is_no_optimizer_changes_nothing() -> None:
    model = compiled(engine)
    before = model.optimizer
    with pytest.raises(ValueError, match="unknown `optimizer` 'adm'; did you mean 'adam'"):
        model.optimizer = "adm"
    assert model.optimizer is before
    model.fit(X, Y, verbose=0)


@APIS
def test_a_clone_is_compiled_as_the_model_is(api: Any) -> None:
    model = compiled(api, metrics=["accuracy"])
    model.fit(X, Y, verbose=0)
    copy = api.models.clone_model(model)
    assert copy.compiled
    assert copy.optimizer is not model.optimizer
    assert int(copy.optimizer.iterations) == 0
    copy.fit(X, Y, verbose=0)
    assert len(copy.evaluate(X, Y, verbose=0)) == 2
    assert not api.models.clone_model(api.Sequential([api.Input((3,)), api.layers.Dense(2)])).compiled


def stacked(api: Any) -> Any:
    class Stacked(api.Sequential):  # type: ignore[misc] # either library's
        def __init__(self, units: int = 4, **options: Any) -> None:
            super().__init__(**options)
            self.units = units
            self.add(api.layers.Dense(units, "relu"))
            self.add(api.layers.Dense(2))

        def get_config(self) -> dict[str, Any]:
            return {"units": self.units}

        @classmethod
        def from_config(cls, config: Any, custom_objects: Any = None) -> Any:
            return cls(**config)

    return Stacked


@APIS
def test_a_class_with_a_config_of_its_own(api: Any, tmp_path: Path) -> None:
    kind = stacked(api)
    model = kind(7)
    model.build((None, 3))
    again = kind.from_config(model.get_config())
    assert (type(again), again.units) == (kind, 7)
    assert type(api.models.clone_model(model)) is api.Sequential
    path = tmp_path / "m.keras"
    model.save(path)
    loaded = api.models.load_model(path, custom_objects={"Stacked": kind})
    assert (type(loaded).__name__, loaded.units) == ("Stacked", 7)
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))


@APIS
def test_the_config_of_a_model_with_arguments_of_its_own(api: Any) -> None:
    class Linear(api.Model):  # type: ignore[misc] # either library's
        def __init__(self, units: int = 3) -> None:
            inputs = api.Input((3,))
            super().__init__(inputs=inputs, outputs=api.layers.Dense(units)(inputs))
            self.units = units

        def get_config(self) -> dict[str, Any]:
            return {"units": self.units}

    again = Linear.from_config(Linear(5).get_config())
    assert (type(again).__name__, again.output_shape) == ("Linear", (None, 5))
    with pytest.raises(TypeError, match=r"config"):
        Linear.from_config({"width": 5})


@APIS
@pytest.mark.parametrize(
    ("sample", "given"),
    [((3,), X[..., None]), ((3, 1), X), ((1,), X[:, 0]), ((1,), X[:, :1, None]), ((1, 1), X[:, :1])],
    ids=["(3,)", "(3, 1)", "(1,)", "(1,) of (n, 1, 1)", "(1, 1)"],
)
def test_a_last_axis_of_length_1_may_be_missing_or_more(
    api: Any, sample: tuple[int, ...], given: Any
) -> None:
    model = api.Sequential([api.Input(sample), api.layers.Flatten(), api.layers.Dense(2, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(given, Y, verbose=0)
    usual = given.reshape(len(given), *sample)
    np.testing.assert_array_equal(model.predict(given, verbose=0), model.predict(usual, verbose=0))
    np.testing.assert_array_equal(np.asarray(model(given)), np.asarray(model(usual)))
    assert model.evaluate(given, Y, verbose=0) == model.evaluate(usual, Y, verbose=0)
    assert model.train_on_batch(given, Y) > 0
    with engine.GradientTape() as tape:
        outputs = model(given) if api is engine else None
        loss = None if outputs is None else engine.ops.sum(outputs * outputs)
    if loss is not None:
        assert all(gradient is not None for gradient in tape.gradient(loss, model.trainable_variables))
    outer = api.Input(given.shape[1:])
    outer_model = api.Model(outer, model(outer))
    np.testing.assert_array_equal(np.asarray(outer_model(given)), np.asarray(model(usual)))


def functional(api: Any, **options: Any) -> Any:
    inputs = api.Input((3,))
    return api.Model(inputs, api.layers.Dense(2, "softmax")(inputs), **options)


def sequential(api: Any, **options: Any) -> Any:
    return api.Sequential([api.Input((3,)), api.layers.Dense(2, "softmax")], **options)


@APIS
@pytest.mark.parametrize("make", [functional, sequential])
def test_models_that_do_not_learn(api: Any, make: Any) -> None:
    model = make(api, trainable=False, name="still")
    assert (model.name, model.trainable, model.layers[-1].trainable) == ("still", False, True)
    assert (len(model.weights), len(model.trainable_weights)) == (2, 0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    assert_all_equal(before, model.get_weights())
    if api is engine or make is functional:  # Keras' Sequential loses it
        again = type(model).from_config(model.get_config())
        assert (again.trainable, len(again.trainable_weights)) == (False, 0)
    assert make(api).trainable


def test_trainable_of_a_model_is_a_flag() -> None:
    for make in (functional, sequential):
        with pytest.raises(TypeError, match="`trainable` must be True or False, got 'no'"):
            make(engine, trainable="no")


@APIS
def test_a_clone_with_another_input(api: Any) -> None:
    model, inputs = functional(api), api.Input((3,), name="other")
    copy = api.models.clone_model(model, input_tensors=inputs)
    assert copy.inputs[0].name == "other"
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(copy.predict(X, verbose=0), model.predict(X, verbose=0))
    with pytest.raises(ValueError, match="input_tensors"):
        api.models.clone_model(model, input_tensors=[inputs, api.Input((3,))])


@APIS
def test_jit_compile_may_be_assigned(api: Any) -> None:
    model = compiled(api)
    assert model.jit_compile is True
    model.jit_compile = False
    model.fit(X, Y, verbose=0)
    assert (model.jit_compile, compiled(api, jit_compile=False).jit_compile) == (False, False)


@APIS
def test_a_loaded_model_has_the_object_of_its_loss(api: Any, tmp_path: Path) -> None:
    class Scaled(api.losses.Loss):  # type: ignore[name-defined, misc]
        def __init__(self, factor: float = 1.0, **options: Any) -> None:
            super().__init__(**options)
            self.factor = factor

        def call(self, y_true: Any, y_pred: Any) -> Any:
            return api.ops.mean(api.ops.square(y_true - y_pred), axis=-1) * self.factor

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "factor": self.factor}

    for loss in (Scaled(2.0), [Scaled(3.0)], "mse", api.losses.Huber()):
        model = functional(api)
        model.compile("sgd", loss)
        model.save(tmp_path / "model.keras")
        again = api.saving.load_model(tmp_path / "model.keras", custom_objects={"Scaled": Scaled})
        if isinstance(loss, list):
            assert [each.factor for each in again.loss] == [3.0]
        elif isinstance(loss, str):
            assert again.loss == loss
        else:
            assert type(again.loss) is type(loss)
            assert getattr(again.loss, "factor", 2.0) == 2.0


@APIS
def test_a_layer_of_an_integer_dtype(api: Any) -> None:
    class Counts(api.layers.Layer):  # type: ignore[name-defined, misc]
        def __init__(self, tokens: int, dtype: Any = "int32", **options: Any) -> None:
            super().__init__(dtype=dtype, **options)
            self.tokens = tokens

        def call(self, inputs: Any) -> Any:
            one_hot = api.ops.one_hot(api.ops.cast(inputs, "int32"), self.tokens)
            return api.ops.cast(api.ops.sum(one_hot, axis=1), "float32")

    layer = Counts(3)
    assert layer.dtype == "int32"
    np.testing.assert_array_equal(np.asarray(layer(np.array([[1, 2, 2]]))), [[0, 1, 2]])
    model = api.Sequential([api.Input((3,), dtype="int32"), layer, api.layers.Dense(1)])
    assert model.predict(np.array([[1, 2, 2]]), verbose=0).shape == (1, 1)


@APIS
def test_inputs_of_a_layer_by_name(api: Any) -> None:
    class Scaled(api.layers.Layer):  # type: ignore[name-defined, misc]
        def call(self, values: Any, factor: Any = None) -> Any:
            return values if factor is None else values * factor

    layer = Scaled()
    np.testing.assert_array_equal(np.asarray(layer(values=X, factor=2.0)), 2 * X)
    inputs, factors = api.Input((3,)), api.Input((1,))
    model = api.Model([inputs, factors], layer(factor=factors, values=inputs))
    given = np.full((len(X), 1), 3, np.float32)
    np.testing.assert_array_equal(model.predict([X, given], verbose=0), 3 * X)
    with pytest.raises(TypeError):
        layer(factor=2.0)
    with pytest.raises(TypeError):
        api.layers.Dense(2)()
