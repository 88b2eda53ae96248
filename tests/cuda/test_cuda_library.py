"""Products by cuBLASLt: trainings as on the CPU, which products it computes, and what happens where it fails.

On an emulated GPU, a library that stands in for it is loaded as it would be: tests/cpp/emulated_cuda/libraries.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import assert_all_equal, compiled

import engine as keras
from engine import layers
from engine._core_interface.cpp import build_info, cuda_products

emulated = pytest.mark.skipif(
    "Emulated" not in build_info()["cuda"], reason="NVIDIA's library does not fail on demand"
)


def classifier(*widths: int, optimizer: Any = "adam", inputs: int = 20, **options: Any) -> keras.Model:
    model = keras.Sequential([keras.Input((inputs,))])
    for width in widths:
        model.add(layers.Dense(width, "relu", **options))
    model.add(layers.Dense(5, "softmax", **options))
    return compiled(model, optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])


def samples(rng: np.random.Generator, rows: int = 45, inputs: int = 20) -> tuple[Any, Any]:
    return rng.standard_normal((rows, inputs)).astype("float32"), rng.integers(0, 5, rows)


def explain(model: keras.Model, batch_size: int = 32) -> str:
    return str(keras.utils.explain_batch(model, batch_size=batch_size))


# ---- Trainings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("widths", [(), (1,), (31, 32), (129,)])
@pytest.mark.parametrize("batch_size", [1, 16, 45, 64])
def test_networks_train_alike(
    widths: tuple[int, ...], batch_size: int, library: Any, same_training: Any, rng: Any
) -> None:
    """The last batch of 45 rows may be smaller: another product, with a plan of its own."""
    rows = 7 if batch_size == 1 else 45
    model = same_training(lambda: classifier(*widths), *samples(rng, rows), batch_size=batch_size)
    products = [line for line in explain(model).splitlines() if "by cuBLASLt" in line]
    assert len(products) == 3 * (len(widths) + 1) - 1  # the first layer needs no gradient by its input


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: keras.optimizers.SGD(0.1),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "nesterov": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "adagrad": lambda: keras.optimizers.Adagrad(0.05),  # it steps no weights beside the product
    "accumulated": lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=3),
    "clipped": lambda: keras.optimizers.SGD(0.1, global_clipnorm=0.5),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str, library: Any, same_training: Any, rng: Any) -> None:
    same_training(lambda: classifier(17, optimizer=OPTIMIZERS[name]()), *samples(rng), batch_size=16)


def frozen() -> list[layers.Layer]:
    middle = layers.Dense(9, "relu")
    middle.trainable = False
    return [layers.Dense(8), middle]


LAYERS: dict[str, Callable[[], list[layers.Layer]]] = {
    "no bias": lambda: [layers.Dense(9, use_bias=False), layers.Dense(7, "relu", use_bias=False)],
    "no activation": lambda: [layers.Dense(9)],
    "another activation": lambda: [layers.Dense(9, "gelu")],
    "dropout": lambda: [layers.Dense(9, "relu"), layers.Dropout(0.3)],
    "batch normalization": lambda: [layers.Dense(9, "relu"), layers.BatchNormalization()],
    "penalties": lambda: [layers.Dense(9, "relu", kernel_regularizer="l2", bias_regularizer="l1_l2")],
    "timesteps": lambda: [layers.Reshape((4, 5)), layers.Dense(6, "relu"), layers.Dense(3), layers.Flatten()],
    "frozen": frozen,
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, library: Any, same_training: Any, rng: Any) -> None:
    def build() -> keras.Model:
        model = keras.Sequential([keras.Input((20,)), *LAYERS[name](), layers.Dense(5, "softmax")])
        return compiled(model, "adam", "sparse_categorical_crossentropy")

    same_training(build, *samples(rng), batch_size=16)


def branches(inputs: Any) -> Any:
    """The gradients by the value that both layers read are added, the second one by the library."""
    x = layers.Dense(20, "relu")(inputs)
    return layers.add([layers.Dense(20)(x), layers.Dense(20, "relu")(x)])


def shared(inputs: Any) -> Any:
    layer = layers.Dense(20, "relu")
    return layer(layer(layers.Dense(20)(inputs)))


@pytest.mark.parametrize("middle", [branches, shared])
def test_graphs(middle: Callable[[Any], Any], library: Any, same_training: Any, rng: Any) -> None:
    def build() -> keras.Model:
        inputs = keras.Input((20,))
        model = keras.Model(inputs, layers.Dense(5, "softmax")(middle(inputs)))
        return compiled(model, "sgd", "sparse_categorical_crossentropy")

    model = same_training(build, *samples(rng), batch_size=16)
    assert ("with addend through relu" in explain(model)) == (middle is branches)


def test_many_batches_are_started_as_graphs(library: Any, same_training: Any, rng: Any) -> None:
    same_training(
        lambda: classifier(9, optimizer=keras.optimizers.SGD(0.05)),
        *samples(rng, 201),
        batch_size=4,
        epochs=4,
    )


def test_the_same_seed_gives_the_same_bits_whatever_ran_before(library: Any, rng: Any) -> None:
    """A smaller batch may run in memory for a larger one, whose products have other plans."""
    x, y = samples(rng)
    found = []
    with keras.device("cuda"):
        for before in (None, 64, 30):
            keras.utils.set_random_seed(5)
            model = classifier(33, 18)
            weights = model.get_weights()
            if before:
                model.fit(x, y, batch_size=before, epochs=1, verbose=0)
                model.set_weights(weights)
                model.compile("adam", "sparse_categorical_crossentropy")
            model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
            found.append(model.get_weights())
    for other in found[1:]:
        assert_all_equal(found[0], other)


def test_what_is_no_number_passes_through_relu(library: Any, rng: Any) -> None:
    """The library's own relu may make 0 of it, so that a broken training would look sound."""
    x, _ = samples(rng)
    x[3] = 3e38  # the first layer gives infinities, and the second their differences
    with keras.device("cuda"):
        model = classifier(9, 9)
    predicted = model.predict(x, verbose=0)
    assert np.isnan(predicted[3]).all()
    assert np.isfinite(np.delete(predicted, 3, axis=0)).all()


