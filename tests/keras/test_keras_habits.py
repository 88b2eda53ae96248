"""Compares usual idioms of scripts with Keras: names, seeds, dtypes, identifiers, empty batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from common import compiled

import engine

APIS = pytest.mark.parametrize("api", [keras, engine], ids=lambda api: api.__name__)


def test_names_of_optimizers() -> None:
    found = []
    for api in (keras, engine):
        api.utils.clear_session()
        makers = ["Adam", "Adam", "AdamW", "SGD", "RMSprop", "ScheduleFreeAdamW", "Adam"]
        names = [getattr(api.optimizers, name)().name for name in makers]
        named = api.optimizers.Adam(name="mine")
        again = api.optimizers.Adam.from_config(named.get_config())
        found.append([*names, named.name, again.name, api.optimizers.get("adam").name])
    assert found[0] == found[1]
    assert found[1][:2] == ["adam", "adam_1"]


@APIS
def test_iterations(api: Any) -> None:
    model = compiled(api.Sequential([api.Input((2,)), api.layers.Dense(1)]), "adam", "mse")
    assert int(model.optimizer.iterations) == 0
    model.train_on_batch(np.ones((4, 2)), np.ones((4, 1)))
    assert int(model.optimizer.iterations) == 1


@APIS
def test_dtypes(api: Any) -> None:
    assert api.losses.MeanSquaredError().dtype == "float32"
    assert api.metrics.AUC().dtype == "float32"
    assert api.metrics.AUC().get_config()["dtype"] == "float32"
    assert api.layers.Dense(1).dtype == "float32"
    assert api.metrics.MeanSquaredError.from_config({"name": "x", "dtype": "float32"}).name == "x"


MODULES = "optimizers losses metrics initializers regularizers constraints activations"


@APIS
@pytest.mark.parametrize("module", MODULES.split())
@pytest.mark.parametrize(
    "identifier", ["nonsense", 3, 2.5, [1], (), b"adam", object()], ids=lambda each: type(each).__name__
)
def test_identifiers_that_stand_for_nothing(api: Any, module: str, identifier: Any) -> None:
    with pytest.raises(ValueError, match=r"Could not interpret|unknown|must be"):
        getattr(api, module).get(identifier)


@APIS
def test_none_stays_none(api: Any) -> None:
    for module in MODULES.split()[:-1]:
        assert getattr(api, module).get(None) is None
    assert api.activations.get(None) is api.activations.linear


def test_a_model_needs_an_optimizer() -> None:
    """The error comes in `fit`, as in Keras."""
    model = compiled(engine.Sequential([engine.layers.Dense(1)]), None, "mse")
    with pytest.raises(ValueError, match="the model was compiled with `optimizer=None`"):
        model.fit(np.ones((2, 1)), np.ones(2))


@APIS
@pytest.mark.parametrize(
    "name", ["RandomNormal", "RandomUniform", "TruncatedNormal", "GlorotUniform", "HeNormal", "Orthogonal"]
)
def test_a_generator_as_the_seed_of_an_initializer(api: Any, name: str) -> None:
    make = getattr(api.initializers, name)
    drawn = make(seed=api.random.SeedGenerator(3))
    first, second = (np.asarray(drawn((4, 5))) for _ in range(2))
    assert not np.array_equal(first, second)  # while an integer seed gives the same numbers again
    same = make(seed=api.random.SeedGenerator(3))
    assert np.array_equal(np.asarray(same((4, 5))), first)
    config = drawn.get_config()["seed"]
    assert (config["module"], config["class_name"]) == ("keras.random", "SeedGenerator")
    assert config["config"]["seed"] == 3
    again = make.from_config(drawn.get_config())
    assert np.array_equal(np.asarray(again((4, 5))), first)
    layer = api.layers.Dense(2, kernel_initializer=make(seed=api.random.SeedGenerator(3)))
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


@APIS
def test_a_generator_is_no_seed_of_a_layer(api: Any) -> None:
    for make in (api.layers.Dropout, api.layers.GaussianNoise, api.layers.RandomZoom):
        with pytest.raises(ValueError, match="`seed` must be an integer"):
            make(0.1, seed=api.random.SeedGenerator(1))


@APIS
@pytest.mark.parametrize("kind", [np.array, list])
def test_rescaling_by_several_numbers(api: Any, kind: Any) -> None:
    layer = api.layers.Rescaling(kind([2.0, 3.0]), offset=kind([0.0, 1.0]))
    model = api.Sequential([api.Input((2,)), layer])
    again = api.models.model_from_json(model.to_json())
    for one in (model, again):
        assert np.asarray(one.predict(np.ones((1, 2)), verbose=0)).tolist() == [[2, 4]]


@APIS
def test_batches_without_samples(api: Any) -> None:
    model = api.Sequential([api.Input((2,)), api.layers.Dense(3, activation="softmax")])
    nothing = np.zeros((0, 2), np.float32)
    assert np.asarray(model(nothing)).shape == (0, 3)
    assert np.asarray(model.predict_on_batch(nothing)).shape == (0, 3)
    assert np.asarray(api.layers.Dense(4)(nothing)).shape == (0, 4)
    assert np.asarray(api.layers.Flatten()(np.zeros((0, 2, 3)))).shape == (0, 6)
    metric = api.metrics.MeanSquaredError()
    metric.update_state(nothing, nothing)
    assert float(metric.result()) == 0
    with pytest.raises(ValueError, match="shape"):
        model(np.zeros((0, 5), np.float32))


@APIS
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict", "train_on_batch"])
def test_nothing_can_be_learnt_from_no_samples(api: Any, method: str) -> None:
    """Keras fails in various ways. The engine's message says what is wrong."""
    model = compiled(api.Sequential([api.Input((2,)), api.layers.Dense(3)]), "sgd", "mse")
    data = (np.zeros((0, 2)), np.zeros((0, 3)))[: 1 if method == "predict" else 2]
    with pytest.raises(Exception, match=r"`x` is empty, of shape \(0, 2\)" if api is engine else ""):
        getattr(model, method)(*data)


