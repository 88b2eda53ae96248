"""Products whose operands tensor cores round: by the dtype policy of a layer, or by `set_matmul_precision`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from common import assert_all_close, assert_all_equal, compiled

import engine as keras
from engine import layers, ops

# By each choice of a precision: the significant bits of operands in the forward pass and in the two products that give
# gradients.
BITS = {"mixed_bfloat16": (8, 8), "mixed_float16": (11, 11), "tensorfloat32": (11, 11)}
PRECISIONS = pytest.mark.parametrize("precision", BITS)
EPSILON = 2.0**-23  # of float32; tensor cores cut off what their sum has no bits for, which is up to this


@pytest.fixture(autouse=True)
def _step_by_step(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The kernel that trains many batches multiplies in float32, whatever the policy is."""
    monkeypatch.setenv("ENGINE_CUDA_EXECUTION", "steps")
    yield
    keras.config.set_dtype_policy("float32")
    keras.config.set_matmul_precision("float32")


@pytest.fixture(params=["own kernels", "library"])
def way(request: pytest.FixtureRequest) -> str:
    """Who computes the products. The library is cuBLASLt, or what stands in for it."""
    if request.param == "library":
        request.getfixturevalue("library")
    return str(request.param)


@contextmanager
def under(precision: str) -> Iterator[None]:
    """Layers that are made in the block have a policy, or their products the precision "tensorfloat32"."""
    if precision == "tensorfloat32":
        keras.config.set_matmul_precision(precision)
    else:
        keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")
        keras.config.set_matmul_precision("float32")


def rounded(numbers: np.ndarray, bits: int, ties_to_even: bool = True) -> np.ndarray:
    """Returns float32 numbers rounded to so many significant bits, as float64."""
    dropped = 24 - bits
    words = np.asarray(numbers, np.float32).view(np.uint32).astype(np.uint64)
    half = np.uint64(1 << (dropped - 1))
    if ties_to_even:
        words += half - np.uint64(1) + (words >> np.uint64(dropped) & np.uint64(1))
    else:
        words += half
    words = words >> np.uint64(dropped) << np.uint64(dropped)
    return words.astype(np.uint32).view(np.float32).astype(np.float64)


def forward(precision: str, numbers: np.ndarray) -> np.ndarray:
    if precision == "mixed_float16":
        return numbers.astype(np.float16).astype(np.float64)
    return rounded(numbers, BITS[precision][0], precision == "mixed_bfloat16")


def backward(precision: str, numbers: np.ndarray) -> np.ndarray:
    return rounded(numbers, BITS[precision][1], precision == "mixed_bfloat16")


def assert_product(
    ours: np.ndarray, a: np.ndarray, b: np.ndarray, *beside: np.ndarray, slack: float = 0.0
) -> None:
    """Compares with the sum of a @ b and `beside`: a sum of k terms has at most k + 2 roundings of its terms' size, and terms
    may differ by `slack` of theirs."""
    expected = a @ b + sum(beside)
    largest = np.abs(a) @ np.abs(b) + sum(np.abs(each) for each in beside)
    error = np.abs(ours - expected) / (largest + 1e-30)
    assert error.max() <= (a.shape[1] + 2) * EPSILON + slack


class Slopes(keras.losses.Loss):
    """The sum of outputs times targets, whose gradient by the outputs is the targets."""

    def __init__(self) -> None:
        super().__init__(reduction="sum")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.sum(y_true * y_pred, axis=-1)


