"""Exported models compute what functions and layers that users write do: ONNX in two evaluators, C compiled by gcc."""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from exported import Array
from test_export_graphs import ROWS, computed_in_c, evaluate, exported, run
from test_tracing_operations import CASES, by_sample

import engine as keras
from engine import layers, ops
from engine._tracing.primitives import elementwise
from engine.export import arrays, c_arrays, onnx_arrays

FUNCTIONS = int(os.environ.get("RANDOM_FUNCTIONS", "60"))
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


def as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def model_of(number: int) -> tuple[keras.Model, list[Array]]:
    """Returns a model of one function of `engine.ops`, and its inputs."""
    _, function, given = CASES[number]
    inputs = [keras.Input(array.shape[1:], dtype=array.dtype.name) for array in given]
    with np.errstate(all="ignore"):
        results = as_list(function(*given))
    outputs = [
        by_sample(symbol, result, inputs[0])[0]
        for symbol, result in zip(as_list(function(*inputs)), results, strict=True)
    ]
    return keras.Model(inputs, outputs), list(given)


def predicted(model: keras.Model, x: list[Array], **options: Any) -> list[Array]:
    return as_list(model.predict(x if len(x) > 1 else x[0], verbose=0, **options))


def assert_close(found: list[Array], wanted: list[Array], tolerance: float = 2e-5) -> None:
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("number", range(len(CASES)), ids=[case[0] for case in CASES])
def test_functions_in_onnx(number: int, tmp_path: Path) -> None:
    model, x = model_of(number)
    file = exported(model, tmp_path)
    for compute in (run, evaluate):
        assert_close(compute(file, x), predicted(model, x))
    first = [each[:1] for each in x]
    assert_close(run(file, first), predicted(model, first))


ALONE = "the outputs of model .* may depend on the other samples of its batch"


@pytest.fixture(scope="module")
def functions_in_c(tmp_path_factory: pytest.TempPathFactory) -> list[list[Array]]:
    models = [model_of(number) for number in range(len(CASES))]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ALONE)
        return computed_in_c(
            [model for model, _ in models], [x for _, x in models], tmp_path_factory.mktemp("c"), "-O0"
        )


