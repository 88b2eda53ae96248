"""Tests of the arguments that Keras' layers have: their effect, and values that are not supported."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from common import InTurn, compiled
from conftest import with_gradient

import engine as keras
from engine import layers


def test_an_embedding_starts_from_weights() -> None:
    table = np.arange(6.0).reshape(3, 2)
    for given in (table, [table], table.tolist()):
        layer = layers.Embedding(3, 2, weights=given)
        assert layer.built
        assert np.array_equal(layer.embeddings, table)
        assert "weights" not in layer.get_config()
        model = keras.Sequential([keras.Input((1,)), layer])
        assert np.array_equal(model.predict(np.array([[2]]), verbose=0)[0, 0], table[2])
    with pytest.raises(ValueError, match=r"must have shape \(3, 2\), got \(2, 3\)"):
        layers.Embedding(3, 2, weights=table.T)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (layers.CategoryEncoding, "`num_tokens` must be set"),
        (lambda: layers.BatchNormalization(renorm_momentum=2), "`renorm_momentum` must be between 0 and 1"),
        (lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"r": 1}), "`renorm_clipping` must"),
        (
            lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"rmin": 2, "rmax": 1}),
            "`renorm_clipping` must have an rmax of at least rmin",
        ),
        (lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"dmax": -1}), r"`renorm_.*dmax.* 0"),
        (lambda: layers.BatchNormalization(synchronized=True), "`synchronized` must be False"),
        (lambda: layers.LayerNormalization(rms_scaling=True), "`rms_scaling` must be False"),
        (lambda: layers.Dense(3, lora_rank=2), "`lora_rank` must be None, got 2: .* left out"),
        (lambda: layers.Dense(3, quantization_config={}), "`quantization_config` must be None"),
        (lambda: layers.Embedding(3, 2, lora_alpha=2), "`lora_alpha` must be None"),
        (lambda: layers.Lambda(len, mask=[True]), "`mask` must be None"),
        (lambda: layers.Lambda.from_config(layers.Lambda(lambda x: x).get_config()), "`function` is a Pyt"),
        (
            lambda: layers.Lambda.from_config({"function": {"class_name": "function", "config": "nobodys"}}),
            "unknown function 'nobodys': pass it in `custom_objects`, or register it",
        ),
        (lambda: keras.Input((3,), ragged=True), "`ragged` must be False, got True: support for samples of"),
        (lambda: keras.Input((3,), optional=True), "`optional` must be False, got True: a model without"),
        (lambda: layers.RandomFlip(data_format="channels_first"), "`data_format` .* 'channels_last', got"),
        (lambda: keras.Input(tensor=np.zeros(3)), "`input_tensor` must be a symbolic tensor"),
    ],
)
def test_what_is_left_out(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@keras.utils.register_keras_serializable("mine")
@with_gradient(lambda x, upstream, factor=2.0: factor * upstream)
def doubled(x: Any, factor: float = 2.0) -> Any:
    return factor * x


def test_functions_go_through_configs() -> None:
    """A config has the name under which a function is registered."""
    made = layers.Lambda(doubled, arguments={"factor": 3.0}, output_shape=(2,))
    dense, activation = layers.Dense(2, activation=doubled), layers.Activation(doubled)
    for layer in (made, dense, activation):
        copy = layers.deserialize(layers.serialize(layer))
        assert copy.get_config() == layer.get_config()
    copy = layers.Lambda.from_config(made.get_config())
    np.testing.assert_array_equal(copy(np.ones((1, 2))), [[3.0, 3.0]])
    assert layers.Dense.from_config(dense.get_config()).activation is doubled


def test_functions_without_a_derivative_predict_and_do_not_train() -> None:
    def tanh(x: np.ndarray) -> np.ndarray:
        return np.tanh(np.asarray(x))  # a symbol is no array

    for layer in (layers.Lambda(tanh), layers.Activation(tanh)):
        model = compiled(keras.Sequential([keras.Input((2,)), layers.Dense(2), layer]), "sgd", "mse")
        x = np.ones((3, 2), np.float32)
        before, outputs = model.get_weights(), model.predict(x, verbose=0)
        with pytest.raises(TypeError, match="has no derivative, which training needs"):
            model.fit(x, x, verbose=0)
        assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
        np.testing.assert_array_equal(model.predict(x, verbose=0), outputs)


def test_penalties_of_ones_own_on_outputs_leave_nothing_half_done() -> None:
    class Odd(keras.regularizers.Regularizer):
        def __call__(self, x: Any) -> float:
            return float(np.sum(x**4))

        def gradient(self, x: Any) -> Any:
            return (4 * x**3)[:, :1]

    model = keras.Sequential(
        [keras.Input((2,)), layers.Dense(2, activity_regularizer=Odd()), layers.Dense(1)]
    )
    model.compile("adam", "mse")
    x, y, before = np.ones((3, 2), np.float32), np.ones(3), model.get_weights()
    with pytest.raises(ValueError, match=r"must have the shape \(3, 2\) of the outputs, got \(3, 1\)"):
        model.fit(x, y, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert model.predict(x, verbose=0).shape == (3, 1)
    assert np.isfinite(model.evaluate(x, y, verbose=0))


def test_layers_without_an_initializer_start_as_in_keras() -> None:
    layer = layers.Dense(4, bias_initializer=None, kernel_initializer=None)
    layer(np.ones((1, 3)))
    kernel, bias = layer.get_weights()
    assert 0 < np.abs(kernel).max() <= np.sqrt(6 / 7)
    assert 0 < np.abs(bias).max() <= np.sqrt(6 / 8)
    assert layer.get_config()["bias_initializer"] is None
    assert layers.Dense.from_config(layer.get_config()).bias_initializer is None


def test_a_constant_may_be_an_array() -> None:
    start = keras.initializers.Constant(np.log([0.25]))
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1, bias_initializer=start)])
    assert model.layers[0].bias == pytest.approx(np.log([0.25]))
    again = keras.Sequential.from_config(model.get_config())
    assert again.layers[0].bias == pytest.approx(np.log([0.25]))
    with pytest.raises(ValueError, match=r"\(3,\) doesn't broadcast to weights of shape \(2,\)"):
        keras.initializers.Constant([1, 2, 3])((2,))
    with pytest.raises(TypeError, match="`value` must be a finite number or an array of some"):
        keras.initializers.Constant(["a"])


def test_arguments_of_older_versions_are_ignored_with_keras_words() -> None:
    with pytest.warns(UserWarning, match="Argument `input_length` is deprecated. Just remove it."):
        layer = layers.Embedding(5, 2, input_length=3)
    assert "input_length" not in layer.get_config()
    with pytest.warns(UserWarning, match="Argument `decay` is no longer supported and will be ignored."):
        optimizer = keras.optimizers.SGD(learning_rate=0.1, decay=1e-6, momentum=0.9)
    assert "decay" not in optimizer.get_config()


def test_normalization_shows_what_it_has_found(rng: np.random.Generator) -> None:
    data = rng.normal(2, 3, (50, 4)).astype(np.float32)
    layer = layers.Normalization()
    assert layer.mean is None
    assert layer.variance is None
    layer.adapt(data)
    assert layer.mean.numpy() == pytest.approx(data.mean(0, keepdims=True), rel=1e-5)
    assert layer.variance.numpy() == pytest.approx(data.var(0, keepdims=True), rel=1e-5)
    given = layers.Normalization(mean=[1], variance=[4.0])
    assert given.mean == [1]
    given(data)
    assert np.array_equal(given.mean, np.ones((1, 4)))
    assert np.array_equal(given.variance, np.full((1, 4), 4.0))
    assert layers.Normalization.from_config(given.get_config()).input_mean == [1]


def test_a_normalization_of_single_numbers(rng: np.random.Generator) -> None:
    horsepower = rng.normal(100, 20, 30)
    layer = layers.Normalization(input_shape=[1], axis=None)
    layer.adapt(horsepower)
    model = keras.Sequential([layer, layers.Dense(1)])
    expected = (horsepower - horsepower.mean()) / horsepower.std()
    assert np.asarray(layer(horsepower)) == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert np.shape(layer.mean) == (1,)
    assert model.predict(horsepower).shape == (30, 1)
    assert model.count_params() == 5


def test_categories_count_for_their_weights() -> None:
    layer = layers.CategoryEncoding(num_tokens=4, output_mode="count")
    indices = np.array([[0, 1], [0, 0], [1, 2], [3, 1]])
    found = layer(indices, count_weights=np.array([[0.1, 0.2], [0.1, 0.1], [0.2, 0.3], [0.4, 0.2]]))
    expected = [[0.1, 0.2, 0, 0], [0.2, 0, 0, 0], [0, 0.2, 0.3, 0], [0, 0.2, 0, 0.4]]
    assert np.asarray(found) == pytest.approx(np.array(expected))
    with pytest.raises(ValueError, match=r"`count_weights` must have the shape of the indices, \(4, 2\)"):
        layer(indices, count_weights=[1.0])
    with pytest.raises(ValueError, match='belongs to output_mode="count"'):
        layers.CategoryEncoding(4)(indices, count_weights=np.ones((4, 2)))


def test_weights_have_the_names_of_keras_as_attributes() -> None:
    norm, slopes = layers.BatchNormalization(scale=False), layers.PReLU()
    assert norm.beta is None
    model = keras.Sequential([keras.Input((3,)), norm, slopes, layers.RMSNormalization()])
    assert norm.gamma is None
    assert np.array_equal(norm.moving_variance, np.ones(3))
    assert np.array_equal(norm.moving_mean, norm.beta)
    bias = norm.beta
    for _ in range(2):
        bias.assign_add([1, 2, 3])
    bias.assign_sub(np.ones(3))
    assert np.array_equal(norm.beta, [1, 3, 5])
    with pytest.raises(ValueError, match=r"variable.shape=\(3,\), Received: value.shape=\(2, 3\)"):
        bias.assign_add(np.ones((2, 3)))
    with pytest.raises(AttributeError, match=r"layer\.gamma\.assign\(value\)"):
        norm.gamma = np.ones(3)
    bias.assign(np.zeros(3))
    slopes.alpha.assign([1, 2, 3])
    assert np.array_equal(slopes.alpha, [1, 2, 3])
    assert np.array_equal(model.layers[2].scale, np.ones(3))


def test_layers_by_themselves_refuse_what_models_refuse() -> None:
    for layer in (layers.Embedding(3, 2), layers.CategoryEncoding(3)):
        for wrong in ([5], [[0.5]], [-1]):
            with pytest.raises(ValueError, match=r"`inputs` must hold indices, whole numbers in \[0, 3\)"):
                layer(wrong)
    with pytest.raises(TypeError, match="`inputs` must hold real numbers"):
        layers.Dense(3)("a")
    with pytest.raises(ValueError, match="`inputs`"):
        layers.Flatten()(5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: layers.Lambda(len, gradient=3), TypeError, "`gradient` must be a function"),
        (lambda: layers.Lambda(len, arguments=3), TypeError, "`arguments` must be a dict"),
        (lambda: layers.Lambda(len, output_shape="a"), TypeError, "`output_shape` .* shape of one sample"),
        (lambda: layers.Dense(3, name="a/b"), ValueError, "`name` must be a string and cannot contain .*`/`"),
        (lambda: layers.Dense(3, name=3), TypeError, "`name` must be a string, got 3"),
        (lambda: keras.Sequential(name=3), TypeError, "`name` must be a string, got 3"),
        (lambda: keras.Sequential(3), TypeError, "`layers` must be a list of layers, got 3"),
        (
            lambda: keras.models.clone_model(keras.Sequential(), clone_function=3),
            TypeError,
            "`clone_function` must be a function",
        ),
        (lambda: keras.Sequential().compile_from_config(3), TypeError, "`config` must be a dict"),
        (lambda: keras.optimizers.Muon(exclude_layers=3), TypeError, "`exclude_layers` must be a list"),
        (lambda: keras.utils.normalize("a"), TypeError, "`x` must hold real numbers"),
        (lambda: keras.utils.normalize([1.0], axis=3), ValueError, "`axis` must be less than 1"),
    ],
)
def test_arguments_of_the_wrong_kind(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_results_are_dicts_or_not() -> None:
    model = compiled(keras.Sequential([keras.Input((2,)), layers.Dense(1)]), "sgd", "mse")
    with pytest.raises(TypeError, match="`return_dict` must be True or False, got 'a'"):
        model.evaluate(np.ones((2, 2)), np.ones(2), return_dict="a", verbose=0)


def test_a_sequential_that_begins_with_an_embedding_of_keras_2() -> None:
    """Books set the weights of the table before any data has been seen."""
    with pytest.warns(UserWarning, match="`input_length` is deprecated"):
        layer = layers.Embedding(5, 2, input_length=3)
    model = keras.Sequential([layer, layers.Flatten(), layers.Dense(1)])
    model.layers[0].set_weights([np.ones((5, 2))])
    assert [weight.shape for weight in model.get_weights()] == [(5, 2), (6, 1), (1,)]


def test_no_weights_for_a_model_that_has_none_yet() -> None:
    """Agents copy the weights of one network to another one before either has seen a state."""

    network = InTurn(layers.Dense(1))
    network.set_weights([])
    layers.Dense(2).set_weights([])
    with pytest.raises(ValueError, match="has no weights yet"):
        network.set_weights([np.ones((2, 1))])


@pytest.mark.parametrize("axes", [30, 36, 60])
def test_samples_with_many_axes_of_one_number(axes: int) -> None:
    shape = (2, 3, *[1] * (axes - 2))
    x = np.arange(12, dtype=np.float32).reshape(2, *shape)
    turned = layers.Permute((2, 1, *range(3, axes + 1)))
    model = keras.Sequential([keras.Input(shape), turned, layers.Flatten()])
    np.testing.assert_array_equal(
        model.predict(x, verbose=0), x.reshape(2, 2, 3).transpose(0, 2, 1).reshape(2, 6)
    )
    dropped = layers.Dropout(0.5, noise_shape=(None, 2, *[1] * (axes - 1)))
    noisy = keras.Sequential([keras.Input(shape), dropped, layers.Flatten()])
    found = np.asarray(noisy(x + 1, training=True)).reshape(4, 3)
    kept = found[:, 0] > 0
    np.testing.assert_array_equal(found, (2 * (x + 1)).reshape(4, 3) * kept[:, None])


def test_a_weight_with_too_many_axes_is_refused() -> None:
    class Wide(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.factor = self.add_weight(shape=(1,) * 40, initializer="ones")

        def call(self, inputs: Any) -> Any:
            return inputs * keras.ops.sum(self.factor)

    with pytest.raises(ValueError, match="at most 32 axes"):
        keras.Sequential([keras.Input((2,)), Wide()])


def test_penalties_on_outputs_leave_predictions_in_parts() -> None:
    layer = layers.Dense(2, activity_regularizer="l2")
    model = keras.Sequential([keras.Input((3,)), layer, layers.ActivityRegularization(0.1)])
    assert (
        not model._built_graph.program.joins_samples
    )  # so a prediction of many rows is computed in batches, on several threads