def check_products(
    precision: str, sizes: tuple[int, int, int], rng: np.random.Generator, way: str = "own kernels"
) -> None:
    """The inputs of the first layer are the rows of a unit matrix, so that its outputs are its kernel, and the gradient by its
    kernel is the one by its outputs. The second layer is compared.

    Whether NVIDIA's library rounds operands to TensorFloat32 or cuts them off is not documented, and the bias is no product there.
    """
    rows, inputs, units = sizes
    cut_off = 2.0**-9 if way == "library" else 0.0
    slacks = [
        cut_off if each else 0.0 for each in (precision == "tensorfloat32", precision != "mixed_bfloat16")
    ]
    x = np.eye(rows, dtype="float32")
    slopes = rng.standard_normal((rows, units)).astype("float32")
    with keras.device("cuda"):
        model = keras.Sequential([keras.Input((rows,)), layers.Dense(inputs, use_bias=False)])
        with under(precision):
            second = layers.Dense(units, bias_initializer="random_normal")
            if precision == "tensorfloat32":  # of all layers that a model has when it is built
                model = keras.Sequential([keras.Input((inputs,)), second])
                outputs = model.predict(
                    kernel := rng.standard_normal((rows, inputs)).astype("float32"), verbose=0
                )
                model.compile(keras.optimizers.SGD(1.0), Slopes())
                before = model.get_weights()
                model.fit(kernel, slopes, batch_size=rows, shuffle=False, verbose=0)
                after = [np.zeros(0), *model.get_weights()]
                before = [kernel, *before]
            else:
                model.add(second)
                model.compile(keras.optimizers.SGD(1.0), Slopes())
                outputs = model.predict(x, verbose=0)
                before = model.get_weights()
                model.fit(x, slopes, batch_size=rows, shuffle=False, verbose=0)
                after = model.get_weights()
    hidden, kernel, bias = before
    round_forward, round_backward = (
        (lambda each: forward(precision, each)),
        (lambda each: backward(precision, each)),
    )
    assert_product(
        outputs, round_forward(hidden), round_forward(kernel), np.broadcast_to(bias, outputs.shape)
    )
    # A step subtracts the gradient from the weights.
    dz = round_backward(slopes)
    assert_product(after[1], -round_backward(hidden).T, dz, kernel, slack=slacks[1])
    dz_of_bias = dz if way == "own kernels" else slopes.astype(np.float64)
    assert_product(after[2][np.newaxis], -np.ones((1, rows)), dz_of_bias, bias[np.newaxis])
    if precision != "tensorfloat32":
        assert_product(after[0], -dz, round_backward(kernel).T, hidden, slack=slacks[1])


@PRECISIONS
@pytest.mark.parametrize(
    "sizes",
    [(1, 1, 1), (31, 33, 32), (32, 32, 32), (33, 31, 65), (65, 17, 1), (2, 100, 40)],
)
def test_products(precision: str, sizes: tuple[int, int, int], way: str, rng: Any) -> None:
    check_products(precision, sizes, rng, way)


@PRECISIONS
@pytest.mark.parametrize("sizes", [(129, 130, 127), (70, 100, 90)])
def test_large_products(precision: str, sizes: tuple[int, int, int], rng: Any) -> None:
    """`make test-cuda` runs this test once more on a GPU of one multiprocessor, which takes large tiles for it."""
    check_products(precision, sizes, rng)


def test_products_by_tiles_of_medium_size(run_program: Any) -> None:
    """A GPU of four multiprocessors takes them for results of four such tiles."""
    arguments = [__file__, "-k", "test_large_products and sizes1", "-p", "no:cacheprovider"]
    printed = run_program(
        f"import pytest, sys; sys.exit(pytest.main({arguments!r}))",
        EMULATED_CUDA_MULTIPROCESSORS="4",
        CUDA_EVERY="1",
    )
    assert "3 passed" in printed


def test_gradients_of_inputs_in_tensorfloat32(rng: Any) -> None:
    """The gradient by the outputs of the first layer is rounded once more, for the product with its inputs."""
    x, slopes = np.eye(33, dtype="float32"), rng.standard_normal((33, 40)).astype("float32")
    with keras.device("cuda"), under("tensorfloat32"):
        stack = [layers.Dense(35, use_bias=False), layers.Dense(40, use_bias=False)]
        model = compiled(keras.Sequential([keras.Input((33,)), *stack]), keras.optimizers.SGD(1.0), Slopes())
        before, kernel = model.get_weights()
        model.fit(x, slopes, batch_size=33, shuffle=False, verbose=0)
    expected = backward("tensorfloat32", slopes) @ backward("tensorfloat32", kernel).T
    np.testing.assert_allclose(before - model.get_weights()[0], expected, rtol=2.0**-11, atol=1e-5)


