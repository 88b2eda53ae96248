"""Tests of how a Sequential is built, inspected and summarized."""

from __future__ import annotations

import copy
import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Blobs, classifier, same_weights

import engine as keras
from engine.layers import Dense, Dropout, Flatten, InputLayer


def shapes(model: keras.Sequential) -> list[tuple[int, ...]]:
    return [array.shape for array in model.get_weights()]


@pytest.mark.parametrize(
    "layers",
    [
        [keras.Input((4,)), Dense(3), Dense(2)],
        [InputLayer((4,)), Dense(3), Dense(2)],
        [InputLayer(input_shape=(4,)), Dense(3), Dense(2)],
        [InputLayer(shape=[4]), Dense(3), Dense(2)],
        [Dense(3, input_shape=(4,)), Dense(2)],
        [Dense(3, input_dim=4), Dense(2)],
        [Flatten(input_shape=(2, 2)), Dense(3), Dense(2)],
    ],
)
def test_input_shape_can_be_given_in_every_way(layers: list[keras.layers.Layer]) -> None:
    model = keras.Sequential(layers)
    assert model.built
    assert shapes(model) == [(4, 3), (3,), (3, 2), (2,)]
    assert model.output_shape == (None, 2)
    assert not any(isinstance(layer, InputLayer) for layer in model.layers)


def test_models_grow_layer_by_layer() -> None:
    model = keras.Sequential(name="net")
    model.add(keras.Input((4,)))
    assert not model.built
    model.add(Dense(3))
    first = model.get_weights()
    model.add(Dense(2, use_bias=False))
    assert shapes(model) == [(4, 3), (3,), (3, 2)]
    assert np.array_equal(model.get_weights()[0], first[0])
    assert (model.name, model.input_shape, model.output_shape) == ("net", (None, 4), (None, 2))
    assert model.count_params() == 12 + 3 + 6


def test_without_input_shape_the_first_data_builds() -> None:
    model = keras.Sequential([Flatten(), Dense(2)])
    assert (model.built, model.weights, model.get_weights()) == (False, [], [])
    with pytest.raises(AttributeError, match="has no input shape yet"):
        _ = model.input_shape
    assert model.predict(np.ones((5, 2, 3), np.float32)).shape == (5, 2)
    assert model.input_shape == (None, 2, 3)


def test_build_makes_the_weights() -> None:
    model = keras.Sequential([Dense(2)])
    model.build((None, 7))
    assert shapes(model) == [(7, 2), (2,)]
    model.build((None, 7))
    with pytest.raises(ValueError, match=r"has input shape \(None, 7\), so it can't take \(None, 8\)"):
        model.build((None, 8))


def test_pop_returns_the_layer_with_its_weights() -> None:
    model = keras.Sequential([Dense(3, input_shape=(4,)), Dense(2)])
    before = model.get_weights()
    layer = model.pop()
    assert (len(model.layers), model.output_shape) == (1, (None, 3))
    assert np.array_equal(layer.get_weights()[0], before[2])
    model.add(layer)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))
    other = keras.Sequential([keras.Input((3,)), model.pop()])
    assert np.array_equal(other.get_weights()[0], before[2])
    model.pop()
    assert not model.built
    with pytest.raises(ValueError, match="has no layers to pop"):
        model.pop()


def test_a_model_trained_and_extended_goes_on(blobs: Blobs) -> None:
    model = classifier()
    model.fit(blobs.x, blobs.y, verbose=0)
    before = model.get_weights()
    model.add(Dense(3, activation="softmax"))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=False))
    model.fit(blobs.x, blobs.y, verbose=0)
    assert model.optimizer.iterations == 5


def test_names_are_numbered_and_unique() -> None:
    first, second = Dense(1), Dense(1)
    stem, _, number = second.name.rpartition("_")
    assert first.name in {"dense", f"dense_{int(number) - 1}"}
    assert stem == "dense"
    with pytest.raises(ValueError, match="two layers are named 'same'"):
        keras.Sequential([Dense(1, name="same"), Dense(2, name="same")])


def test_get_layer_by_name_and_index() -> None:
    model = keras.Sequential([Dense(3, name="hidden", input_shape=(4,)), Dense(2, name="out")])
    assert model.get_layer("hidden") is model.layers[0]
    assert model.get_layer(index=-1) is model.layers[1]
    with pytest.raises(ValueError, match="no layer is named 'hiden'; did you mean 'hidden'"):
        model.get_layer("hiden")
    with pytest.raises(ValueError, match="`index` must be"):
        model.get_layer(index=2)
    with pytest.raises(ValueError, match="either `name` or `index`"):
        model.get_layer()