# ---- Lower precision ------------------------------------------------------------------------------------------------

SIGNIFICANT_BITS = {"bfloat16": 8, "float16": 11, "tensorfloat32": 11}
# Of a policy, the precisions of the product forwards and of those that give gradients.
POLICIES = {
    "mixed_bfloat16": ("bfloat16", "bfloat16"),
    "mixed_float16": ("float16", "tensorfloat32"),
    "tensorfloat32": ("tensorfloat32", "tensorfloat32"),
}


def rounded(numbers: np.ndarray, precision: str) -> np.ndarray:
    """Returns float32 numbers as the precision has them, in float64."""
    if precision == "float16":
        return numbers.astype(np.float16).astype(np.float64)
    words = numbers.astype(np.float32).view(np.uint32)
    dropped = np.uint32(24 - SIGNIFICANT_BITS[precision])
    half = np.uint32(1) << (dropped - np.uint32(1))
    if precision == "bfloat16":  # of two that are as near, the even one
        half = half - np.uint32(1) + (words >> dropped & np.uint32(1))
    return ((words + half) >> dropped << dropped).view(np.float32).astype(np.float64)


@pytest.fixture
def lower_precision(library: Any, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Models of the test have a policy, or the products of all models TensorFloat32."""
    tensorfloat32 = request.param == "tensorfloat32"
    keras.config.set_matmul_precision("tensorfloat32" if tensorfloat32 else "float32")
    keras.config.set_dtype_policy("float32" if tensorfloat32 else request.param)
    yield POLICIES[request.param]
    keras.config.set_matmul_precision("float32")
    keras.config.set_dtype_policy("float32")


PRECISIONS = pytest.mark.parametrize("lower_precision", POLICIES, indirect=True)


@PRECISIONS
@pytest.mark.parametrize(("inputs", "units"), [(20, 17), (33, 8), (8, 1)])
def test_operands_are_rounded(inputs: int, units: int, lower_precision: tuple[str, str], rng: Any) -> None:
    """Numbers of all sizes, also those that float16 has fewer bits for; rows that are no whole multiples of 16 bytes."""
    forward, backward = lower_precision
    x = (rng.standard_normal((23, inputs)) * 10.0 ** rng.integers(-9, 3, (23, inputs))).astype("float32")
    y = rng.standard_normal((23, 6)).astype("float32")
    with keras.device("cuda"):
        model = keras.Sequential([keras.Input((inputs,)), layers.Dense(units, "relu"), layers.Dense(6)])
        model.compile(keras.optimizers.SGD(1.0), keras.losses.MeanSquaredError(reduction="sum"))
    kernel, bias, last_kernel, last_bias = before = model.get_weights()
    hidden = np.maximum(rounded(x, forward) @ rounded(kernel, forward) + bias, 0).astype("float32")
    outputs = (rounded(hidden, forward) @ rounded(last_kernel, forward) + last_bias).astype("float32")
    # NVIDIA does not say whether its library rounds to TensorFloat32 or cuts off.
    emulated_card = "Emulated" in build_info()["cuda"]
    unit = 2.0**-9 if "tensorfloat32" in lower_precision and not emulated_card else 1e-5
    predicted = model.predict(x, verbose=0)
    assert np.abs(predicted - outputs).max() <= unit * np.abs(outputs).max()
    model.train_on_batch(x, y)
    slopes = ((outputs - y) * np.float32(2 / 6)).astype("float32")
    of_hidden = (rounded(slopes, backward) @ rounded(last_kernel, backward).T * (hidden > 0)).astype(
        "float32"
    )
    gradients = [
        rounded(x, backward).T @ rounded(of_hidden, backward),
        of_hidden.sum(0),
        rounded(hidden, backward).T @ rounded(slopes, backward),
        slopes.sum(0),
    ]
    for old, new, gradient in zip(before, model.get_weights(), gradients, strict=True):
        # A number on the edge of two others is rounded to either: one of many terms.
        assert np.abs(old.astype(float) - new - gradient).max() <= 100 * unit * np.abs(gradient).max() + 1e-6


@PRECISIONS
def test_lower_precision_gives_the_same_bits(lower_precision: Any, rng: Any) -> None:
    x, y = samples(rng)
    found = []
    with keras.device("cuda"):
        for _ in range(2):
            keras.utils.set_random_seed(5)
            model = classifier(33, 18)
            model.fit(x, y, batch_size=16, epochs=2, verbose=0)
            found.append(model.get_weights())
    assert_all_equal(*found)


@PRECISIONS
def test_weights_that_were_stepped_are_rounded_anew(lower_precision: Any, rng: Any) -> None:
    """A function that steps weights and reads them again, after the step."""
    x = rng.standard_normal((12, 9)).astype("float32")
    with keras.device("cuda"):
        model = keras.Sequential([keras.Input((9,)), layers.Dense(7)])
        optimizer = keras.optimizers.SGD(0.5)
        optimizer.build(model.trainable_variables)

        @keras.function
        def step(x: Any) -> Any:
            with keras.GradientTape() as tape:
                loss = keras.ops.sum(keras.ops.square(model(x)))
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
            return model(x)

        before = model.predict(x, verbose=0)
        after = np.asarray(step(x))
    assert np.abs(after - before).max() > 0.1
    np.testing.assert_allclose(after, model.predict(x, verbose=0), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("lower_precision", ["mixed_bfloat16"], indirect=True)
def test_operands_are_rounded_once_in_a_batch(lower_precision: Any) -> None:
    """Inputs and kernels for two products each, gradients for one or two; relu leaves copies of its results."""
    with keras.device("cuda"):
        model = classifier(9)
    text = explain(model)
    kernels = [line for line in text.partition("Schedule:")[2].splitlines() if "dense" in line]
    # Products; roundings of inputs, two kernels and the gradient by the outputs; relu forwards and backwards; two for
    # each step.
    assert len(kernels) == 5 + 4 + 2 + 4


# ---- Who computes which product --------------------------------------------------------------------------------------


def test_small_products_stay_with_own_kernels(library: Any) -> None:
    library.delenv("ENGINE_CUDA_PRODUCTS")
    with keras.device("cuda"):
        model = classifier(512, inputs=512)
    large = [line for line in explain(model, 512).splitlines() if "by cuBLASLt" in line]
    # Of the first layer, forwards and by its weights.
    assert [line.split()[3].partition("(")[0] for line in large[:1]] == ["dense"]
    assert [line.split()[1].partition("(")[0] for line in large[1:]] == ["dense_weight_step"]
    assert "cuBLASLt" not in explain(model, 256)
    library.setenv("ENGINE_CUDA_PRODUCTS", "own")
    assert "cuBLASLt" not in explain(model, 512)


@pytest.mark.parametrize(
    ("lower_precision", "rows"),
    [("tensorfloat32", 1024), ("mixed_bfloat16", 4096)],
    indirect=["lower_precision"],
)
def test_tensor_cores_leave_larger_products_to_own_kernels(
    rows: int, library: Any, lower_precision: Any
) -> None:
    library.delenv("ENGINE_CUDA_PRODUCTS")
    with keras.device("cuda"):
        model = classifier(512, inputs=512)
    assert "by cuBLASLt" in explain(model, rows)
    assert "by cuBLASLt" not in explain(model, rows - 1)


def test_other_ways_are_refused(library: Any) -> None:
    with keras.device("cuda"):
        model = classifier(9)
    library.setenv("ENGINE_CUDA_PRODUCTS", "cublas")
    with pytest.raises(ValueError, match="ENGINE_CUDA_PRODUCTS must be 'own' or 'library'; got 'cublas'"):
        explain(model)


def test_without_the_library_own_kernels_compute(library: Any, same_training: Any, rng: Any) -> None:
    library.setenv("ENGINE_CUBLASLT", "off")
    with keras.device("cuda"):
        model = classifier(9)
    with pytest.raises(ValueError, match="asks for the library, but there is none: ENGINE_CUBLASLT is off"):
        explain(model)
    library.delenv("ENGINE_CUDA_PRODUCTS")
    model = same_training(lambda: classifier(9), *samples(rng), batch_size=16)
    assert "cuBLASLt" not in explain(model)
    assert cuda_products() == "large products by own kernels: ENGINE_CUBLASLT is off"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "large products by cuBLASLt "),
        ({"ENGINE_CUBLASLT": "/no/such/file"}, "own kernels: /no/such/file: cannot open shared object file"),
        ({"ENGINE_CUBLASLT": "libm.so.6"}, "own kernels: libm.so.6 has not all functions of cuBLASLt"),
        pytest.param(
            {"EMULATED_CUBLASLT_VERSION": "11.5.0"},
            "is version 11.5.0, and 12 or later is needed",
            marks=emulated,
        ),
        pytest.param({"EMULATED_CUDA_DEVICES": "0"}, "no device: ", marks=emulated),
    ],
)
def test_info_says_who_computes(variables: dict[str, str], message: str, library: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "engine", "info"],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert message in done.stdout
    assert ("products" in done.stdout) == ("no device" not in message)


NAMES_FILES = """
import engine as keras
from engine._core_interface import cpp
cpp._core = type("Core", (), {"set_device": print, "set_cuda_library_candidates": print})
keras.config.set_device("cpu")
keras.config.set_device("cuda")
"""


def test_packages_for_pip_are_found(tmp_path: Path) -> None:
    """NVIDIA's packages share a namespace, in which those for CUDA 12 and 13 have other folders."""
    new = tmp_path / "one" / "nvidia" / "cu13" / "lib" / "libcublasLt.so.13"
    old = tmp_path / "two" / "nvidia" / "cublas" / "lib" / "libcublasLt.so.12"
    for file in (old, new):
        file.parent.mkdir(parents=True)
        file.touch()
    folders = [str(tmp_path / "two"), str(tmp_path / "one"), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", NAMES_FILES],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, folders))},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    first, second, third = done.stdout.splitlines()
    assert first == "cpu"
    assert second.index(str(new)) < second.index(str(old))
    assert third == "cuda"


# ---- Failures --------------------------------------------------------------------------------------------------------


@emulated
def test_products_that_it_cannot_compute_are_own(library: Any, same_training: Any, rng: Any) -> None:
    """The library keeps its plans, so no other test has this width."""
    library.setenv("EMULATED_CUBLASLT_MOST", "17")
    model = same_training(lambda: classifier(23), *samples(rng), batch_size=16)
    by_library = [line for line in explain(model, 16).splitlines() if "by cuBLASLt" in line]
    assert [line.split()[3].partition("(")[0] for line in by_library] == [
        "dense",
        "dense",
        "dense_input_gradient",
    ]
    assert "by cuBLASLt" not in explain(model, 18)  # rows


FAILURES = {
    "cublasLtCreate": "cuBLASLt failed while starting, with cublasStatus_t 1: set ENGINE_CUBLASLT=off",
    "cublasLtMatmul": "cuBLASLt failed while multiplying matrices, with cublasStatus_t 13",
}

FAILING = """
import numpy as np
import engine as keras
import os
keras.utils.set_random_seed(1)
with keras.device("cuda"):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8), keras.layers.Dense(3)])
model.compile("adam", "mse")
x, y = np.ones((20, 6), "float32"), np.ones((20, 3), "float32")
before = model.get_weights()
os.environ["EMULATED_CUBLASLT_FAIL"] = %r
try:
    model.fit(x, y, batch_size=8, verbose=0)
except RuntimeError as error:
    print(error)
assert all((one == other).all() for one, other in zip(before, model.get_weights()))
del os.environ["EMULATED_CUBLASLT_FAIL"]
model.fit(x, y, batch_size=8, verbose=0)
assert all((one != other).any() for one, other in zip(before, model.get_weights()))
print("trained")
"""


@emulated
@pytest.mark.parametrize("function", FAILURES)
def test_a_library_that_fails_leaves_the_model_as_it_was(function: str, library: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILING % function], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert FAILURES[function] in done.stdout
    assert done.stdout.endswith("trained\n")


@emulated
def test_a_last_batch_that_it_cannot_compute_is_refused_before_the_first(library: Any, rng: Any) -> None:
    """The plan of the last batch, which has fewer rows, is made before the training changes anything."""
    x, y = samples(rng)
    with keras.device("cuda"):
        model = classifier(24)
    before = model.get_weights()
    library.setenv("EMULATED_CUBLASLT_LEAST", "14")
    with pytest.raises(RuntimeError, match=r"no way to compute a product \(13, 24\) with sums of 20"):
        model.fit(x, y, batch_size=16, verbose=0)
    assert_all_equal(model.get_weights(), before)
