"""Names and arguments of Keras 1, Keras 2 and tf.keras: each does what its successor does, with a warning where Keras had one."""

from __future__ import annotations

import importlib
import inspect
import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import assert_all_equal, compiled
from keras import _tf_keras

import engine

X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
Y = np.arange(8) % 2


def classifier(outputs: int) -> Any:
    layers = engine.layers
    model = engine.Sequential(
        [engine.Input((3,)), layers.Dense(outputs, "softmax" if outputs > 1 else "sigmoid")]
    )
    return compiled(model, "sgd", "crossentropy", metrics=["accuracy"])


def batches() -> Any:
    while True:
        yield X, Y


def test_methods_with_generators() -> None:
    model, twin = classifier(2), classifier(2)
    twin.set_weights(model.get_weights())
    with pytest.warns(DeprecationWarning, match=r"fit_generator\(\) .* older version.* use fit\(\)"):
        history = model.fit_generator(batches(), 3, epochs=2, verbose=0, workers=4, use_multiprocessing=True)
    assert history.history == twin.fit(batches(), steps_per_epoch=3, epochs=2, verbose=0).history
    with pytest.warns(DeprecationWarning, match=r"use evaluate\(\)"):
        assert model.evaluate_generator(batches(), steps=2, max_queue_size=3) == twin.evaluate(
            batches(), steps=2, verbose=0
        )
    with pytest.warns(DeprecationWarning, match=r"use predict\(\)"):
        outputs = model.predict_generator(batches(), steps=2)
    np.testing.assert_array_equal(outputs, twin.predict(batches(), steps=2, verbose=0))
    with pytest.warns(DeprecationWarning, match="fit_generator"), pytest.raises(TypeError, match="nb_epochs"):
        model.fit_generator(batches(), 3, nb_epochs=2)


def test_classes_and_probabilities() -> None:
    several, one = classifier(3), classifier(1)
    with pytest.warns(DeprecationWarning, match=r"use predict\(x\)\.argmax\(axis=-1\)"):
        classes = several.predict_classes(X)
    np.testing.assert_array_equal(classes, several.predict(X, verbose=0).argmax(axis=-1))
    with pytest.warns(DeprecationWarning, match="predict_classes"):
        classes = one.predict_classes(X)
    np.testing.assert_array_equal(classes, one.predict(X, verbose=0) > 0.5)
    assert (classes.dtype, classes.shape) == (np.int32, (8, 1))
    with pytest.warns(DeprecationWarning, match=r"predict_proba\(\) is of an older version"):
        np.testing.assert_array_equal(one.predict_proba(X), one.predict(X, verbose=0))


def test_classes_need_one_output() -> None:
    inputs = engine.Input((3,))
    model = engine.Model(inputs, [engine.layers.Dense(2)(inputs), engine.layers.Dense(2)(inputs)])
    with (
        pytest.warns(DeprecationWarning, match="predict_classes"),
        pytest.raises(ValueError, match="for models with one output"),
    ):
        model.predict_classes(X)


def test_a_model_of_input_and_output() -> None:
    inputs = engine.Input((3,))
    outputs = engine.layers.Dense(2)(inputs)
    with pytest.warns(DeprecationWarning, match="`(in|out)put` is of an older .* use `(in|out)puts`"):
        model = engine.Model(input=inputs, output=outputs)
    assert model.output_shape == (None, 2)
    with pytest.raises(TypeError, match="give `inputs` or `input`, its older name, but not both"):
        engine.Model(inputs, outputs, input=inputs)
    with pytest.raises(TypeError, match=r"Model takes `inputs`, `outputs`, .*, got 'inputz'"):
        engine.Model(inputs, outputs, inputz=inputs)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Adagrad", "Lion", "Nadam"])
def test_the_learning_rate_by_its_old_name(name: str) -> None:
    make = getattr(engine.optimizers, name)
    with pytest.warns(DeprecationWarning, match="the argument `lr` is of an older version") as caught:
        optimizer = make(lr=0.25)
    assert caught[0].filename == __file__
    assert float(optimizer.learning_rate) == float(optimizer.lr) == 0.25
    assert "lr" not in optimizer.get_config()
    optimizer.lr = 0.5
    assert optimizer.learning_rate == 0.5
    with pytest.warns(UserWarning, match="`decay` is no longer supported and will be ignored"):
        make(0.25, decay=1e-6)