@pytest.mark.parametrize("bits", [8, 11])
def test_ties_are_rounded_as_the_formats_say(bits: int) -> None:
    """Halfway between two numbers, bfloat16 and float16 take the even one, and TensorFloat32 the larger one."""
    halves = (1.0 + (2.0 * np.arange(64) + 1.0) * 2.0**-bits).astype("float32")
    for precision in [each for each in BITS if BITS[each][0] == bits]:
        with keras.device("cuda"), under(precision):
            layer = layers.Dense(1, use_bias=False, kernel_initializer="ones")
            found = keras.Sequential([keras.Input((1,)), layer]).predict(halves[:, np.newaxis], verbose=0)
        np.testing.assert_array_equal(found[:, 0], forward(precision, halves))
        assert (found[:, 0] != halves).all()


def network(optimizer: Any = "sgd", activation: str = "tanh", scale: float = 1.0) -> keras.Model:
    """Two branches, so that gradients are added; a penalty; three kinds of layers that multiply."""
    inputs = keras.Input((20,))
    hidden = layers.Dense(40, activation=activation, kernel_regularizer=keras.regularizers.L2(1e-3 * scale))(
        inputs
    )
    joined = layers.Add()([layers.Dense(33, activation=activation)(hidden), layers.Dense(33)(hidden)])
    model = keras.Model(inputs, layers.Dense(5)(layers.Dropout(0.2, seed=1)(joined)))
    return compiled(model, optimizer, "mse", loss_weights=scale)


def trained(precision: str, x: Any, y: Any, **options: Any) -> tuple[keras.Model, list[np.ndarray]]:
    """Returns a trained model and the changes of its weights."""
    with keras.device("cuda"), under(precision) if precision != "float32" else keras.device("cuda"):
        keras.utils.set_random_seed(3)
        model = network(**options)
        before = model.get_weights()
        model.fit(x, y, batch_size=16, epochs=2, verbose=0)
    return model, [after - start for after, start in zip(model.get_weights(), before, strict=True)]


def assert_alike(
    ours: list[np.ndarray], expected: list[np.ndarray], precision: str, scale: float = 1.0
) -> None:
    """Rounding an operand changes it by 2^-bits of it at most. From the inputs to a gradient there are three products forwards
    and three backwards, with two operands each."""
    unit = 12 * 2.0 ** -BITS[precision][0] * scale
    for one, other in zip(ours, expected, strict=True):
        assert np.linalg.norm(one - other) <= unit * np.linalg.norm(other)
    assert any((one != other).any() for one, other in zip(ours, expected, strict=True))


@pytest.fixture
def data(rng: np.random.Generator) -> tuple[Any, Any]:
    x = rng.standard_normal((48, 20)).astype("float32")
    return x, x[:, :5] * x[:, 5:10]


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.05),
    "momentum": lambda: keras.optimizers.SGD(0.02, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(0.001, epsilon=1e-2),
    "clipnorm": lambda: keras.optimizers.SGD(0.05, clipnorm=0.1),
}


@PRECISIONS
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.usefixtures("way")
def test_training_is_that_of_float32(precision: str, optimizer: str, data: Any) -> None:
    ours, expected = (
        trained(each, *data, optimizer=OPTIMIZERS[optimizer]()) for each in (precision, "float32")
    )
    assert_alike(ours[1], expected[1], precision)
    predictions = [model.predict(data[0], verbose=0) for model, _ in (ours, expected)]
    assert predictions[0].dtype == np.float32
    np.testing.assert_allclose(*predictions, rtol=0.0, atol=12 * 2.0 ** -BITS[precision][0])