@APIS
def test_results_have_a_dtype_and_a_shape(api: Any) -> None:
    loss = api.losses.MeanSquaredError()(np.ones((2, 3)), np.zeros((2, 3)))
    metric = api.metrics.MeanSquaredError()
    metric.update_state(np.ones((2, 3)), np.zeros((2, 3)))
    for result in (loss, metric.result()):
        assert (str(result.dtype), tuple(result.shape), result.ndim) == ("float32", (), 0)
    steps = api.optimizers.Adam().iterations
    assert (str(steps.dtype), tuple(steps.shape), steps.ndim) == ("int32", (), 0)
    assert bool(steps == 0)


@APIS
@pytest.mark.parametrize("name", ["Precision", "Recall", "FalsePositives", "TruePositives", "AUC", "F1Score"])
def test_results_of_counts_have_a_dtype_and_a_shape(api: Any, name: str) -> None:
    metric = getattr(api.metrics, name)()
    metric.update_state(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[0.3, 0.7], [0.4, 0.6]]))
    shape = (2,) if name == "F1Score" else ()
    assert (str(metric.result().dtype), tuple(metric.result().shape)) == ("float32", shape)
    if name == "Precision":
        several = api.metrics.Precision(thresholds=[0.2, 0.5])
        assert (str(several.result().dtype), tuple(several.result().shape)) == ("float32", (2,))


def indices(api: Any, kind: str) -> Any:
    """Returns a model whose outputs are integers, bools and floats."""
    if kind == "call":

        class Largest(api.Model):
            def call(self, inputs: Any) -> Any:
                return {"index": api.ops.argmax(inputs, axis=-1), "sign": inputs > 0, "same": inputs}

        return Largest()
    inputs = api.Input((3,))
    outputs = [api.ops.argmax(inputs, axis=-1), inputs > 0, inputs * 2]
    return api.Model(inputs, outputs[0] if kind == "one" else outputs)


@APIS
@pytest.mark.parametrize("kind", ["one", "several", "call"])
def test_outputs_that_are_integers_can_be_used_as_indices(api: Any, kind: str, tmp_path: Path) -> None:
    x = np.float32([[1, 2, 0], [3, 0, 0]])
    model = indices(api, kind)
    found = [
        model.predict(x, verbose=0),
        model.predict(x, batch_size=1, verbose=0),
        model.predict_on_batch(x),
        model(x),
    ]
    if kind == "several":
        model.save(tmp_path / "model.keras")
        found += [
            each.predict(x, verbose=0)
            for each in (api.models.clone_model(model), api.models.load_model(tmp_path / "model.keras"))
        ]
    for each in found:
        arrays = [np.asarray(one) for one in api.tree.flatten(each)]
        names = {
            "one": ["int32"],
            "several": ["int32", "bool", "float32"],
            "call": ["int32", "float32", "bool"],
        }
        assert [str(array.dtype) for array in arrays] == names[kind]
        assert np.array(["a", "b", "c"])[arrays[0]].tolist() == ["b", "a"]


@APIS
def test_a_lambda_callback_keeps_what_is_no_hook(api: Any) -> None:
    seen = []
    callback = api.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append((epoch, sorted(logs))), notes=[1], tag="a"
    )
    assert (callback.notes, callback.tag) == ([1], "a")
    model = compiled(api.Sequential([api.Input((2,)), api.layers.Dense(1)]), "sgd", "mse")
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0, callbacks=[callback])
    assert seen == [(0, ["loss"])]


def test_a_list_of_one_loss() -> None:
    x, y = np.ones((4, 2), "float32"), np.zeros((4, 1), "float32")
    found = []
    for api in (keras, engine):
        model = api.Sequential([api.Input((2,)), api.layers.Dense(1, kernel_initializer="ones")])
        model.compile("sgd", loss=["mse"], metrics=["mae"])
        found.append(model.evaluate(x, y, verbose=0))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)


@APIS
def test_a_weight_knows_its_regularizer(api: Any) -> None:
    layer = api.layers.Dense(3, kernel_regularizer=api.regularizers.L2(0.5))
    layer.build((None, 2))
    kernel, bias = layer.weights
    assert kernel.regularizer.get_config() == {"l2": 0.5}
    assert bias.regularizer is None