def test_a_layer_outlives_its_model() -> None:
    layer = Dense(2, input_shape=(3,))
    model = keras.Sequential([layer])
    weights = model.get_weights()
    gone = weakref.ref(model)
    del model
    assert gone() is None
    assert np.array_equal(keras.Sequential([keras.Input((3,)), layer]).get_weights()[0], weights[0])


def test_a_layer_that_does_not_fit_changes_nothing() -> None:
    model = keras.Sequential([keras.Input((2, 3))])
    model.add(Flatten())
    before = model.get_config()
    with pytest.raises(TypeError, match=r"objects of engine\.layers and of models, got .*add \(\)"):
        model.add(Dense)
    with pytest.raises(ValueError, match="must come first"):
        model.add(keras.Input((3,)))
    model.pop()
    with pytest.raises(ValueError, match=r"can't reshape \(n, 2, 3\).*has 6 numbers"):
        model.add(keras.layers.Reshape((4,)))
    model.add(Flatten(name=before["layers"][1]["config"]["name"]))
    assert model.get_config() == before


def test_weights_are_variables_and_their_values_of_a_moment(blobs: Blobs) -> None:
    model = classifier()
    kernel, layer = model.weights[0], model.layers[0]
    assert isinstance(layer, Dense)
    assert np.array_equal(kernel, layer.kernel)
    before, value = kernel.numpy(), kernel.value
    model.fit(blobs.x, blobs.y, verbose=0)
    assert kernel is layer.kernel
    assert not np.array_equal(kernel, before)
    assert np.array_equal(value, before)
    with pytest.raises(ValueError, match="read-only"):
        value[0, 0] = 1.0
    copied = model.get_weights()[0]
    copied[:] = 0.0
    assert copied.flags.c_contiguous
    assert np.any(kernel)


def test_set_weights_round_trip(blobs: Blobs) -> None:
    model, other = classifier(), classifier()
    assert not same_weights(model, other)
    other.set_weights(model.get_weights())
    assert same_weights(model, other)
    assert np.array_equal(model.predict(blobs.x), other.predict(blobs.x))
    kernel, bias = other.layers[0].get_weights()
    other.layers[0].set_weights([np.asfortranarray(kernel.astype(np.float64)) * 2, bias.tolist()])
    assert np.array_equal(other.get_weights()[0], 2 * kernel)
    assert np.array_equal(other.get_weights()[2], model.get_weights()[2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w[:-1], "has 4 weight arrays, got 3"),
        (lambda w: [w[0].T, *w[1:]], r"`weights\[0\]` of .* must have shape \(6, 8\), got \(8, 6\)"),
        (lambda w: [*w[:3], w[3].astype(str)], r"`weights\[3\]` of .* must hold real numbers, got dtype <U"),
    ],
)
def test_set_weights_takes_what_fits(change: object, message: str) -> None:
    model = classifier()
    before = model.get_weights()
    with pytest.raises((ValueError, TypeError), match=message):
        model.set_weights(change(before))
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))


def test_methods_that_need_weights_say_so() -> None:
    model, layer = keras.Sequential([Dense(2)]), Dense(2)
    for act in (
        model.count_params,
        lambda: model.set_weights([np.ones((3, 2))]),
        layer.count_params,
        lambda: layer.set_weights([np.ones((3, 2))]),
    ):
        with pytest.raises(ValueError, match="has no weights yet"):
            act()
    with pytest.raises(AttributeError, match="has no weights yet, so no kernel"):
        _ = layer.kernel
    with pytest.raises(ValueError, match="has no layers"):
        keras.Sequential().predict(np.ones((1, 1)))
    with pytest.raises(ValueError, match="`input_shape` is missing"):
        model.build()
    with pytest.raises(ValueError, match="must start with the batch axis"):
        model.build((784,))


def test_config_round_trip() -> None:
    model = keras.Sequential(
        [
            keras.layers.Rescaling(0.5, offset=-1, input_shape=(2, 2)),
            Flatten(),
            Dense(3, "relu", kernel_regularizer=keras.regularizers.L2(0.1), bias_initializer="ones"),
            Dropout(0.25, seed=3),
            Dense(2, use_bias=False, kernel_initializer=keras.initializers.Constant(0.5)),
            keras.layers.Activation("softmax"),
        ],
        name="net",
    )
    config = model.get_config()
    twin = keras.Sequential.from_config(json.loads(json.dumps(config)))
    assert json.dumps(twin.get_config()) == json.dumps(config)
    assert shapes(twin) == shapes(model)
    twin.set_weights(model.get_weights())
    x = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    assert np.array_equal(twin.predict(x), model.predict(x))