@PRECISIONS
@pytest.mark.parametrize("activation", ["linear", "sigmoid", "elu", "softsign", "silu"])
def test_activations(precision: str, activation: str, data: Any) -> None:
    ours, expected = (trained(each, *data, activation=activation)[1] for each in (precision, "float32"))
    assert_alike(ours, expected, precision)


@PRECISIONS
def test_integers_are_exact(precision: str, way: str, rng: Any) -> None:
    """Those up to 256 are numbers of every format, so that nothing is rounded: also not where relu has its corner."""

    def integers(*shape: int) -> np.ndarray:
        return rng.integers(-2, 3, shape).astype("float32")

    x, slopes = integers(16, 7), integers(16, 3)
    shapes = [(7, 9), (9,), (9, 4), (4,), (9, 4), (4, 3)]
    start, found = [integers(*shape) for shape in shapes], []
    for each in (precision, "float32"):
        with keras.device("cuda"), under(each) if each != "float32" else keras.device("cuda"):
            inputs = keras.Input((7,))
            hidden = layers.Dense(9, activation="relu")(inputs)
            branches = [layers.Dense(4, activation="relu")(hidden), layers.Dense(4, use_bias=False)(hidden)]
            model = keras.Model(inputs, layers.Dense(3, use_bias=False)(layers.Add()(branches)))
            model.compile(keras.optimizers.SGD(0.5, momentum=0.5), Slopes())
            model.set_weights(start)
            model.fit(x, slopes, batch_size=16, shuffle=False, verbose=0)
            found.append(model.get_weights())
            assert ("cuBLASLt" in keras.utils.explain_batch(model, batch_size=16)) == (way == "library")
    for one, other, before in zip(*found, start, strict=True):
        np.testing.assert_array_equal(one, other)
        assert (one != before).any()


@PRECISIONS
@pytest.mark.usefixtures("way")
def test_same_seed_same_bits(precision: str, data: Any) -> None:
    first, second = (trained(precision, *data, optimizer="adam")[0].get_weights() for _ in range(2))
    assert_all_equal(first, second)


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.usefixtures("way")
def test_gradients_far_below_float16_are_kept(precision: str, data: Any) -> None:
    """A loss times 1e-9, and steps 1e9 times as large. Those below 3e-8 would become 0 in float16."""
    scale = 1e-9
    ours = trained(precision, *data, optimizer=keras.optimizers.SGD(0.05 / scale), scale=scale)[1]
    expected = trained("float32", *data, optimizer=keras.optimizers.SGD(0.05))[1]
    assert_alike(ours, expected, precision)


def predicted(policy: str, x: Any, kernel: Any) -> np.ndarray:
    with keras.device("cuda"):
        layer = layers.Dense(np.shape(kernel)[1], use_bias=False, dtype=policy)
        model = keras.Sequential([keras.Input((np.shape(kernel)[0],)), layer])
        layer.set_weights([np.asarray(kernel, "float32")])
        return model.predict(np.asarray(x, "float32"), verbose=0)


@pytest.mark.usefixtures("way")
def test_numbers_beyond_float16_become_infinite() -> None:
    x = np.array([[65519.0], [-65519.0], [65520.0], [-1e30], [2.0**-24], [2.0**-26], [-0.0]])
    expected = np.array([[65504.0], [-65504.0], [np.inf], [-np.inf], [2.0**-24], [0.0], [0.0]])
    np.testing.assert_array_equal(predicted("mixed_float16", x, [[1.0]]), expected)
    kept = predicted("mixed_bfloat16", x[:4], [[1.0]])
    np.testing.assert_array_equal(kept, forward("mixed_bfloat16", x[:4].astype("float32")))


def test_training_in_float16_meets_large_inputs() -> None:
    """The loss is infinite, as in Keras, and the warning about it is the one of every training."""
    with keras.device("cuda"):
        model = keras.Sequential(
            [keras.Input((2,)), layers.Dense(1, kernel_initializer="ones", dtype="mixed_float16")]
        )
        model.compile("sgd", "mse")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            history = model.fit(np.full((4, 2), 1e5), np.zeros((4, 1)), verbose=0)
    assert not np.isfinite(history.history["loss"][0])


