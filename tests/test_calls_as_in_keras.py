"""Calls that Keras' own tests make: the order of arguments, what may be left out, and what may be set afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from common import OwnStepOfChain, assert_all_equal, compiled

import engine as keras
from engine import layers


def test_the_second_argument_of_a_call_is_the_mask_where_keras_has_it_there():
    x = np.arange(6, dtype="float32").reshape(1, 3, 2)
    mask = np.array([[True, True, False]])
    pooled = layers.GlobalAveragePooling1D()
    np.testing.assert_array_equal(pooled(x, mask), pooled(x, mask=mask))
    np.testing.assert_array_equal(pooled(x, mask), [[1, 2]])
    softmax = layers.Softmax()
    np.testing.assert_array_equal(softmax(np.ones((1, 3)), mask), [[0.5, 0.5, 0]])
    np.testing.assert_array_equal(softmax(np.ones((1, 3)), mask=mask), [[0.5, 0.5, 0]])


def test_the_second_argument_of_other_calls_is_training():
    x = np.ones((50, 20), "float32")
    assert (layers.Dropout(0.5)(x, True).numpy() == 0).any()
    assert (layers.Dropout(0.5)(x, False).numpy() == 1).all()


@pytest.mark.parametrize(
    ("args", "options", "named"),
    [((True, None, 3), {}, "3"), ((True,), {"training": False}, "'training'"), ((), {"axis": 1}, "'axis'")],
)
def test_arguments_of_a_call_that_a_layer_has_not_are_refused(args, options, named):
    with pytest.raises(
        TypeError, match=f"takes `training` and `mask` beside its inputs, each once, got .*{named}"
    ):
        layers.Dropout(0.5, name="d")(np.ones((2, 2)), *args, **options)


def test_an_embedding_is_built_without_a_shape_of_inputs():
    layer = layers.Embedding(4, 3)
    layer.build()
    assert layer.built
    assert layer.embeddings.shape == (4, 3)
    assert layer(np.array([[1, 2]])).shape == (1, 2, 3)


def test_a_layer_whose_weights_depend_on_the_inputs_says_that_it_needs_their_shape():
    layer = layers.Dense(3, name="d")
    with pytest.raises(TypeError, match="of layer 'd' needs `input_shape`"):
        layer.build()
    assert not layer.built


def test_an_activation_may_be_set_to_none():
    model = keras.Sequential(
        [layers.Input((3,)), layers.Dense(2, activation="relu", kernel_initializer="ones")]
    )
    model.compile("sgd", "mse")
    x = -np.ones((1, 3), "float32")
    assert (model.predict(x, verbose=0) == 0).all()
    model.layers[0].activation = None
    model.compile("sgd", "mse")
    np.testing.assert_array_equal(model.predict(x, verbose=0), [[-3, -3]])
    assert model.layers[0].get_config()["activation"] == "linear"
    with pytest.raises(ValueError, match="relo"):
        model.layers[0].activation = "relo"
    assert model.layers[0].get_config()["activation"] == "linear"


def test_the_constraint_of_a_variable_may_be_set():
    variable = keras.Variable(np.array([-1.0, 2.0]))
    assert variable.constraint is None
    variable.constraint = "non_neg"
    assert isinstance(variable.constraint, keras.constraints.NonNeg)
    keras.optimizers.SGD(1.0).apply_gradients([(np.array([1.0, 5.0], "float32"), variable)])
    np.testing.assert_array_equal(variable, [0, 0])


def test_losses_of_outputs_may_stand_in_lists_of_one():
    def losses_of(loss, **options):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((3,))
        outputs = {"a": layers.Dense(1, name="a")(inputs), "b": layers.Dense(1, "sigmoid", name="b")(inputs)}
        model = compiled(keras.Model(inputs, outputs), "sgd", loss=loss, **options)
        x, y = np.ones((4, 3)), np.ones((4, 1))
        return model.fit(x, {"a": y, "b": y}, verbose=0).history

    plain = losses_of({"a": "mse", "b": "binary_crossentropy"}, loss_weights={"a": 2.0, "b": 1.0})
    assert (
        losses_of({"a": ["mse"], "b": [["binary_crossentropy"]]}, loss_weights={"a": [2.0], "b": 1.0})
        == plain
    )
    with pytest.raises(ValueError, match="must be one for each output of the model, got 2 for one output"):
        losses_of({"a": "mse", "b": ["mse", "mae"]})


@pytest.mark.parametrize("own_step", [False, True])
def test_hooks_for_batches_are_called_after_each_execution(own_step):
    calls = []
    hooks = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: calls.append(("begin", batch)),
        on_train_batch_end=lambda batch, logs: calls.append(("end", batch)),
    )
    model = (OwnStepOfChain if own_step else keras.Sequential)([layers.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse", steps_per_execution=3)
    assert model.steps_per_execution == 3
    model.fit(np.ones((16, 3)), np.ones((16, 1)), batch_size=2, verbose=0, callbacks=[hooks])
    assert calls == [("begin", 0), ("end", 2), ("begin", 3), ("end", 5), ("begin", 6), ("end", 7)]
    calls.clear()
    model.steps_per_execution = 1
    model.fit(np.ones((4, 3)), np.ones((4, 1)), batch_size=2, verbose=0, callbacks=[hooks])
    assert calls == [("begin", 0), ("end", 0), ("begin", 1), ("end", 1)]


@pytest.mark.parametrize("own_step", [False, True])
@pytest.mark.parametrize("of_batches", [False, True])
def test_hooks_for_batches_of_predictions_are_called_after_each_execution(own_step, of_batches):
    class OwnStep(keras.Sequential):
        def predict_step(self, data):
            return super().predict_step(data)

    calls, outputs = [], []

    def end(batch, logs):
        calls.append(("end", batch))
        outputs.append(logs["outputs"])

    hooks = keras.callbacks.LambdaCallback(
        on_predict_batch_begin=lambda batch, logs: calls.append(("begin", batch)), on_predict_batch_end=end
    )
    model = (OwnStep if own_step else keras.Sequential)([layers.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse", steps_per_execution=3)
    x = np.random.default_rng(0).random((15, 3), np.float32)
    given = [x[first : first + 2] for first in range(0, 15, 2)] if of_batches else x
    found = model.predict(iter(given) if of_batches else given, batch_size=2, verbose=0, callbacks=[hooks])
    assert calls == [("begin", 0), ("end", 2), ("begin", 3), ("end", 5), ("begin", 6), ("end", 7)]
    assert [each.shape for each in outputs] == [(6, 1), (6, 1), (3, 1)]
    assert np.array_equal(np.concatenate(outputs), found)
    assert np.array_equal(found, model.predict(x, verbose=0))


def test_steps_per_execution_changes_no_weight():
    def weights(steps):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([layers.Input((3,)), layers.Dense(1)])
        model.compile("adam", "mse", steps_per_execution=steps)
        x = np.arange(60, dtype="float32").reshape(20, 3) / 60
        hooks = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
        model.fit(x, x[:, :1], batch_size=3, epochs=2, verbose=0, callbacks=[hooks])
        return model.get_weights()

    assert_all_equal(weights(1), weights(4))


def test_the_metrics_of_a_model_contain_those_of_its_layers():
    class Watching(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = keras.metrics.Mean(name="inner")

        def call(self, x):
            return 2 * x

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.watching, self.dense = Watching(), layers.Dense(1)
            self.outer = keras.metrics.Mean(name="outer")

        def call(self, x):
            return self.dense(self.watching(x))

    model = compiled(Own(), "sgd", "mse")
    model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)
    assert [metric.name for metric in model.metrics] == ["loss", "outer", "inner"]
    around = keras.Sequential([model])
    assert [metric.name for metric in around.metrics] == ["inner"]


def test_the_metrics_that_a_model_within_was_compiled_with_are_its_own():
    class Student(keras.Model):
        def __init__(self, teacher):
            super().__init__()
            self.teacher, self.dense = teacher, layers.Dense(1)

        def call(self, x):
            return self.dense(x)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return keras.ops.mean(keras.ops.square(y_pred - self.teacher(x)))

    teacher = compiled(keras.Sequential([layers.Input((3,)), layers.Dense(1)]), "sgd", "mse", metrics=["mae"])
    x, y = np.ones((4, 3)), np.full((4, 1), 9.0)
    teacher.fit(x, y, verbose=0)
    student = compiled(Student(teacher), "sgd", metrics=["mae"])
    history = student.fit(x, y, verbose=0).history
    assert [metric.name for metric in student.metrics] == ["loss", "mae"]
    assert history["loss"][0] > 0
    assert history["mae"][0] > 0


def test_a_seed_generator_is_made_again_from_its_config():
    generator = keras.random.SeedGenerator(3, name="seeds")
    config = keras.saving.serialize_keras_object(generator)
    again = keras.saving.deserialize_keras_object(config)
    assert isinstance(again, keras.random.SeedGenerator)
    np.testing.assert_array_equal(again.next(), generator.next())


def test_a_lambda_is_made_from_a_config_with_the_users_functions():
    def double(x):
        return 2 * x

    config = layers.Lambda(double).get_config()
    again = layers.Lambda.from_config(config, custom_objects={"double": double}, safe_mode=False)
    np.testing.assert_array_equal(again(np.ones((1, 2))), [[2, 2]])


def test_a_data_set_is_split_whatever_library_is_preferred():
    left, right = keras.utils.split_dataset(np.arange(10), left_size=0.8, preferred_backend="tensorflow")
    assert left.tolist() == [*range(8)]
    assert right.tolist() == [8, 9]


def test_a_data_set_may_fetch_no_batch_in_advance():
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, number):
            return np.full((2, 3), number, "float32")

    model = keras.Sequential([layers.Input((3,)), layers.Dense(1, kernel_initializer="ones")])
    outputs = model.predict(Batches(workers=2, max_queue_size=0), verbose=0)
    assert outputs.ravel().tolist() == [0, 0, 3, 3, 6, 6]


def test_a_weight_with_one_number_is_a_number():
    class Counter(layers.Layer):
        def build(self, input_shape):
            self.count = self.add_weight(shape=(), initializer="ones", trainable=False)

        def call(self, x):
            return x

    layer = Counter()
    layer(np.ones((1, 2)))
    for weight in (layer.count, keras.Variable(1.0)):
        assert int(weight) == 1
        assert float(weight) == 1.0
    assert [10, 20][keras.Variable(1)] == 20
    with pytest.raises(TypeError, match="only integer"):
        [10, 20][layer.count]


def test_no_dtype_policy_is_refused():
    with pytest.raises(ValueError, match="`policy` must be a dtype policy or its name"):
        keras.config.set_dtype_policy(None)
    assert keras.config.dtype_policy().name == "float32"


def test_a_layer_of_ones_own_takes_several_arrays_by_position():
    class Sum(layers.Layer):
        def call(self, x, y, z):
            return x + y * z

    rows = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(Sum()(rows, 2 * rows, 3 * rows), 7 * rows)
    inputs = [keras.Input((3,)) for _ in range(3)]
    model = keras.Model(inputs, Sum()(*inputs))
    np.testing.assert_array_equal(model.predict([rows, 2 * rows, 3 * rows], verbose=0), 7 * rows)