def test_frozen_layers_keep_their_weights(blobs: Blobs) -> None:
    model = classifier()
    model.layers[0].trainable = False
    model.compile("adam", "sparse_categorical_crossentropy")
    assert [w.shape for w in model.trainable_weights] == [(8, 3), (3,)]
    assert [w.shape for w in model.non_trainable_weights] == [(6, 8), (8,)]
    before = model.get_weights()
    model.fit(blobs.x, blobs.y, verbose=0)
    changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert changed == [False, False, True, True]


SUMMARY = """\
Model: "net"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━┓
┃ Layer (type)             ┃ Output Shape      ┃   Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━┩
│ flatten (Flatten)        │ (None, 784)       │         0 │
├──────────────────────────┼───────────────────┼───────────┤
│ hidden (Dense)           │ (None, 128)       │   100,480 │
├──────────────────────────┼───────────────────┼───────────┤
│ a_layer_with_a_long_name │ (None, 10)        │     1,290 │
│ (Dense)                  │                   │           │
└──────────────────────────┴───────────────────┴───────────┘
 Total params: 101,770 (397.54 KB)
 Trainable params: 101,770 (397.54 KB)
 Non-trainable params: 0 (0.00 B)
"""


def test_summary_is_keras_table() -> None:
    model = keras.Sequential(
        [
            Flatten(input_shape=(28, 28), name="flatten"),
            Dense(128, name="hidden"),
            Dense(10, "softmax", name="a_layer_with_a_long_name"),
        ],
        name="net",
    )
    printed: list[str] = []
    model.summary(line_length=60, print_fn=printed.append)
    assert printed == [SUMMARY]
    with pytest.raises(ValueError, match="`line_length` must be at least 40"):
        model.summary(line_length=20)


def test_summary_of_an_unbuilt_model(capsys: pytest.CaptureFixture[str]) -> None:
    keras.Sequential([Dense(2, name="hidden")]).summary()
    text = capsys.readouterr().out
    assert "│ hidden (Dense)" in text
    assert "│ ? " in text
    assert "0 (unbuilt) │" in text


def test_summary_counts_the_optimizer_after_training(blobs: Blobs) -> None:
    model = classifier()
    printed: list[str] = []
    model.summary(print_fn=printed.append)
    model.train_on_batch(blobs.x, blobs.y)
    model.summary(print_fn=printed.append)
    assert "Optimizer" not in printed[0]
    assert " Total params: 251 (1004.00 B)" in printed[1]
    assert " Optimizer params: 168 (672.00 B)" in printed[1]


def test_layers_cannot_change_while_fitting(blobs: Blobs) -> None:
    model = classifier()
    grow = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: model.add(Dense(2)))
    with pytest.raises(RuntimeError, match="can't be given other layers while it is being fitted"):
        model.fit(blobs.x, blobs.y, verbose=0, callbacks=[grow])
    model.add(Dense(2))


def test_optimizers_are_copied_by_config() -> None:
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    assert copy.copy(optimizer).get_config() == optimizer.get_config()


@pytest.mark.parametrize("shape", [(3,), (None,), (2, 3)])
def test_models_without_layers_return_their_inputs(shape: tuple[int | None, ...], tmp_path: Path) -> None:
    inputs = keras.Input(shape)
    model = keras.Model(inputs, inputs)
    x = np.random.default_rng(0).normal(size=(5, *(each or 4 for each in shape))).astype(np.float32)
    model.save(tmp_path / "model.keras")
    for each in (model, keras.models.load_model(tmp_path / "model.keras")):
        np.testing.assert_array_equal(each.predict(x, verbose=0), x)
        np.testing.assert_array_equal(each(x), x)
    model.compile("sgd", "mse")
    assert model.evaluate(x, x + 2, verbose=0) == pytest.approx(4.0)
    pair = keras.Input((3,)), keras.Input((2,))
    swapped = keras.Model([*pair], [pair[1], pair[0]])
    found = swapped.predict([np.ones((2, 3)), np.zeros((2, 2))], verbose=0)
    assert [each.tolist() for each in found] == [[[0.0] * 2] * 2, [[1.0] * 3] * 2]


def test_a_sequential_without_layers_says_so() -> None:
    model = keras.Sequential([keras.Input((3,))])
    for run in (model, model.predict, model.predict_on_batch):
        with pytest.raises(ValueError, match=r"has no layers: add some with model\.add\(\)"):
            run(np.ones((2, 3)))
    model.add(keras.layers.Dense(1))
    assert model.predict(np.ones((2, 3)), verbose=0).shape == (2, 1)


class Own(keras.Model):
    def __init__(self, units: int, scale: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.dense, self.scale = keras.layers.Dense(units), scale

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs) * self.scale