@needs_gcc
@pytest.mark.parametrize("number", range(len(CASES)), ids=[case[0] for case in CASES])
def test_functions_in_c(number: int, functions_in_c: list[list[Array]]) -> None:
    """A header has one sample, so that what joins samples sees one of them."""
    model, x = model_of(number)
    *found, deviation = functions_in_c[number]
    assert_close(found, predicted(model, x, batch_size=1))
    assert deviation <= 2e-5


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("number", range(len(CASES)), ids=[case[0] for case in CASES])
def test_a_header_warns_where_samples_depend_on_each_other(number: int, tmp_path: Path) -> None:
    model, x = model_of(number)
    together, alone = predicted(model, x), predicted(model, x, batch_size=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.export(tmp_path / "model.h")
    said = [str(each.message) for each in caught if re.search(ALONE, str(each.message))]
    if not all(np.allclose(*pair, 1e-4, 1e-4, equal_nan=True) for pair in zip(together, alone, strict=True)):
        assert len(said) == 1


class RandomFunction:
    """A function of random operations, and a layer that computes it with a weight.

    Args:
        seed: of the operations.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        rng = np.random.default_rng(seed)
        self.shape = tuple(int(each) for each in rng.integers(1, 5, size=rng.integers(1, 4)))
        self.x = rng.normal(size=(ROWS, *self.shape)).astype(np.float32)
        self.weight = rng.normal(size=self.shape[-1:]).astype(np.float32)

    def model(self) -> keras.Model:
        function = self

        class Drawn(layers.Layer):
            def build(self, input_shape: Any) -> None:
                self.w = self.add_weight(shape=input_shape[-1:], name="w")

            def call(self, x: Any) -> Any:
                return function.applied(x, self.w)

        inputs = keras.Input(self.shape)
        layer = Drawn(name="drawn")
        model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(layer(inputs))))
        layer.set_weights([self.weight])
        return model

    def applied(self, x: Any, w: Any) -> Any:
        rng = np.random.default_rng(self._seed + 1000)
        pool = [x, x * w]
        for _ in range(10):
            one, other = (pool[rng.integers(len(pool))] for _ in range(2))
            pool.append(self._step(rng, one, other))
        parts = [ops.tanh(ops.reshape(each, (-1, int(np.prod(each.shape[1:]))))) for each in pool[-4:]]
        return ops.concatenate(parts, axis=1)

    def _step(self, rng: Any, x: Any, y: Any) -> Any:
        axes = x.ndim
        axis = int(rng.integers(1, axes))
        length = x.shape[axis]
        unary: list[Callable[[Any], Any]] = [
            ops.tanh, ops.sigmoid, ops.relu, ops.square, ops.erf, ops.sin, ops.floor, ops.sign, ops.softplus, ops.abs,
            lambda a: ops.exp(-ops.abs(a)), lambda a: ops.log1p(ops.abs(a)), lambda a: ops.where(a > 0.2, a, -1.0),
            lambda a: ops.sqrt(ops.abs(a) + 0.5), lambda a: a % 0.75, ops.round, ops.stop_gradient,
        ]  # fmt: skip
        moves: list[Callable[[], Any]] = [
            lambda: unary[rng.integers(len(unary))](x),
            lambda: unary[rng.integers(len(unary))](x),
            lambda: ops.softmax(x, axis=axis),
            lambda: ops.cumsum(x, axis=axis),
            lambda: ops.flip(x, axis=axis),
            lambda: ops.flip(x, axis=0),
            lambda: ops.roll(x, 1, axis=axis),
            lambda: x[:, ::-1] if rng.integers(2) else x[..., ::2],
            lambda: ops.concatenate([x, x * 2], axis=axis),
            lambda: ops.stack([x, -x], axis=axis) if axes < 4 else x,
            lambda: ops.expand_dims(x, axis) if axes < 4 else x,
            lambda: ops.swapaxes(x, axis, axes - 1),
            lambda: ops.reshape(x, (-1, *reversed(x.shape[1:]))),
            lambda: ops.take(x, rng.integers(0, length, size=2), axis=axis),
            lambda: ops.take_along_axis(x, ops.argmax(x, axis=axis, keepdims=True), axis=axis),
            lambda: ops.one_hot(ops.argmin(x, axis=-1), 3) if axes > 1 else x,
            lambda: getattr(ops, ("sum", "mean", "max", "min", "prod", "std")[rng.integers(6)])(x, axis, keepdims=True),
            lambda: x - ops.mean(x, axis=(0, axes - 1), keepdims=True),
            lambda: ops.einsum("bi,ci->bc", *(ops.reshape(x, (-1, int(np.prod(x.shape[1:])))),) * 2) @ x
            if axes == 2
            else ops.matmul(x, ops.swapaxes(x, -1, -2)),
            lambda: ops.matmul(x, self.weight[:, None]) if x.shape[-1] == len(self.weight) else ops.tril(x),
            lambda: ops.maximum(x, y) * 0.5 if x.shape[1:] == y.shape[1:] else ops.minimum(x, 0.1),
            lambda: x * ops.mean(y) + ops.sum(y, axis=tuple(range(1, y.ndim)))[(..., *(None,) * (axes - 1))],
            lambda: ops.where(x > ops.mean(x) + 0.01, x, y) if x.shape[1:] == y.shape[1:] else x / (1 + ops.abs(x)),
        ]  # fmt: skip
        return moves[rng.integers(len(moves))]()


@pytest.mark.parametrize("seed", range(FUNCTIONS))
def test_random_functions_in_onnx(seed: int, tmp_path: Path) -> None:
    function = RandomFunction(seed)
    model = function.model()
    file = exported(model, tmp_path)
    for compute in (run, evaluate):
        for count in (ROWS, 1):
            x = [function.x[:count]]
            assert_close(compute(file, x), predicted(model, x), 1e-4)


@needs_gcc
@pytest.mark.filterwarnings(f"ignore:{ALONE}")
def test_random_functions_in_c(tmp_path: Path) -> None:
    functions = [RandomFunction(seed) for seed in range(FUNCTIONS)]
    models = [function.model() for function in functions]
    for function, model, (found, deviation) in zip(
        functions,
        models,
        computed_in_c(models, [[each.x] for each in functions], tmp_path, "-O0"),
        strict=True,
    ):
        assert_close([found], predicted(model, [function.x], batch_size=1), 1e-4)
        assert deviation <= 1e-4


class Gelu(layers.Layer):
    def call(self, x: Any) -> Any:
        return 0.5 * x * (1 + ops.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


class Cross(layers.Layer):
    def build(self, shapes: Any) -> None:
        width = shapes[0][-1]
        self.w = self.add_weight(shape=(width, width), name="w")
        self.b = self.add_weight(shape=(width,), name="b")

    def call(self, inputs: Any) -> Any:
        start, x = inputs
        return start * (x @ self.w + self.b) + x


class AttentionPooling(layers.Layer):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.score = layers.Dense(1)

    def call(self, x: Any, mask: Any = None) -> Any:
        scores = self.score(x)[..., 0]
        if mask is not None:
            scores = ops.where(mask, scores, -1e9)
        return ops.einsum("bt,bti->bi", ops.softmax(scores), x)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        return None


class Noisy(layers.Layer):
    def call(self, x: Any, training: bool = False) -> Any:
        return x + keras.random.normal(ops.shape(x)) if training else x * 2


class Tied(keras.Model):
    """An autoencoder whose decoder has the weights of its encoder, and a loss of its own."""

    def __init__(self) -> None:
        super().__init__(name="tied")
        self.encoder = layers.Dense(3, activation="tanh", name="encoder")
        self.noise = Noisy(name="noisy")

    def call(self, x: Any) -> Any:
        code = self.noise(self.encoder(x))
        self.add_loss(ops.mean(ops.square(code)))
        return {"code": code, "again": code @ ops.transpose(self.encoder.kernel)}


def vae_encoder() -> keras.Model:
    """The mean of a code, and not the numbers that are drawn from it."""
    inputs = keras.Input((7,))
    hidden = layers.Dense(5, "relu")(inputs)
    mean, log_variance = layers.Dense(2, name="mean")(hidden), layers.Dense(2)(hidden)
    drawn = layers.Lambda(
        lambda both: both[0] + ops.exp(both[1] / 2) * keras.random.normal(ops.shape(both[0]))
    )([mean, log_variance])
    whole = keras.Model(inputs, [mean, drawn])
    return keras.Model(inputs, whole.get_layer("mean").output)


def deep_and_cross() -> keras.Model:
    inputs = keras.Input((6,))
    crossed = Cross()([inputs, Cross()([inputs, inputs])])
    both = layers.Concatenate()([crossed, Gelu()(layers.Dense(4)(inputs))])
    return keras.Model(inputs, layers.Dense(1, activation=lambda x: ops.sigmoid(2.0 * x))(both))


def masked_attention() -> keras.Model:
    ids = keras.Input((5,), dtype="int32")
    rows = layers.Embedding(7, 4, mask_zero=True)(ids)
    return keras.Model(ids, layers.Dense(2)(AttentionPooling()(rows)))


def table_of_ones_own() -> keras.Model:
    class Table(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.table = self.add_weight(shape=(4, 3), name="table")

        def call(self, ids: Any) -> Any:
            return ops.take(self.table, ids, axis=0)

    ids = keras.Input((2,), dtype="int32")
    return keras.Model(ids, layers.Flatten()(Table()(ids)))


def tied() -> keras.Model:
    model = Tied()
    model(np.zeros((1, 6), np.float32))
    return model


def of_empty_arrays() -> keras.Model:
    inputs = keras.Input((3,))
    nothing = inputs[:, 3:]
    sums = [ops.sum(nothing, axis=1, keepdims=True), ops.prod(nothing, axis=1, keepdims=True)]
    product = ops.matmul(nothing, np.zeros((0, 2), np.float32))
    return keras.Model(inputs, ops.concatenate([nothing * 2, *sums, product, inputs], axis=1))


def of_all_samples() -> keras.Model:
    """The kernel of all pairs of samples, whose shape depends twice on their number."""

    class Kernel(layers.Layer):
        def call(self, x: Any) -> Any:
            distances = ops.sum(ops.square(x[:, None] - x[None]), axis=-1)
            count = ops.cast(ops.shape(x)[0], "float32")
            return ops.exp(-distances) @ x / count + ops.arange(ops.shape(x)[0], dtype="float32")[:, None]

    return keras.Sequential([keras.Input((3,)), Kernel()])


def outputs_that_are_views() -> keras.Model:
    inputs = keras.Input((2, 3))
    flat = ops.reshape(inputs, (-1, 6))
    return keras.Model(
        inputs, [flat, flat * 2, ops.stop_gradient(inputs), ops.zeros_like(inputs) + np.eye(2, 3)]
    )


def in_a_model_within() -> keras.Model:
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4), Gelu()], name="inner")
    inputs = keras.Input((4,))
    return keras.Model(inputs, inner(inner(inputs)) - ops.mean(inputs, axis=1, keepdims=True))


def of_every_instruction() -> keras.Model:
    """Each instruction of a map that reads something, by itself."""

    def computed(x: Any) -> Any:
        one, other = ops.clip(x[:, :1], -0.9, 0.9), ops.abs(x[:, 1:]) + 0.5
        found = []
        for name in sorted(onnx_arrays.INSTRUCTIONS):
            formula = c_arrays.INSTRUCTIONS.get(name) or c_arrays.CONDITIONS[name]
            if name == "erf":
                found.append(elementwise(lambda a: a.of("erf", a.of("gaussian")), one))
            elif name == "bitwise_and":
                whole = [elementwise(lambda a: (10.0 * a).of("floor"), each) for each in (other, one)]
                found.append(elementwise(lambda a, b: a.of("bitwise_and", b), *whole))
            elif "{1}" in formula:
                found.append(elementwise(lambda a, b, name=name: b.of(name, a), one, other))
            else:
                positive = other if name in {"log", "log1p", "sqrt"} else one
                found.append(elementwise(lambda a, name=name: a.of(name), positive))
        return ops.concatenate(found, axis=1)

    return keras.Sequential([keras.Input((2,)), layers.Lambda(computed)])


TYPICAL: dict[str, tuple[Callable[[], keras.Model], tuple[int, ...], int]] = {
    "vae_encoder": (vae_encoder, (7,), 0),
    "deep_and_cross": (deep_and_cross, (6,), 0),
    "masked_attention": (masked_attention, (5,), 7),
    "table_of_ones_own": (table_of_ones_own, (2,), 4),
    "tied": (tied, (6,), 0),
    "of_empty_arrays": (of_empty_arrays, (3,), 0),
    "of_all_samples": (of_all_samples, (3,), 0),
    "outputs_that_are_views": (outputs_that_are_views, (2, 3), 0),
    "in_a_model_within": (in_a_model_within, (4,), 0),
    "of_every_instruction": (of_every_instruction, (2,), 0),
}


def typical(name: str) -> tuple[keras.Model, Array]:
    keras.utils.set_random_seed(1)
    build, shape, tokens = TYPICAL[name]
    rng = np.random.default_rng(0)
    size = (ROWS, *shape)
    x = (
        rng.integers(0, tokens, size=size).astype(np.int32)
        if tokens
        else rng.normal(size=size).astype(np.float32)
    )
    return build(), x


def flat_outputs(model: keras.Model, x: Array, **options: Any) -> list[Array]:
    found = model.predict(x, verbose=0, **options)
    return [found[key] for key in sorted(found)] if isinstance(found, dict) else as_list(found)


@pytest.mark.parametrize("name", TYPICAL)
def test_typical_models_in_onnx(name: str, tmp_path: Path) -> None:
    model, x = typical(name)
    file = exported(model, tmp_path)
    for compute in (run, evaluate):
        for count in (ROWS, 1, 3):
            assert_close(compute(file, [x[:count]]), flat_outputs(model, x[:count]))


@needs_gcc
@pytest.mark.filterwarnings(f"ignore:{ALONE}")
def test_typical_models_in_c(tmp_path: Path) -> None:
    models, samples = zip(*map(typical, TYPICAL), strict=True)
    for model, x, (*found, deviation) in zip(
        models, samples, computed_in_c(list(models), [[x] for x in samples], tmp_path), strict=True
    ):
        assert_close(found, flat_outputs(model, x, batch_size=1))
        assert deviation <= 2e-5


def test_rows_that_do_not_exist_are_nan(tmp_path: Path) -> None:
    model = table_of_ones_own()
    file = exported(model, tmp_path)
    x = np.array([[-1, 0], [3, 4]] + [[0, 0]] * (ROWS - 2), np.int32)
    wanted = model.predict(x, verbose=0)
    assert np.isnan(wanted).sum() == 3  # as in NumPy, -1 is the last row
    for compute in (run, evaluate):
        np.testing.assert_array_equal(compute(file, [x])[0], wanted)


@needs_gcc
def test_rows_that_do_not_exist_are_nan_in_c(tmp_path: Path) -> None:
    model = table_of_ones_own()
    x = np.array([[-1, 0], [3, 4]] + [[0, 0]] * (ROWS - 2), np.int32)
    ((found, deviation),) = computed_in_c([model], [[x]], tmp_path)
    np.testing.assert_array_equal(found, model.predict(x, verbose=0))
    assert deviation == 0


def test_names_are_those_of_layers(tmp_path: Path) -> None:
    file = exported(tied(), tmp_path)
    assert [each.name for each in file.graph.output] == ["again", "code"]
    assert [name for node in file.graph.node for name in node.output] == [
        "encoder/Gemm", "encoder", "noisy", "tied/Transpose", "tied", "again", "code"
    ]  # fmt: skip
    assert "encoder/kernel" in {each.name for each in file.graph.initializer}


def test_comments_in_c_name_the_layers(tmp_path: Path) -> None:
    deep_and_cross().export(tmp_path / "m.h")
    text = (tmp_path / "m.h").read_text(encoding="utf-8")
    assert " (Cross): (6) to (6) */" in text
    assert " (Gelu): (4) to (4) */" in text
    assert text.count("tanhf(") == 1  # of a hand-written activation there is one loop


class Sampling(layers.Layer):
    def call(self, x: Any) -> Any:
        return x + keras.random.uniform(ops.shape(x), 1.0, 2.0)


@pytest.mark.parametrize(
    ("draw", "low", "high"),
    [
        (lambda shape: keras.random.uniform(shape, 1.0, 2.0), 1.0, 2.0),
        (lambda shape: keras.random.normal(shape, mean=1.5, stddev=0.01), 1.0, 2.0),
        (lambda shape: keras.random.truncated_normal(shape, mean=1.5, stddev=0.25), 1.0, 2.0),
    ],
)
def test_random_numbers_in_onnx(draw: Any, low: float, high: float, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Lambda(lambda x: x + draw(ops.shape(x)))])
    file = exported(model, tmp_path)
    for compute in (run, evaluate):
        (found,) = compute(file, [np.zeros((200, 3), np.float32)])
        assert found.shape == (200, 3)
        assert low <= found.min() < found.max() <= high
        assert abs(found.mean() - 1.5) < 0.1


def test_random_numbers_are_refused_in_c(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), Sampling(name="sampling")])
    with pytest.raises(
        ValueError,
        match=r"test_export_functions.py:\d+: layer 'sampling' has random numbers, which a header in C can't compute: "
        "export a model that ends before them",
    ):
        model.export(tmp_path / "m.h")
    assert not list(tmp_path.iterdir())


class AlwaysDropping(layers.Layer):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.drop = layers.Dropout(0.5, name="drop")

    def call(self, x: Any) -> Any:
        return self.drop(x, training=True)


@pytest.mark.parametrize("suffix", ["h", "onnx"])
def test_dropout_in_predictions_is_refused(suffix: str, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), AlwaysDropping(name="always")])
    with pytest.raises(ValueError, match=r"'always/drop' \(Dropout\) is called with training=True"):
        model.export(tmp_path / f"m.{suffix}")


@pytest.mark.parametrize("suffix", ["h", "onnx"])
def test_derivatives_are_refused(suffix: str, tmp_path: Path) -> None:
    slope = layers.Lambda(keras.grad(lambda y: ops.sum(ops.sin(y))), name="slope")
    model = keras.Sequential([keras.Input((3,)), slope])
    with pytest.raises(ValueError, match=r"test_export_functions.py:\d+: layer 'slope' has a deriv"):
        model.export(tmp_path / f"m.{suffix}")


def test_every_kind_of_step_is_in_both_formats() -> None:
    csrc = Path(__file__).parents[1] / "csrc"
    layers_of_core = (csrc / "graph" / "layer.cpp").read_text(encoding="utf-8")
    # A "stop_gradient" is a reshape, and a "host" is computed by Python.
    kinds = {*re.findall(r'{"(\w+)", \w+, kOfArrays}', layers_of_core)} - {"stop_gradient", "host"}
    assert c_arrays.ARRAYS.keys() == kinds - {"random"}, "engine/export/c_arrays.py"
    assert onnx_arrays.ARRAYS.keys() == kinds, "engine/export/onnx_arrays.py"
    assert arrays.PASSING.keys() == {"reshape", "stop_gradient", "choose"}
    source = csrc / "formulas" / "map_operations.h"
    text = source.read_text(encoding="utf-8").partition("kMapOpNames")[2].partition(";")[0]
    names = {each for each in text.split('"') if each.replace("_", "").isalnum() and not each[0].isupper()}
    without = {
        "constant",
        "samples",
        "coordinate",
        "select",
        "multiply_add",
        "maximum_gradient",
    }  # the last two are of the core's layers and of derivatives
    assert onnx_arrays.INSTRUCTIONS.keys() == names - without, "engine/export/onnx_arrays.py"
    instructions = c_arrays.INSTRUCTIONS.keys() | c_arrays.CONDITIONS.keys()
    assert instructions == names - without, "engine/export/c_arrays.py"


class Adding(layers.Layer):
    """Adds a term to the loss after it has computed its outputs."""

    def call(self, inputs: Any) -> Any:
        outputs = ops.exp(inputs)
        self.add_loss(ops.mean(ops.square(ops.sum(outputs, axis=1))))
        return outputs


@pytest.mark.filterwarnings("ignore:the outputs of model")  # as the loss joins the samples of a batch
def test_what_only_the_loss_needs_is_no_part_of_a_file(tmp_path: Path) -> None:
    x = keras.Input((4,))
    adding = Adding()
    model = keras.Model(x, layers.Dense(2)(adding(layers.Dense(3)(adding(x)))))
    rows = np.random.default_rng(1).normal(size=(ROWS, 4)).astype(np.float32)
    file = exported(model, tmp_path)
    assert not {"ReduceMean", "ReduceSum"} & {node.op_type for node in file.graph.node}
    for compute in (run, evaluate):
        assert_close(compute(file, [rows]), predicted(model, [rows]))
    if shutil.which("gcc") is not None:
        ((found, _),) = computed_in_c([model], [rows], tmp_path)
        assert_close([found], predicted(model, [rows]))


def columns_and_strings() -> tuple[keras.Model, list[Any]]:
    """Returns a model of strings, integers and a number, with two outputs, and samples."""
    words, count, size = (
        keras.Input((1,), dtype="string", name="word"),
        keras.Input((1,), dtype="int32", name="count"),
        keras.Input((2,), name="size"),
    )
    found = layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot", name="words")(words)
    kinds = layers.Hashing(5, name="kinds")(layers.Rescaling(2.0, name="twice")(count))
    embedded = layers.Flatten()(layers.Embedding(5, 3)(kinds))
    joined = layers.Concatenate()([found, embedded, size])
    model = keras.Model(
        [words, count, size], {"y": layers.Dense(2)(joined), "x": layers.Dense(1)(layers.Dense(3)(size))}
    )
    return model, [np.array([["b"], ["a"], ["z"]]), np.array([[3], [4], [5]]), np.eye(3, 2)]


@pytest.mark.parametrize("suffix", [".onnx", ".h"])
def test_files_begin_after_strings(suffix: str, tmp_path: Path) -> None:
    model, x = columns_and_strings()
    expected = model.predict(x, verbose=0)
    message = (
        r"in place of the inputs \['word', 'count', 'size'\] it takes 'kinds' \(None, 1\), "
        r"'size' \(None, 2\), 'words' \(None, 3\)\. Get what is new by .*get_layer\('kinds'\)\.output, model\.get_layer\('words'\)\.output"
    )
    with pytest.warns(UserWarning, match=message):
        model.export(tmp_path / f"m{suffix}")
    before = keras.Model(model.inputs, [model.get_layer(name).output for name in ("kinds", "words")])
    kinds, words = before.predict(x, verbose=0)
    read = [each.astype(np.float32) for each in (kinds, x[2], words)]
    if suffix == ".onnx":
        file = onnx.load(tmp_path / "m.onnx")
        assert [each.name for each in file.graph.input] == ["kinds", "size", "words"]
        assert_close(run(file, read), [expected["x"], expected["y"]])
    for weight, again in zip(model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, again)
    assert (model.predict(x, verbose=0)["y"] == expected["y"]).all()


def test_a_feature_space_is_exported_after_its_strings(tmp_path: Path) -> None:
    data = {"a": [1.0, 2.0, 4.0], "s": ["x", "y", "x"], "i": [1, 2, 1]}
    space = keras.utils.FeatureSpace(
        {"a": "float_normalized", "s": "string_categorical", "i": "integer_categorical"}, crosses=[("s", "i")],
        crossing_dim=4,
    )  # fmt: skip
    space.adapt(data)
    encoded = space.get_encoded_features()
    model = keras.Model(space.get_inputs(), layers.Dense(2)(encoded))
    with pytest.warns(UserWarning, match=r"it takes .*'s_preprocessor' \(None, 1\)"):
        model.export(tmp_path / "m.onnx")
    onnx.checker.check_model(onnx.load(tmp_path / "m.onnx"))