def test_each_layer_has_its_policy(rng: Any) -> None:
    x = rng.standard_normal((8, 6)).astype("float32")
    with keras.device("cuda"):
        stack = [layers.Dense(7, dtype="mixed_bfloat16", use_bias=False), layers.Dense(3, use_bias=False)]
        model = keras.Sequential([keras.Input((6,)), *stack])
        one, other = model.get_weights()
        found = model.predict(x, verbose=0)
    hidden = forward("mixed_bfloat16", x) @ forward("mixed_bfloat16", one)
    np.testing.assert_allclose(found, hidden @ other, rtol=1e-5, atol=1e-5)


def test_products_of_custom_layers(rng: Any) -> None:
    """`x @ kernel` in a layer of one's own is the product of a dense layer."""

    class Product(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.kernel = self.add_weight((input_shape[-1], 4))

        def call(self, inputs: Any) -> Any:
            return inputs @ self.kernel

    x = rng.standard_normal((8, 6)).astype("float32")
    with keras.device("cuda"):
        layer = Product(dtype="mixed_bfloat16")
        found = keras.Sequential([keras.Input((6,)), layer]).predict(x, verbose=0)
    expected = forward("mixed_bfloat16", x) @ forward("mixed_bfloat16", np.asarray(layer.get_weights()[0]))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_model_that_is_compiled_again_has_the_precision_of_now(rng: Any) -> None:
    x = rng.standard_normal((8, 6)).astype("float32")
    with keras.device("cuda"):
        model = keras.Sequential([keras.Input((6,)), layers.Dense(3)])
        exact = model.predict(x, verbose=0)
        keras.config.set_matmul_precision("tensorfloat32")
        np.testing.assert_array_equal(model.predict(x, verbose=0), exact)
        model.compile("sgd", "mse")
        assert (model.predict(x, verbose=0) != exact).any()
        keras.config.set_matmul_precision("float32")
        model.layers[-1].dtype_policy = "mixed_bfloat16"
        model.compile("sgd", "mse")
        expected = forward("mixed_bfloat16", x) @ forward("mixed_bfloat16", model.get_weights()[0])
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_models_that_move_keep_their_policy(rng: Any) -> None:
    x = rng.standard_normal((8, 6)).astype("float32")
    model = keras.Sequential([keras.Input((6,)), layers.Dense(3, dtype="mixed_bfloat16")])
    exact = model.predict(x, verbose=0)
    model.compile("sgd", "mse", device="cuda")  # without a warning
    assert (model.predict(x, verbose=0) != exact).any()
    with pytest.warns(UserWarning, match="the CPU computes in float32, more exactly than the dtype policy"):
        model.compile("sgd", "mse", device="cpu")
    np.testing.assert_array_equal(model.predict(x, verbose=0), exact)


def test_one_kernel_for_many_batches_multiplies_in_float32(
    monkeypatch: pytest.MonkeyPatch, data: Any
) -> None:
    monkeypatch.delenv("ENGINE_CUDA_EXECUTION")

    def build() -> keras.Model:
        model = keras.Sequential(
            [keras.Input((20,)), layers.Dense(12, activation="relu", dtype="mixed_bfloat16")]
        )
        model.add(layers.Dense(5))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the CPU
            model.compile("sgd", "mse")
        return model

    with keras.device("cuda"):
        assert "products are in float32" in keras.utils.explain_batch(build())
    weights = []
    for device in ("cuda", "cpu"):
        with keras.device(device):
            keras.utils.set_random_seed(3)
            model = build()
            model.fit(*data, verbose=0)
            weights.append(model.get_weights())
    assert_all_close(*weights, rtol=1e-5, atol=2e-6)


def test_what_is_explained() -> None:
    with keras.device("cuda"), under("mixed_float16"):
        text = keras.utils.explain_batch(network(activation="relu"))
    assert "relu float16 on a GPU" in text
    assert "through relu tensorfloat32 on a GPU" in text