def test_models_with_arguments_of_their_own_are_cloned() -> None:
    x = np.ones((2, 3), np.float32)
    for model in (Own(4, scale=2.0, name="own"), Own(units=4)):
        model(x)
        model.compile("sgd", "mse")
        copy = keras.models.clone_model(model)
        assert type(copy) is Own
        assert (copy.name, copy.dense.units, copy.scale) == (model.name, 4, model.scale)
        assert copy.compiled
        copy.set_weights(model.get_weights())
        np.testing.assert_array_equal(copy(x), model(x))
        copy.fit(x, np.zeros((2, 4)), verbose=0)
        assert not np.array_equal(copy(x), model(x))


def test_attributes_that_hold_themselves() -> None:
    class Circular(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.listed: list[Any] = [keras.layers.Dense(2)]
            self.listed.append(self.listed)
            self.named: dict[str, Any] = {"layers": self.listed}
            self.named["again"] = self.named

        def call(self, inputs: Any) -> Any:
            return self.listed[0](inputs)

    class InLayer(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.held: list[Any] = [keras.Variable(2.0)]
            self.held.append(self.held)

        def call(self, inputs: Any) -> Any:
            return inputs * self.held[0]

    x = np.ones((2, 3), np.float32)
    model = Circular()
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((2, 2)), verbose=0)
    assert len(model.weights) == 2
    layer = InLayer()
    np.testing.assert_array_equal(layer(x), 2 * x)
    assert len(layer.weights) == 1
    assert layer.metrics == []


def test_code_in_a_namespace_without_a_name() -> None:
    names: dict[str, Any] = {"keras": keras}
    code = """
def double(x):
    return x * 2
def error(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)
class Halved(keras.layers.Layer):
    def call(self, x):
        return x / 2
class Error(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return error(y_true, y_pred)
class Model(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1, activation=double)
    def call(self, x):
        return self.dense(x)
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation=double), Halved(), keras.layers.Lambda(double)])
"""
    exec(code, names)
    x = np.ones((2, 3), np.float32)
    for loss in (names["Error"](), names["error"]):
        for model in (names["model"], names["Model"]()):
            model.compile("sgd", loss, metrics=[names["error"]])
            model.fit(x, x[:, :1] if model.name.startswith("model") else x[:, :2], verbose=0)
    with keras.saving.custom_object_scope({name: names[name] for name in ("double", "Halved")}):
        again = keras.Sequential.from_config(names["model"].get_config())
    again.set_weights(names["model"].get_weights())
    np.testing.assert_array_equal(again(x), names["model"](x))


def test_layers_take_one_row_for_each_sample() -> None:
    one, other = keras.Input((3,)), keras.Input((3,))
    joined = keras.ops.concatenate([one, other], axis=0)
    with pytest.raises(ValueError, match=r"takes one row for each sample.*\(2 \* None, 3\): call it before"):
        keras.layers.Dense(2)(joined)
    mean = keras.Model([one, other], one + keras.ops.mean(joined, axis=0))
    x = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(mean.predict([x, 3 * x], verbose=0), 3 * x)


def test_a_model_of_nothing_is_made_and_says_what_it_lacks() -> None:
    class Empty(keras.Model):
        pass

    for model in (keras.Model(), Empty(), keras.Model(name="mine")):
        assert not model.built
        assert model.layers == []
        with pytest.raises(NotImplementedError, match="give it one"):
            model(np.ones((2, 3)))
        with pytest.raises(AttributeError, match=r"`Model\.layers` attribute is reserved"):
            model.layers = [Dense(4)]
    assert type(keras.Model()) is keras.Model
    with pytest.raises(TypeError, match="`outputs` must be"):
        keras.Model(keras.Input((3,)))


class TwoInputs(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.last = Dense(2)

    def call(self, inputs: Any) -> Any:
        return self.last(inputs["a"] + inputs["b"])


def test_a_build_that_fails_changes_nothing() -> None:
    rows = np.ones((3, 4), np.float32)
    own = TwoInputs()
    chain = keras.Sequential([Dense(3), keras.layers.Reshape((2, 2))])
    cases: list[tuple[Any, Any]] = [(own, {"a": rows, "b": rows[:, :3]}), (chain, rows)]
    for model, wrong in cases:
        before = dict(vars(model))
        with pytest.raises(ValueError, match=r"shape|broadcast|size"):
            model.predict(wrong, verbose=0)
        assert {name for name, value in vars(model).items() if before[name] is not value} == set()
    assert own.predict({"a": rows, "b": rows}, verbose=0).shape == (3, 2)
