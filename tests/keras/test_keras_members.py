"""Compares members of layers, models, optimizers and callback lists that scripts read with Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import engine

APIS = pytest.mark.parametrize("api", [keras, engine], ids=lambda api: api.__name__)


@APIS
@pytest.mark.parametrize("by_config", [False, True])
def test_a_layer_is_built_by_itself(api: Any, by_config: bool) -> None:
    layer = api.layers.Dense(2, kernel_regularizer="l2", kernel_constraint="non_neg", name="d")
    assert not layer.built
    assert layer.get_build_config() is None
    if by_config:
        layer.build_from_config({"input_shape": (None, 3)})
    else:
        layer.build((None, 3))
    assert layer.built
    assert layer.count_params() == 8
    assert layer.get_build_config() == {"input_shape": (None, 3)}
    assert [tuple(w.shape) for w in layer.weights] == [(3, 2), (2,)]
    assert (layer.path, layer.dtype, layer.input_dtype, layer.compute_dtype) == ("d", *["float32"] * 3)
    assert (layer.metrics, layer.metrics_variables) == ([], [])
    kernel, bias = layer.kernel, layer.bias
    assert type(kernel.regularizer).__name__ == "L2"
    assert type(kernel.constraint).__name__ == "NonNeg"
    assert bias.regularizer is bias.constraint is None
    assert (kernel.path, str(kernel.dtype), kernel.ndim, kernel.trainable) == ("d/kernel", "float32", 2, True)
    model = api.Sequential([api.Input((3,)), layer])
    assert np.array_equal(model.get_weights()[0], np.asarray(kernel))


@APIS
def test_layers_without_weights_are_built_too(api: Any) -> None:
    for layer in (api.layers.Dropout(0.5), api.layers.Flatten(), api.layers.BatchNormalization()):
        layer.build((None, 4))
        assert layer.built


@APIS
def test_what_a_layer_of_ones_own_inherits(api: Any) -> None:
    class Scale(api.layers.Layer):  # type: ignore[misc, name-defined] # of either library
        def build(self, input_shape: Any) -> None:
            super().build(input_shape)
            self.factor = self.add_variable((input_shape[-1],), "ones", name="factor")

        def call(self, inputs: Any) -> Any:
            return inputs * self.factor

    layer = Scale()
    assert np.asarray(layer(np.ones((1, 3), np.float32))).tolist() == [[1, 1, 1]]
    assert layer.get_build_config() == {"input_shape": (None, 3)} or api is keras
    assert layer.count_params() == 3
    assert layer.factor.name == "factor"
    assert layer.factor.path.endswith(f"{layer.name}/factor")
    assert layer.factor.trainable
    assert layer.factor.regularizer is None


@APIS
def test_models(api: Any) -> None:
    model = api.Sequential([api.layers.Dense(2)], name="m")
    assert model.get_build_config() is None
    model.build_from_config({"input_shape": (None, 3)})
    assert model.get_build_config() == {"input_shape": (None, 3)}
    assert model.count_params() == 8
    assert (model.path, model.input_dtype) == ("m", "float32")


@APIS
def test_an_optimizer_that_is_built_before_its_weights_are_loaded(api: Any) -> None:
    model = api.Sequential([api.Input((3,)), api.layers.Dense(2)])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    assert len(model.optimizer.variables) == 6


@APIS
def test_a_list_of_callbacks_in_a_loop_of_ones_own(api: Any) -> None:
    seen: list[tuple[Any, ...]] = []

    class Watch(api.callbacks.Callback):  # type: ignore[misc, name-defined] # of either library
        def on_train_begin(self, logs: Any = None) -> None:
            seen.append(("begin", self.params["epochs"], self.model is model))

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(("batch", batch, logs["loss"]))

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["more"] = 2.0
            seen.append(("epoch", epoch))

        def on_train_end(self, logs: Any = None) -> None:
            seen.append(("end", logs))

    model = api.Sequential([api.Input((3,)), api.layers.Dense(2)])
    hooks = api.callbacks.CallbackList([Watch()], add_history=True, model=model, epochs=1, steps=2, verbose=0)
    hooks.on_train_begin()
    hooks.on_epoch_begin(0)
    for batch in range(2):
        hooks.on_train_batch_begin(batch)
        hooks.on_train_batch_end(batch, {"loss": 0.5 - batch / 4})
    logs = {"loss": 0.25}
    hooks.on_epoch_end(0, logs)
    hooks.on_train_end(logs={"loss": 0.25})
    assert seen == [
        ("begin", 1, True),
        ("batch", 0, 0.5),
        ("batch", 1, 0.25),
        ("epoch", 0),
        ("end", {"loss": 0.25}),
    ]
    assert hooks.model is model
    assert model.history.history == {"loss": [0.25], "more": [2.0]}
    progress = api.callbacks.CallbackList(add_progbar=True).callbacks
    assert [type(one).__name__ for one in progress] == ["ProgbarLogger"]


@APIS
def test_early_stopping_says_what_it_looks_at(api: Any) -> None:
    stopping = api.callbacks.EarlyStopping("loss")
    assert stopping.get_monitor_value({"loss": 0.5}) == 0.5
    with pytest.warns(UserWarning, match="conditioned on metric `loss` which is not available"):
        assert stopping.get_monitor_value({"accuracy": 1.0}) is None


@APIS
def test_names_of_tf_keras(api: Any) -> None:
    """Keras keeps these names only for scripts written for tf.keras."""
    from keras import _tf_keras

    expected = _tf_keras.keras
    ours = engine if api is engine else expected
    for module in ("losses", "metrics"):
        for name in dir(getattr(expected, module)):
            found = getattr(getattr(expected, module), name)
            if name.islower() and name not in dir(getattr(keras, module)) and callable(found):
                assert getattr(getattr(ours, module), name).__name__ == found.__name__


@APIS
def test_the_metrics_of_a_layer(api: Any) -> None:
    class Watched(api.layers.Layer):  # type: ignore[misc, name-defined] # of either library
        def __init__(self) -> None:
            super().__init__()
            self.size = api.metrics.Mean(name="size")
            self.more = [api.metrics.Sum(name="sum")]

        def call(self, inputs: Any) -> Any:
            return inputs

    layer = Watched()
    assert [metric.name for metric in layer.metrics] == ["size", "sum"]
    layer.size.update_state([1.0, 3.0])
    assert float(layer.metrics[0].result()) == 2
    assert len(layer.metrics_variables) == 3