def test_names_of_functions_and_classes() -> None:
    losses, keras = engine.losses, engine
    assert losses.bce is losses.BCE is losses.binary_crossentropy
    assert losses.cosine_proximity is losses.cosine is losses.cosine_similarity
    assert losses.get("cosine_proximity") is losses.cosine_similarity
    assert keras.regularizers.l1l2(0.1, 0.2).get_config() == {"l1": 0.1, "l2": 0.2}
    assert keras.regularizers.l1_l2(l1=0.1, l2=0.2).get_config() == {"l1": 0.1, "l2": 0.2}
    assert keras.constraints.maxnorm(3).max_value == 3
    assert keras.constraints.nonneg is keras.constraints.NonNeg
    assert keras.optimizers.legacy.Adam is keras.optimizers.Adam
    assert keras.initializers.glorot_uniform(seed=1)((2, 3)).shape == (2, 3)


def test_reductions() -> None:
    """`AUTO` is the mean, which it has always meant for the losses of a model."""
    theirs, ours = _tf_keras.keras.losses.Reduction, engine.losses.Reduction
    for name in ("NONE", "SUM", "SUM_OVER_BATCH_SIZE"):
        assert getattr(ours, name) == getattr(theirs, name)
        engine.losses.MeanSquaredError(reduction=getattr(ours, name))
    assert engine.losses.MeanSquaredError(reduction=ours.AUTO)([1.0], [3.0]) == 4
    assert set(ours.all()) < set(theirs.all())
    ours.validate("sum")
    with pytest.raises(ValueError, match=r"`reduction` must be one of .*'sum_over_batch_size', got 'x'"):
        ours.validate("x")


def test_a_relu_with_a_threshold() -> None:
    x = np.linspace(-3, 3, 13, dtype=np.float32)[:, np.newaxis]
    layer = engine.layers.ThresholdedReLU(theta=1.5, name="t")
    np.testing.assert_array_equal(np.asarray(layer(x)), x * (x > 1.5))
    assert (type(layer).__name__, layer.name) == ("ReLU", "t")  # files of it can be read by Keras


MODULES: dict[str, tuple[str, Callable[[], Any]]] = {
    "layers.core": ("Dense Dropout Flatten Activation Lambda Masking Reshape", lambda: engine.layers),
    "layers.merge": ("Add add Concatenate concatenate", lambda: engine.layers),
    "layers.normalization": ("BatchNormalization", lambda: engine.layers),
    "layers.advanced_activations": ("LeakyReLU PReLU ELU ReLU", lambda: engine.layers),
    "layers.embeddings": ("Embedding", lambda: engine.layers),
    "layers.noise": ("GaussianNoise GaussianDropout AlphaDropout", lambda: engine.layers),
    "utils.np_utils": ("to_categorical normalize", lambda: engine.utils),
    "utils.vis_utils": ("plot_model model_to_dot", lambda: engine.utils),
    "utils.data_utils": ("get_file Sequence", lambda: engine.utils),
    "utils.generic_utils": ("Progbar get_custom_objects CustomObjectScope", lambda: engine.utils),
}


@pytest.mark.parametrize("place", MODULES)
def test_modules_of_keras_2(place: str) -> None:
    """Scripts have lines such as `from keras.layers.core import Dense, Dropout`."""
    names, home = MODULES[place]
    module = importlib.import_module(f"engine.{place}")
    for name in names.split():
        assert getattr(module, name) is getattr(home(), name)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        module.nothing  # noqa: B018 # the error is what it is about


def test_values_through_the_backend() -> None:
    """`K.set_value(model.optimizer.lr, ...)` is how scripts for Keras 2 change the learning rate."""
    backend = engine.backend
    model = classifier(2)
    backend.set_value(model.optimizer.lr, 0.125)
    assert backend.get_value(model.optimizer.lr) == backend.get_value(model.optimizer.learning_rate) == 0.125
    layer = model.layers[0]
    backend.batch_set_value([(layer.kernel, np.ones((3, 2))), (layer.bias, [2.0, 3.0])])
    kernel, bias = backend.batch_get_value(layer.weights)
    np.testing.assert_array_equal(kernel, np.ones((3, 2)))
    np.testing.assert_array_equal(bias, [2, 3])
    assert (type(kernel), backend.count_params(layer.kernel)) == (np.ndarray, 6)
    assert backend.int_shape(model.output) == (None, 2)
    with pytest.raises(TypeError, match="`x` must be a weight of a layer or a number of an optimizer"):
        backend.set_value(np.ones(2), 1.0)


def test_the_smallest_change_of_a_callback_by_its_old_name() -> None:
    with pytest.warns(DeprecationWarning, match="`epsilon` is of an older .* use `min_delta`") as caught:
        callback = engine.callbacks.ReduceLROnPlateau("loss", epsilon=0.25)
    assert (callback.min_delta, caught[0].filename) == (0.25, __file__)


