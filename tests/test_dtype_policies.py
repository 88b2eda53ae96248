"""Dtype policies and the precision of products, on the CPU, which computes in float32 under all of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from common import assert_all_equal, compiled

import engine as keras
from engine import layers

MIXED = pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
WARNING = "the CPU computes in float32, more exactly than the dtype policy"


@pytest.fixture(autouse=True)
def _float32_again() -> Iterator[None]:
    yield
    keras.config.set_dtype_policy("float32")
    keras.config.set_matmul_precision("float32")


def network() -> keras.Sequential:
    stack = [layers.Dense(4, activation="relu"), layers.BatchNormalization(), layers.Dense(2)]
    return keras.Sequential([keras.Input((3,)), *stack])


def trained(model: keras.Sequential) -> list[Any]:
    rng = np.random.default_rng(1)
    model.fit(rng.standard_normal((8, 3)), rng.standard_normal((8, 2)), shuffle=False, verbose=0)
    return model.get_weights()


@MIXED
def test_the_cpu_computes_in_float32_and_says_so_once(policy: str) -> None:
    found = []
    for each in (policy, "float32"):
        keras.config.set_dtype_policy(each)
        keras.utils.set_random_seed(2)
        model = network()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            model.compile("adam", "mse")
            found.append(trained(model))
            model.predict(np.ones((1, 3)), verbose=0)
        expected = [WARNING] if each == policy else []
        assert [str(warning.message)[: len(WARNING)] for warning in said] == expected
        assert all(warning.filename == __file__ for warning in said)
    assert_all_equal(*found)


def test_a_model_that_is_built_later_says_so_too() -> None:
    model = keras.Sequential([layers.Dense(2, dtype="mixed_float16")])
    with pytest.warns(UserWarning, match=WARNING):
        model.compile("sgd", "mse")


@MIXED
def test_the_graph_shows_the_precision(policy: str) -> None:
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4, activation="relu", dtype=policy), layers.Dense(2)]
    )
    with pytest.warns(UserWarning, match=WARNING):
        model.compile("sgd", "mse")
    forward, backward = {
        "mixed_bfloat16": ("bfloat16", "bfloat16"),
        "mixed_float16": ("float16", "tensorfloat32"),
    }[policy]
    lines = keras.utils.explain_batch(model).splitlines()
    products = [line for line in lines if " dense(" in line and "kernel" in line][:2]
    assert products[0].endswith(f"relu {forward} on a GPU")
    assert products[1].endswith("])")
    steps = [line for line in lines if "dense_weight_step" in line][:2]
    assert f"{backward} on a GPU updates" in steps[1]
    assert "GPU" not in steps[0]


def test_the_precision_of_float32() -> None:
    assert keras.config.matmul_precision() == "float32"
    model = compiled(network(), "sgd", "mse")
    before = trained(model)
    keras.config.set_matmul_precision("tensorfloat32")
    assert keras.config.matmul_precision() == "tensorfloat32"
    assert "GPU" not in keras.utils.explain_batch(model)
    model.compile("sgd", "mse")  # which builds it again, and keeps the weights
    assert "tensorfloat32 on a GPU" in keras.utils.explain_batch(model)
    assert_all_equal(model.get_weights(), before)
    mixed = keras.Sequential([keras.Input((3,)), layers.Dense(4, dtype="mixed_bfloat16")])
    assert "tensorfloat32" not in keras.utils.explain_batch(mixed, mode="predict")


@pytest.mark.parametrize("wrong", ["bfloat16", "high", "", 3, None])
def test_what_is_no_precision(wrong: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"`precision` .* 'float32', 'tensorfloat32'"):
        keras.config.set_matmul_precision(wrong)
    assert keras.config.matmul_precision() == "float32"


@pytest.mark.parametrize("wrong", ["float64", np.float16, "nonsense", 32, {"config": {"name": "int8"}}, {}])
def test_what_is_no_policy(wrong: Any) -> None:
    for make in (lambda: layers.Dense(2, dtype=wrong), lambda: keras.config.set_dtype_policy(wrong)):
        with pytest.raises(ValueError, match=r"`dtype` must be 'float32', .* or a DTypePolicy"):
            make()
    for known in (None, "float32", np.float32, np.dtype("f4"), {"config": {"name": "float32"}}):
        assert layers.Dense(4, dtype=known).dtype_policy.name == "float32"


def test_a_policy_that_is_refused_changes_nothing() -> None:
    layer = layers.Dense(2, dtype="mixed_bfloat16")
    with pytest.raises(ValueError, match="weights and outputs are float32 here, so take 'mixed_float16'"):
        layer.dtype_policy = "float16"
    assert layer.dtype_policy.name == "mixed_bfloat16"


def test_inputs_and_integers_have_no_policy() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    assert keras.Input((3,)).dtype == "float32"
    assert layers.InputLayer((3,)).get_config()["dtype"] == "float32"
    assert layers.Hashing(3).get_config()["dtype"] == "int64"

    class Indices(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs

    layer = Indices(dtype="int32")
    assert (layer.dtype, layer.dtype_policy.name) == ("int32", "float32")


def test_layers_within_layers_have_policies_of_their_own() -> None:
    class Block(layers.Layer):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.inner = layers.Dense(3, dtype="float32")

        def build(self, input_shape: Any) -> None:
            self.kernel = self.add_weight((input_shape[-1], 2))

        def call(self, inputs: Any) -> Any:
            return self.inner(inputs @ self.kernel)

    model = keras.Sequential([keras.Input((3,)), Block(dtype="mixed_bfloat16")])
    text = keras.utils.explain_batch(model, mode="predict")
    first, second = [line for line in text.splitlines() if " dense(" in line][:2]
    assert first.endswith("bfloat16 on a GPU")
    assert "GPU" not in second


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_layers_that_cast_to_their_compute_dtype(policy: str) -> None:
    """As scripts for Keras do. A cast to bfloat16 changes no number, so that the product is a dense layer's; one to float16
    rounds, also on the CPU."""

    class Product(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.kernel = self.add_weight((input_shape[-1], 2))

        def call(self, inputs: Any) -> Any:
            inputs = keras.ops.cast(inputs, self.compute_dtype)
            return inputs @ keras.ops.cast(self.kernel, self.compute_dtype)

    model = keras.Sequential([keras.Input((3,)), Product(dtype=policy)])
    (kernel,) = model.get_weights()
    x = np.full((2, 3), 0.3, "float32")
    dtype = "float16" if policy == "mixed_float16" else "float32"
    product = x.astype(dtype).astype("float64") @ kernel.astype(dtype).astype("float64")
    np.testing.assert_allclose(model.predict(x, verbose=0), product, rtol=1e-6)
    text = keras.utils.explain_batch(model, mode="predict")
    assert ("bfloat16 on a GPU" in text) == (policy == "mixed_bfloat16")
    assert keras.ops.cast(x, "bfloat16").dtype == np.float32


def test_products_of_models_have_the_policy_of_the_model() -> None:
    class Network(keras.Model):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.first, self.last = layers.Dense(4, dtype="float32"), layers.Dense(4, dtype="float32")

        def call(self, inputs: Any) -> Any:
            return self.last(self.first(inputs) @ self.first.kernel)

    model = Network(dtype="mixed_bfloat16")
    model(np.ones((1, 4)))
    assert model.dtype_policy.name == "mixed_bfloat16"
    lines = [
        line for line in keras.utils.explain_batch(model, mode="predict").splitlines() if " dense(" in line
    ][:3]
    assert ["bfloat16 on a GPU" in line for line in lines] == [False, True, False]


def test_loss_scale_optimizer_takes_the_steps_of_the_other() -> None:
    found = []
    for wrap in (lambda each: each, keras.optimizers.LossScaleOptimizer):
        keras.utils.set_random_seed(2)
        model = network()
        optimizer = wrap(
            keras.optimizers.Adam(0.01, use_ema=True, gradient_accumulation_steps=2, clipnorm=0.1)
        )
        model.compile(optimizer, "mse")
        found.append(trained(model))
        found[-1] += trained(model)
    assert_all_equal(*found)
    assert int(optimizer.iterations) == int(optimizer.inner_optimizer.iterations) == 1
    assert optimizer.scale_loss(2.0) == optimizer.get_scaled_loss(2.0) == 2.0 * 2**15
    assert optimizer.get_unscaled_gradients((1.0, None)) == [1.0, None]  # `apply` divides them


def test_loss_scale_optimizer_skips_steps_that_are_not_finite() -> None:
    weights = [keras.Variable([1.0, 2.0]), keras.Variable(3.0)]
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.5), initial_scale=4.0, dynamic_growth_steps=2
    )
    optimizer.apply([np.array([4.0, 8.0]), np.array(4.0)], weights)
    assert [np.asarray(each).tolist() for each in weights] == [[0.5, 1.0], 2.5]
    for wrong in (np.nan, np.inf, -np.inf):
        optimizer.apply([np.array([4.0, wrong]), np.array(0.0)], weights)
    assert [np.asarray(each).tolist() for each in weights] == [[0.5, 1.0], 2.5]
    assert float(optimizer.scale_loss(1.0)) == 0.5
    assert int(optimizer.iterations) == 1
    for _ in range(2):
        optimizer.apply([np.array([0.5, 0.5]), np.array(0.0)], weights)
    assert np.asarray(weights[0]).tolist() == [-0.5, 0.0]
    assert float(optimizer.scale_loss(1.0)) == 1.0


def test_loss_scale_optimizer_in_own_steps() -> None:
    class Stepped(keras.Sequential):
        def train_step(self, data: Any) -> Any:
            x, y = data
            with keras.GradientTape() as tape:
                loss = keras.ops.mean(keras.ops.square(self(x, training=True) - y))
                scaled = self.optimizer.scale_loss(loss)
            gradients = tape.gradient(scaled, self.trainable_variables)
            self.optimizer.apply(gradients, self.trainable_variables)
            return {"loss": loss}

    x, y = np.ones((4, 3), np.float32), np.zeros((4, 1), np.float32)
    found = []
    for optimizer in (
        keras.optimizers.SGD(0.1),
        keras.optimizers.SGD(0.1, loss_scale_factor=8.0),
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)),
    ):
        model = Stepped([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="ones")])
        model.compile(optimizer)
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            with pytest.warns(UserWarning, match="whether it is finite, which LossScaleOptimizer looks at"):
                model.fit(x, y, batch_size=2, verbose=0)
        else:
            model.fit(x, y, batch_size=2, verbose=0)
        found.append(model.get_weights()[0])
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_loss_scale_optimizer_in_files(tmp_path: Any) -> None:
    model = compiled(network(), keras.optimizers.LossScaleOptimizer("adam", dynamic_growth_steps=5), "mse")
    trained(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert_all_equal(loaded.optimizer.variables, model.optimizer.variables)
    assert_all_equal(trained(model), trained(loaded))
