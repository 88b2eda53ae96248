"""Tests of layers, activations, initializers and regularizers in models."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference
from common import assert_all_close, compiled
from numpy.typing import NDArray

import engine as keras
from engine import activations, constraints, initializers, layers, regularizers

# Tolerance against float64: a few roundings of sums of products, relative to the values.
RTOL = 1e-5


def outputs(layer: layers.Layer, x: NDArray[Any]) -> NDArray[np.float32]:
    return keras.Sequential([keras.Input(x.shape[1:]), layer]).predict(x)


# Keras has no "gelu_tanh".
@pytest.mark.parametrize("name", sorted(reference.ACTIVATIONS.keys() - {"gelu_tanh"}))
def test_activations_as_layer_and_function(name: str, rng: np.random.Generator) -> None:
    x = rng.normal(0, 3, (7, 5)).astype(np.float32)
    expected = reference.ACTIVATIONS[name](x.astype(float))
    function = getattr(activations, name)
    for got in (function(x), outputs(layers.Activation(name), x), outputs(layers.Activation(function), x)):
        np.testing.assert_allclose(got, expected, rtol=RTOL, atol=1e-6)
        assert got.dtype == np.float32


def test_activations_take_any_shape() -> None:
    assert activations.relu(-3.0).shape == ()
    assert activations.relu([[[-1, 2]]]).tolist() == [[[0.0, 2.0]]]
    assert activations.softmax(np.zeros((2, 3, 4))).sum(axis=-1) == pytest.approx(np.ones((2, 3)))
    assert activations.tanh(np.zeros((0, 3))).shape == (0, 3)
    assert np.isnan(activations.relu([np.nan])).all()


def test_activations_by_name() -> None:
    assert activations.get(None) is activations.linear
    assert activations.get("swish") is activations.silu
    assert activations.get("ReLU") is activations.relu
    with pytest.raises(ValueError, match="unknown `activation` 'relo'; did you mean 'relu'"):
        activations.get("relo")
    with pytest.raises(TypeError, match="`activation` must be a name, a function of engine"):
        activations.get(3)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: activations.celu([1.0], alpha=-1.0), "`alpha` must be greater than 0, got -1.0"),
        (lambda: activations.squareplus([1.0], b=-1.0), "`b` must be a finite number of at least 0"),
        (lambda: activations.softmax([[1.0]], axis=2), "`axis` must be at most 1, got 2"),
        (lambda: activations.glu([1.0, 2.0, 3.0]), "even extent along axis -1"),
        (lambda: layers.ReLU(max_value=-1.0), "`max_value` must be a finite number of at least 0"),
        (lambda: keras.Sequential([keras.Input((2,)), layers.Dense(3, "glu")]), "even extent along axis -1"),
        (lambda: keras.Sequential([keras.Input((2,)), layers.Dense(2, "threshold")]), "without default"),
        (lambda: keras.Sequential([keras.Input((2,)), layers.Dense(2, layers.Dense(3))]), "be an activation"),
    ],
)
def test_what_activations_refuse(call: Callable[[], object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()


def test_dense_is_a_matrix_product(rng: np.random.Generator) -> None:
    layer = layers.Dense(3, activation="tanh", bias_initializer=initializers.Constant(0.5))
    x = rng.normal(0, 1, (4, 5)).astype(np.float32)
    got = outputs(layer, x)
    assert (layer.kernel.shape, layer.bias is not None and layer.bias.numpy().tolist()) == ((5, 3), [0.5] * 3)
    np.testing.assert_allclose(got, np.tanh(x.astype(float) @ layer.kernel + 0.5), rtol=RTOL)
    bare = layers.Dense(3, use_bias=False)
    np.testing.assert_allclose(outputs(bare, x), x.astype(float) @ bare.kernel, rtol=RTOL, atol=1e-6)
    assert bare.bias is None


def test_layers_without_weights(rng: np.random.Generator) -> None:
    x = rng.normal(0, 1, (4, 2, 3)).astype(np.float32)
    assert np.array_equal(outputs(layers.Flatten(), x), x.reshape(4, 6))
    assert np.array_equal(outputs(layers.Dropout(0.5), x), x)
    assert np.array_equal(outputs(layers.Activation("relu"), x), np.maximum(x, 0))
    assert np.array_equal(outputs(layers.Rescaling(2, 1), x), 2 * x + 1)
    model = keras.Sequential([layers.Rescaling(1 / 255, input_shape=(2, 2))])
    assert (model.output_shape, model.layers[0].built, model.count_params()) == ((None, 2, 2), True, 0)
    assert model.predict(np.full((1, 2, 2), 255, np.uint8)).tolist() == [[[1.0, 1.0], [1.0, 1.0]]]


def test_rows_of_numbers_are_needed() -> None:
    for layer in (layers.Activation("softmax"), layers.Dense(2)):
        with pytest.raises(ValueError, match=r"gets \(n,\): write inputs of one sample as x\[None\]"):
            keras.Sequential([keras.Input(()), layer])
    assert outputs(layers.Flatten(), np.arange(3.0)).tolist() == [[0.0], [1.0], [2.0]]


def test_dropout_is_at_work_in_training_only() -> None:
    model = keras.Sequential([layers.Dropout(0.25, input_shape=(1000,))])
    x = np.ones((8, 1000), np.float32)
    assert np.array_equal(model(x), x)
    first, second = model(x, training=True), model(x, training=True)
    assert not np.array_equal(first, second)
    assert set(np.unique(first)) == {np.float32(0), np.float32(1 / 0.75)}
    # 8,000 draws: 6 standard deviations
    assert np.mean(first == 0) == pytest.approx(0.25, abs=6 * math.sqrt(0.25 * 0.75 / 8000))
    everything = keras.Sequential([layers.Dropout(1.0, input_shape=(3,))])
    assert not everything(np.ones((2, 3)), training=True).any()


def test_dropout_repeats_with_the_seed() -> None:
    def weights(seed: int | None) -> list[NDArray[np.float32]]:
        keras.utils.set_random_seed(3)
        model = keras.Sequential([layers.Dropout(0.5, seed=seed, input_shape=(4,)), layers.Dense(2)])
        model.compile("sgd", "mse")
        model.fit(np.ones((64, 4)), np.ones((64, 2)), verbose=0)
        return model.get_weights()

    assert np.array_equal(weights(None)[0], weights(None)[0])
    assert np.array_equal(weights(5)[0], weights(5)[0])
    assert not np.array_equal(weights(5)[0], weights(6)[0])


def test_indices_are_checked() -> None:
    model = keras.Sequential([keras.Input((2,)), layers.CategoryEncoding(3), layers.Dense(1)])
    model.compile("sgd", "mse")
    y = np.zeros((2, 1))
    assert layers.CategoryEncoding(3)(np.array([[0, 2]])).tolist() == [[1.0, 0.0, 1.0]]
    for wrong in (3, -1, 0.5):
        for run in (model.predict, model, lambda x: model.fit(x, y)):
            with pytest.raises(ValueError, match=r"whole numbers in \[0, 3\).*row 1 holds"):
                run(np.array([[0, 1], [2, wrong]]))


def test_normalization_adapts(rng: np.random.Generator) -> None:
    x = rng.normal(3, 2, (50, 4)).astype(np.float32)
    layer, batched = layers.Normalization(), layers.Normalization()
    layer.adapt(x)
    batched.adapt([x[:20], x[20:]])
    model = keras.Sequential([keras.Input((4,)), layer])
    want = (x - x.mean(axis=0, dtype=float)) / x.std(axis=0, dtype=float)
    np.testing.assert_allclose(model.predict(x), want, rtol=1e-4, atol=1e-5)
    assert_all_close(layer.get_weights(), batched.get_weights(), rtol=1e-6)
    assert [w.shape for w in layer.get_weights()] == [(4,), (4,), ()]
    layer.adapt(2 * x)
    np.testing.assert_allclose(model.predict(2 * x), want, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="leave them out for adapt"):
        layers.Normalization(mean=0.0, variance=1.0).adapt(x)
    with pytest.raises(ValueError, match="together"):
        layers.Normalization(mean=0.0)


def test_noise_is_at_work_in_training_only() -> None:
    x = np.ones((50, 6, 4), np.float32)
    for layer in (
        layers.GaussianNoise(0.5),
        layers.GaussianDropout(0.5),
        layers.AlphaDropout(0.3),
        layers.Dropout(0.5, noise_shape=(None, 1, None)),
        layers.SpatialDropout1D(0.5),
    ):
        model = keras.Sequential([keras.Input((6, 4)), layer])
        assert np.array_equal(model.predict(x), x)
        y = model(x, training=True)
        assert not np.array_equal(y, x)
        assert not np.array_equal(y, model(x, training=True))
        if isinstance(layer, layers.Dropout):
            assert np.array_equal(y, np.broadcast_to(y[:, :1], y.shape))
    shared = keras.Sequential([keras.Input((6, 4)), layers.Dropout(0.5, noise_shape=(1, None, None))])
    y = shared(x, training=True)
    assert np.array_equal(y, np.broadcast_to(y[:1], y.shape))
    of_batch = layers.Dropout(0.5, noise_shape=(20, 1, 4))(np.ones((20, 6, 4)), training=True)
    np.testing.assert_array_equal(of_batch, np.broadcast_to(of_batch[:, :1], (20, 6, 4)))
    assert len({row.tobytes() for row in np.asarray(of_batch[:, 0])}) > 4
    with pytest.raises(ValueError, match="`noise_shape="):
        keras.Sequential([keras.Input((6, 4)), layers.Dropout(0.5, noise_shape=(None, 2, 4))])


def test_images_are_changed_in_training_only(rng: np.random.Generator) -> None:
    x = rng.random((40, 6, 8), np.float32)

    def changed(layer: layers.Layer) -> NDArray[np.float32]:
        model = keras.Sequential([keras.Input((6, 8)), layer])
        assert np.array_equal(model.predict(x), x)
        return model(x, training=True)

    moved = changed(layers.RandomTranslation((0.5, 0.5), (-0.25, -0.25), fill_mode="wrap"))
    np.testing.assert_allclose(moved, np.roll(x, (3, -2), axis=(1, 2)), atol=1e-6)
    mirrored = changed(layers.RandomFlip("horizontal"))
    for before, after in zip(x, mirrored, strict=True):
        assert any(np.allclose(after, other) for other in (before, before[:, ::-1]))
    assert np.allclose(changed(layers.RandomElastic(alpha=0.0)), x)
    elastic = changed(layers.RandomElastic(alpha=10.0, sigma=1.0, seed=1))
    assert not np.allclose(elastic, x, atol=0.1)
    assert len({image.tobytes() for image in changed(layers.RandomRotation(0.5))}) == len(x)
    with pytest.raises(ValueError, match="takes images"):
        keras.Sequential([keras.Input((6,)), layers.RandomZoom(0.1)])
    with pytest.raises(ValueError, match="can't come before one that changes images"):
        keras.Sequential([keras.Input((6, 8)), layers.Dense(8), layers.RandomZoom(0.1)])


@pytest.mark.parametrize("sigma", [1.0, 4.0])
def test_displacements_are_smoothed_noise(sigma: float) -> None:
    size, alpha = 96, 30.0
    ramps = np.stack(np.indices((size, size), np.float32), axis=-1)
    layer = layers.RandomElastic(alpha, sigma, fill_mode="nearest", seed=3)
    model = keras.Sequential([keras.Input((size, size, 2)), layer])
    margin = int(4 * sigma)
    inner = slice(margin, size - margin)
    fields = (model(np.stack([ramps] * 8), training=True) - ramps)[:, inner, inner].astype(np.float64)
    taps = np.exp(-(np.arange(-np.ceil(3 * sigma), np.ceil(3 * sigma) + 1) ** 2) / (2 * sigma**2))
    spread = (taps**2).sum() / taps.sum() ** 2  # along each axis
    deviation = alpha / np.sqrt(3) * spread
    assert abs(fields.mean()) < deviation
    np.testing.assert_allclose(fields.std(axis=(0, 1, 2)), deviation, rtol=0.15)
    # The correlation of pixels at distance two follows from the taps of the filter.
    expected = (taps[2:] * taps[:-2]).sum() / (taps**2).sum()
    for shifted in (fields[:, 2:] * fields[:, :-2], fields[:, :, 2:] * fields[:, :, :-2]):
        assert shifted.mean() / (fields**2).mean() == pytest.approx(expected, abs=0.05)
    down, right = fields[..., 0].ravel(), fields[..., 1].ravel()
    assert abs(np.corrcoef(down, right)[0, 1]) < 0.2


@pytest.mark.parametrize(
    "layer",
    [
        layers.RandomZoom((-0.1, 0.2), 0.3),
        layers.RandomElastic(3.0, 2.0),
        layers.BatchNormalization(axis=1, momentum=0.5, center=False, gamma_regularizer="l2"),
        layers.BatchNormalization(gamma_constraint=constraints.MaxNorm(1.0, 0), beta_constraint="non_neg"),
        layers.LayerNormalization(axis=[1, 2], epsilon=0.1),
        layers.RMSNormalization(epsilon=0.1),
        layers.UnitNormalization(axis=[-1]),
        layers.GroupNormalization(2),
        layers.PReLU(shared_axes=[1]),
        layers.PReLU("ones", alpha_constraint="non_neg"),
        layers.Rescaling([1.0, 2.0], 3.0),
        layers.Normalization(axis=None, mean=1.0, variance=2.0),
        layers.CategoryEncoding(3, "count"),
        layers.Dropout(0.5, noise_shape=(None, 1), seed=3),
        layers.SpatialDropout2D(0.5, "channels_first"),
        layers.AlphaDropout(0.5),
        layers.GaussianDropout(0.5, seed=1),
        layers.GaussianNoise(0.5),
        layers.Reshape((2, -1)),
        layers.Permute((2, 1)),
        layers.RepeatVector(3),
        layers.Flatten("channels_first"),
        layers.Identity(),
        layers.Embedding(3, 4, "ones"),
        layers.Embedding(3, 2, embeddings_constraint="unit_norm"),
        layers.InputLayer((3, 4), batch_size=5, dtype="uint8", name="pixels"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_configs_make_the_same_layer(layer: layers.Layer) -> None:
    again = layers.get({"class_name": type(layer).__name__, "config": layer.get_config()})
    assert again.get_config() == layer.get_config()


def test_initializers_fill() -> None:
    assert initializers.Zeros()((2, 3)).tolist() == [[0.0] * 3] * 2
    assert initializers.get("ones")([2]).tolist() == [1.0, 1.0]
    constant = initializers.get({"class_name": "Constant", "config": {"value": 2}})
    assert constant((1,)).tolist() == [2.0]
    assert initializers.get(initializers.Zeros)((1,)).dtype == np.float32


def test_glorot_uniform_keeps_its_limit() -> None:
    kernel = initializers.GlorotUniform()((300, 100))
    limit = math.sqrt(6 / 400)
    assert np.all((-limit <= kernel) & (kernel < limit))
    # Standard deviation limit / sqrt(3); 30,000 draws
    assert kernel.std() == pytest.approx(limit / math.sqrt(3), rel=0.02)
    assert abs(kernel.mean()) < 6 * limit / math.sqrt(3 * kernel.size)


def test_glorot_uniform_and_seeds() -> None:
    first, second = (initializers.GlorotUniform()((4, 4)) for _ in range(2))
    assert not np.array_equal(first, second)
    keras.utils.set_random_seed(1)
    draw = initializers.GlorotUniform()
    assert np.array_equal(draw((4, 4)), first)
    assert np.array_equal(draw((4, 4)), first)
    fixed = initializers.GlorotUniform(seed=9)
    assert np.array_equal(fixed((4, 4)), fixed((4, 4)))


@pytest.mark.parametrize("where", ["kernel", "bias"])
def test_l2_is_part_of_the_loss(where: str) -> None:
    options: dict[str, Any] = {f"{where}_regularizer": "l2", "bias_initializer": "ones"}
    model = compiled(keras.Sequential([layers.Dense(2, input_shape=(3,), **options)]), "sgd", "mse")
    x = np.ones((5, 3), np.float32)
    kernel, bias = model.get_weights()
    penalty = 0.01 * float(np.sum(np.square(kernel if where == "kernel" else bias, dtype=float)))
    assert model.evaluate(x, model.predict(x)) == pytest.approx(penalty, rel=RTOL)
    model.train_on_batch(x, model.predict(x))
    shrunk = [kernel * (1 - 2 * 0.01 * 0.01) if where == "kernel" else kernel]
    np.testing.assert_allclose(model.get_weights()[0], shrunk[0], rtol=RTOL)


def test_regularizers_by_name() -> None:
    assert regularizers.get(None) is None
    assert regularizers.get("L2").get_config() == {"l2": 0.01}
    assert regularizers.L2(0.5)([[1.0, 2.0]]) == pytest.approx(2.5)
    with pytest.raises(ValueError, match=r"unknown `regularizer` 'l3'\. Known: l1, "):
        regularizers.get("l3")


def test_layers_show_what_they_are() -> None:
    assert repr(layers.Dense(2, name="out")) == "<Dense name=out, built=False>"
    assert repr(regularizers.L2(0.5)) == "L2(l2=0.5)"
    dense = layers.get({"class_name": "Dense", "config": {"units": 3, "activation": "relu"}})
    assert dense.get_config()["activation"] == "relu"