def test_values_in_logs_by_their_old_names(tmp_path: Path) -> None:
    seen = []

    class Watch(engine.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append((logs.get("acc"), logs["val_acc"], "acc" in logs, logs.get("nonsense", 7)))

    model = compiled(classifier(1), "sgd", "crossentropy", metrics=["accuracy", "mse", "cosine"])
    path = tmp_path / "{epoch:02d}-{val_acc:.2f}.hdf5"
    save = engine.callbacks.ModelCheckpoint(path, "val_acc", save_best_only=True, save_weights_only=True)
    stop = engine.callbacks.EarlyStopping("val_acc", patience=9)
    rate = engine.callbacks.LearningRateScheduler(lambda epoch: 0.1)
    with pytest.warns(DeprecationWarning, match="the name 'val_acc' in logs .* use 'val_accuracy'"):
        history = model.fit(
            X, Y, verbose=0, validation_data=(X, Y), callbacks=[Watch(), save, stop, rate]
        ).history
    accuracy, val_accuracy = history["accuracy"][0], history["val_accuracy"][0]
    assert seen == [(accuracy, val_accuracy, False, 7)]
    assert [each.name for each in tmp_path.iterdir()] == [f"01-{val_accuracy:.2f}.hdf5"]
    assert stop.best == val_accuracy
    old = {
        "acc": "accuracy",
        "val_acc": "val_accuracy",
        "mean_squared_error": "mse",
        "val_cosine_proximity": "val_cosine",
        "lr": "learning_rate",
    }
    for name, present in old.items():
        with pytest.warns(DeprecationWarning, match=f"'{name}' in logs"):
            assert history[name] == history[present]
    assert not set(old) & set(history)
    with pytest.raises(KeyError, match="'mean_absolute_error'"):
        history["mean_absolute_error"]
    for copy in (pickle.loads(pickle.dumps(history)), json.loads(json.dumps(history)), history.copy()):
        assert type(copy) is dict
        assert copy == history


def test_values_of_several_outputs_by_their_old_names() -> None:
    inputs = engine.Input((3,))
    model = engine.Model(inputs, [engine.layers.Dense(1, name=name)(inputs) for name in ("a_b", "c")])
    model.compile("sgd", ["mse", "mse"], metrics=[["mae"], ["accuracy"]])
    history = model.fit(X, [Y, Y], verbose=0).history
    with pytest.warns(DeprecationWarning, match="use 'a_b_mae'"):
        assert history["a_b_mean_absolute_error"] == history["a_b_mae"]
    with pytest.warns(DeprecationWarning, match="use 'c_accuracy'"):
        assert history.get("c_acc") == history["c_accuracy"]


def test_weights_and_models_of_a_checkpoint_in_hdf5(tmp_path: Path) -> None:
    for suffix in (".h5", ".hdf5"):
        for weights in (False, True):
            model = classifier(1)
            path = tmp_path / f"{weights}{suffix}"
            model.fit(
                X, Y, verbose=0, callbacks=[engine.callbacks.ModelCheckpoint(path, save_weights_only=weights)]
            )
            again = classifier(1)
            again.load_weights(path)
            assert_all_equal(again.get_weights(), model.get_weights())


OLDER_ARGUMENTS = {
    "Dense": (
        {"output_dim": 3, "init": "ones", "W_regularizer": "l2", "b_constraint": "non_neg", "bias": True},
        {
            "units": 3,
            "kernel_initializer": "ones",
            "kernel_regularizer": "l2",
            "bias_constraint": "non_neg",
            "use_bias": True,
        },
    ),
    "Dropout": ({"p": 0.25}, {"rate": 0.25}),
    "SpatialDropout1D": ({"p": 0.25}, {"rate": 0.25}),
    "GaussianDropout": ({"p": 0.25}, {"rate": 0.25}),
    "GaussianNoise": ({"sigma": 0.25}, {"stddev": 0.25}),
    "Embedding": (
        {"input_dim": 3, "output_dim": 2, "init": "ones"},
        {"input_dim": 3, "output_dim": 2, "embeddings_initializer": "ones"},
    ),
    "BatchNormalization": ({"beta_init": "ones"}, {"beta_initializer": "ones"}),
}


@pytest.mark.parametrize("name", OLDER_ARGUMENTS)
def test_arguments_of_layers_by_their_names_in_keras_1(name: str) -> None:
    old, new = OLDER_ARGUMENTS[name]
    layer = getattr(engine.layers, name)
    with pytest.warns(DeprecationWarning, match="is of an older version of Keras: use `"):
        made = layer(name="x", **old)
    assert made.get_config() == layer(name="x", **new).get_config()

    class Derived(layer):  # type: ignore[valid-type, misc]
        pass

    with pytest.warns(DeprecationWarning, match="older"):
        assert Derived(name="x", **old).get_config() == layer(name="x", **new).get_config()


def test_older_arguments_are_no_second_names() -> None:
    with pytest.raises(TypeError, match="give `units` or `output_dim`, its older name, but not both"):
        engine.layers.Dense(units=3, output_dim=3)
    with pytest.raises(ValueError, match="no argument `init`"):
        engine.layers.Rescaling(1, init="ones")
    assert "output_dim" not in inspect.signature(engine.layers.Dense).parameters


def test_epochs_by_their_older_name() -> None:
    with pytest.warns(DeprecationWarning, match="`nb_epoch` is of an older version of Keras: use `epochs`"):
        assert classifier(1).fit(X, Y, nb_epoch=2, verbose=0).epoch == [0, 1]


def test_a_layer_that_only_keras_1_had() -> None:
    with pytest.raises(AttributeError, match="only older versions of Keras have: call Concatenate, Multiply"):
        engine.layers.Merge  # noqa: B018 # the error is what it is about


class OfKeras2(engine.metrics.Metric):
    """A metric as scripts for Keras 2 write it."""

    def __init__(self, name: str = "largest") -> None:
        super().__init__(name=name)
        self.total = self.add_weight("total", initializer="zeros")
        self.resets = 0

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.total.assign_add(engine.ops.sum(y_pred * 0 + 1))

    def result(self) -> Any:
        return self.total

    def reset_states(self) -> None:
        self.resets += 1
        self.total.assign(0)


def test_metrics_that_were_written_for_keras_2() -> None:
    with pytest.warns(DeprecationWarning, match="the name 'total' as the first argument .* use `name`"):
        metric = OfKeras2()
    assert metric.variables[0].name == "total"
    metric.update_state(Y, Y)
    metric.update_state(Y, Y)
    assert float(metric.result()) == 16
    metric.reset_state()
    assert (float(metric.result()), metric.resets) == (0, 1)
    model = compiled(classifier(1), "sgd", "crossentropy", metrics=[metric])
    assert model.fit(X, Y, 3, epochs=2, verbose=0).history["largest"] == [8, 8]
    assert model.evaluate(X, Y, verbose=0)[1] == 8
    usual = engine.metrics.Precision()
    usual.update_state([1, 0], [1, 1])
    with pytest.warns(DeprecationWarning, match=r"reset_states\(\) is of an older version"):
        usual.reset_states()
    assert float(usual.result()) == 0


def test_a_weight_with_its_name_first() -> None:
    class Scale(engine.layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.scale = self.add_weight("scale", shape=(input_shape[-1],), initializer="ones")
            self.shift = self.add_weight("shift", (input_shape[-1],), initializer="zeros")

        def call(self, inputs: Any) -> Any:
            return inputs * self.scale + self.shift

    layer = Scale(name="own")
    with pytest.warns(DeprecationWarning, match="the name 'scale' as the first argument"):
        np.testing.assert_array_equal(layer(X), X)
    assert [each.path for each in layer.weights] == ["own/scale", "own/shift"]


def test_shapes_of_layers() -> None:
    layer = engine.layers.Dense(2)
    with pytest.raises(AttributeError, match="'Dense' has no attribute 'input_shape' before it was called"):
        layer.input_shape  # noqa: B018 # the error is what it is about
    assert not hasattr(layer, "output_shape")
    layer(X)
    with pytest.warns(DeprecationWarning, match="the attribute `input_shape` of a layer"):
        assert layer.input_shape == (None, 3)
    with pytest.warns(DeprecationWarning, match="the attribute `output_shape` of a layer"):
        assert layer.output_shape == (None, 2)
    assert "input_shape" not in layer.get_config()

    class Own(engine.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.output_shape = "own"

    assert Own().output_shape == "own"


@pytest.mark.parametrize("eager", [False, True])
def test_a_step_of_keras_2(eager: bool) -> None:
    class Own(engine.Model):
        def train_step(self, data: Any) -> Any:
            x, y = data
            with engine.GradientTape() as tape:
                predictions = self(x, training=True)
                loss = self.compiled_loss(y, predictions, regularization_losses=self.losses)
            gradients = tape.gradient(loss, self.trainable_weights)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
            self.compiled_metrics.update_state(y, predictions)
            return {metric.name: metric.result() for metric in self.metrics}

    histories = []
    for kind in (Own, engine.Model):
        engine.utils.set_random_seed(0)
        inputs = engine.Input((3,))
        model = kind(inputs, engine.layers.Dense(1, "sigmoid", kernel_regularizer="l2")(inputs))
        model.compile("sgd", "binary_crossentropy", metrics=["accuracy"], run_eagerly=eager)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            histories.append(model.fit(X, Y, 3, epochs=3, shuffle=False, verbose=0).history)
    assert histories[0].keys() == histories[1].keys()
    for name, values in histories[0].items():
        np.testing.assert_allclose(values, histories[1][name], rtol=1e-5)
    with pytest.warns(DeprecationWarning, match="compiled_metrics is of an older version"):
        assert [metric.name for metric in model.compiled_metrics.metrics] == ["accuracy"]
