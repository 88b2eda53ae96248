"""Every operator of every kind of symbol gives what NumPy gives for arrays, and what has no value is refused."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from common import assert_all_equal, compiled

import engine as keras
from engine import layers, ops
from engine._tracing.lazy import as_recorded, recorder
from engine._tracing.trace import Computed, Input, OfWeight

# Operands, one row for each sample: floats, integers, integers of at least 0, and bools.
NUMBERS = {
    "x": np.float32([[-2.5, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 7.0]]).T,
    "y": np.float32([[1.0, -1.0, 2.0, 0.5, -3.0, 2.0, -0.5, 7.0]]).T,
    "i": np.int32([[-7, -3, -1, 0, 1, 4, 5, 6]]).T,
    "j": np.int32([[3, -3, 2, -2, 1, 0, 4, -4]]).T,
    "s": np.int32([[3, 0, 2, 1, 1, 5, 4, 0]]).T,
    "b": np.array([[True, True, False, False, True, False, True, False]]).T,
    "c": np.array([[True, False, True, False, True, True, False, False]]).T,
}
BESIDE = {"array": np.int32([2]), "single": np.float32(2.0)}

ANY = [
    "x y", "i j", "b c", "x i", "i x", "b x", "x b", "i b", "b i", "x 2", "2 x", "i 2", "2 i", "x -1.5", "2.5 i", "i 0", "0 i",
    "b True", "True b", "b 2", "i array", "array x", "single x", "i single", "x [2.0]",
]  # fmt: skip
NUMBERS_ALONE = [pair for pair in ANY if pair not in ("b c", "b True", "True b")]
INTEGERS = ["i j", "b c", "i b", "b i", "i 2", "-3 i", "b True", "b 2", "i array", "array i", "s i", "i -1"]
SHIFTS = ["i s", "s s", "i 2", "1 s", "b s", "i array", "i -1", "i 33", "s j"]
POWERS = ["x s", "i s", "b s", "b c", "x 2", "x 3", "x 0", "2 s", "2.0 x", "s 0.5", "i 2", "s array"]
OPERATORS: dict[str, list[str]] = {
    "==": ANY, "!=": ANY, "<": ANY, "<=": ANY, ">": ANY, ">=": ANY, "+": ANY, "-": NUMBERS_ALONE, "*": ANY, "/": ANY,
    "//": ANY, "%": ANY, "**": POWERS, "&": INTEGERS, "|": INTEGERS, "^": INTEGERS, "<<": SHIFTS, ">>": SHIFTS,
}  # fmt: skip
OTHERS = {
    "unary": ["-x", "-i", "+x", "+i", "~i", "~b", "abs(x)", "abs(i)", "abs(b)", "rounded(x)", "rounded(i)", "rounded(x, 1)"],
    "divmod": [f"divmod({pair})[{k}]" for pair in ("x, y", "i, j", "i, 3", "7, s", "x, 2") for k in (0, 1)],
    "products": ["i @ rows", "x @ rows"],
    "sums of bools": ["(x == y).sum(axis=1)", "ops.sum(i == j, axis=1)", "np.sum(b, axis=1)", "np.mean(x > 0, axis=1)"],
    "indexing": [
        "row[:, 0]", "row[..., -1]", "row[:, 1:]", "row[:, ::-1]", "row[:, None]", "row[:, [2, 0]]", "row[:]",
        "row[:, np.array([True, False, True])]", "row[:, np.int64(1)]", "row[(slice(None), slice(2))]",
    ],
    "NumPy": [
        "np.equal(x, y)", "np.not_equal(i, 0)", "np.where(i == -1, 0, i)", "np.where(x == 0, y, x)", "np.bitwise_and(i, j)",
        "np.bitwise_or(i, 3)", "np.bitwise_xor(i, j)", "np.invert(i)", "np.left_shift(s, 2)", "np.right_shift(i, 1)",
        "np.floor_divide(i, j)", "np.mod(i, j)", "np.fmod(i, 2)", "np.power(s, 2)", "np.float_power(s, 2)", "np.divmod(i, 3)[1]",
        "np.logical_xor(i, b)", "np.maximum(b, c)", "np.square(i)", "np.add(b, c)", "np.any(row == 2, axis=1)",
    ],
    "methods": [
        "row.sum(axis=1)", "row.mean(1)", "row.max(axis=1, keepdims=True)", "row.std(axis=1)", "row.argmax(axis=1)",
        "row.cumsum(axis=1)", "row.clip(-1, 1)", "row.swapaxes(1, 1)", "row.round()", "row.repeat(2, axis=1)", "i.squeeze()",
    ],
}  # fmt: skip
CASES = {
    **{name: [each.replace(" ", f" {name} ") for each in pairs] for name, pairs in OPERATORS.items()},
    **OTHERS,
}
# Keras' symbols of models have logical operators, also for integers, and fewer methods.
CASES_OF_MODELS = {
    name: [f"b {name} c", f"b {name} True"] if name in "&|^" else cases
    for name, cases in CASES.items()
    if name not in ("methods", "sums of bools")
} | {
    "unary": [each for each in OTHERS["unary"] if each != "~i"],
    "sums of bools": OTHERS["sums of bools"][1:],
}

Values = dict[str, Any]


def rounded(x: Any, decimals: int = 0) -> Any:
    """Python's `round`, which NumPy's arrays lack."""
    return np.round(x, decimals) if isinstance(x, np.ndarray) else round(x, decimals)


def result_of(case: str, values: Values) -> Any:
    row = np.float32([[1, 2, 3]])
    rows = np.int32([[2, 5]])
    names = {
        **BESIDE,
        "rounded": rounded,
        "np": np,
        "ops": ops,
        "rows": rows,
        "row": values["x"] + row,
        **values,
    }
    with np.errstate(all="ignore"):
        return eval(case, names)


def in_layer(cases: Sequence[str]) -> list[tuple[Any, str]]:
    dtypes = list[str]()

    class Computing(layers.Layer):  # type: ignore[misc] # Any
        def call(self, inputs: Any) -> Any:
            found = [result_of(case, dict(zip(NUMBERS, inputs, strict=True))) for case in cases]
            dtypes[:] = [each.dtype for each in found]
            return [ops.cast(each, "float32") for each in found]

    inputs = [keras.Input((1,), dtype=each.dtype.name) for each in NUMBERS.values()]
    return list(zip(predicted(inputs, Computing()(inputs)), dtypes, strict=True))


def in_model(cases: Sequence[str]) -> list[tuple[Any, str]]:
    inputs = [keras.Input((1,), dtype=each.dtype.name) for each in NUMBERS.values()]
    found = [result_of(case, dict(zip(NUMBERS, inputs, strict=True))) for case in cases]
    outputs = [ops.cast(each, "float32") for each in found]
    return list(zip(predicted(inputs, outputs), [each.dtype for each in found], strict=True))


def predicted(inputs: Any, outputs: Any) -> list[Any]:
    found = keras.Model(inputs, outputs).predict(list(NUMBERS.values()), batch_size=3, verbose=0)
    return found if isinstance(found, list) else [found]


def in_tape(cases: Sequence[str]) -> list[tuple[Any, str]]:
    with keras.GradientTape():
        values = {name: as_recorded(each, recorder().trace) for name, each in NUMBERS.items()}
        found = [result_of(case, values) for case in cases]
        return [(np.asarray(each), str(each.dtype)) for each in found]


@pytest.mark.parametrize(
    ("compute", "name", "cases"),
    [
        *[(in_layer, *case) for case in CASES.items()],
        *[(in_tape, *case) for case in CASES.items()],
        *[(in_model, *case) for case in CASES_OF_MODELS.items()],
    ],
)
def test_operators_give_what_they_give_for_arrays(
    compute: Callable[..., Any], name: str, cases: list[str]
) -> None:
    for case, (found, dtype) in zip(cases, compute(cases), strict=True):
        expected = result_of(case, NUMBERS)
        wide = np.asarray(expected, np.float32)
        np.testing.assert_allclose(
            np.asarray(found, np.float32).reshape(wide.shape), wide, rtol=1e-6, err_msg=case
        )
        assert np.dtype(dtype).kind == np.asarray(expected).dtype.kind, (case, dtype)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16"])
@pytest.mark.parametrize(
    "case", ["a - c", "a + c", "a * c", "-a", "a << 3", "a ** 3", "a - 200 % 7", "~a", "a // 3 - c"]
)
def test_small_integers_overflow_as_in_numpy(dtype: str, case: str) -> None:
    a = np.arange(-100, 100).astype(dtype)[:, None]
    c = np.resize(np.array([1, 7, 100, 120]), 200).astype(dtype)[:, None]
    inputs = keras.Input((1,), dtype=dtype), keras.Input((1,), dtype=dtype)
    output = layers.Lambda(lambda both: ops.cast(eval(case, {"a": both[0], "c": both[1]}), "float32"))(
        list(inputs)
    )
    found = keras.Model(list(inputs), output).predict([a, c], verbose=0)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(found, eval(case, {"a": a, "c": c}))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("bool(x == 0)", r"bool\(\) of it, as in `if`.*ops\.where\(condition, a, b\) or ops\.cond"),
        ("1 if x == 0 else 2", "bool\\(\\) of it"),
        ("x in [y]", "where a list is searched for it"),
        ("[y, x].index(x)", "where a list is searched for it"),
        ("x == 0 and y", "bool\\(\\) of it"),
        ("1.0 in x", r"`in`, which ops\.any\(x == value\) records"),
        ("int(x)", "int\\(\\) of it"),
        ("float(x)", "float\\(\\) of it"),
        ("complex(x)", "complex\\(\\) of it"),
        ("len(x)", "len\\(\\) of it"),
        ("list(x)", "a loop over its samples"),
        ("np.asarray(x)", "an array of it"),
    ],
)  # fmt: skip
def test_what_needs_numbers_is_refused_in_layers(case: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        in_layer([case])


@pytest.mark.parametrize("case", ["x & y", "x | 1", "i ^ 1.5", "~x", "x << 1", "i >> 1.0"])
def test_bits_of_floats_are_refused(case: str) -> None:
    with pytest.raises(TypeError, match=r"takes integers or bools, got .*compare first"):
        in_layer([case])


@pytest.mark.parametrize("case", ["b - c", "-b", "b - True"])
def test_differences_of_bools_are_refused(case: str) -> None:
    for compute in (in_layer, in_model):
        with pytest.raises(TypeError, match=r"takes numbers, got bools: use ops\.cast\(x, 'int32'\)"):
            compute([case])


def test_symbols_differ_from_what_has_no_numbers() -> None:
    def check(values: Values) -> Any:
        for each in values.values():
            assert each is not None
            assert (each == None) is False and (each != None) is True  # noqa: E711, PT018 # as scripts write it
            assert (each == "auto") is False and (each != "auto") is True  # noqa: PT018
            assert (each == object()) is False
        return values["x"]

    for compute in (in_layer, in_model, in_tape):
        BESIDE["check"] = check
        try:
            compute(["check(dict(x=x, i=i, b=b))"])
        finally:
            del BESIDE["check"]


def test_symbols_of_models_are_found_in_lists_sets_and_dicts() -> None:
    x, y = keras.Input((3,), name="x"), keras.Input((4,), name="y")
    a, b = x * 1, y * 1
    assert [x, y, a, b].index(b) == 3
    assert a in [b, a]
    assert a not in [b, x]
    assert [a, b] == [a, b] != [b, a]
    assert len({a, b, x, y, a}) == 4
    assert {a: 1, b: 2}[b] == 2
    found = [x, y, a]
    found.remove(y)
    assert found == [x, a]
    model = keras.Model([x, y], [a, b])
    assert model.inputs == [x.output, y.output]
    assert x in model.layers


def test_equal_symbols_of_a_model_are_part_of_it_when_they_are_used() -> None:
    x, y = keras.Input((3,)), keras.Input((3,))
    same = x == y
    assert not same
    assert (same.shape, same.dtype) == ((None, 3), "bool")
    one, other = np.float32([[1, 2, 3], [0, 0, 0]]), np.float32([[1, 0, 3], [0, 1, 0]])
    outputs = [
        ops.where(same, 5.0, x),
        ops.cast(same, "float32"),
        layers.Lambda(lambda each: ops.cast(each, "float32") + 1)(same),
        ops.cast(~same | (x == 0), "float32"),
        ops.cast(same & (x == 1), "float32"),
    ]
    found = keras.Model([x, y], outputs).predict([one, other], verbose=0)
    equal = one == other
    wanted = [np.where(equal, 5, one), equal, equal + 1.0, ~equal | (one == 0), equal & (one == 1)]
    assert_all_equal(found, wanted)


# What is written with `==`.

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(40, 3)).astype(np.float32)
LABELS = (ROWS[:, :1] > 0).astype(np.float32)


def sigmoid_model(loss: Any, **options: Any) -> keras.Model:
    return compiled(keras.Sequential([keras.Input((3,)), layers.Dense(1, "sigmoid", **options)]), "sgd", loss)


def test_losses_that_compare_targets() -> None:
    def focal(target: Any, share: Any) -> Any:
        own = ops.where(target == 1, share, 1 - share)
        return -ops.mean((1 - own) ** 2 * ops.log(own))

    model = sigmoid_model(focal)
    share = model.predict(ROWS, verbose=0)
    own = np.where(LABELS == 1, share, 1 - share).astype(float)
    assert model.evaluate(ROWS, LABELS, verbose=0) == pytest.approx(
        -np.mean((1 - own) ** 2 * np.log(own)), rel=1e-5
    )
    direct = focal(ops.convert_to_tensor(LABELS), ops.convert_to_tensor(share))
    assert float(direct) == pytest.approx(-np.mean((1 - own) ** 2 * np.log(own)), rel=1e-5)


def test_losses_that_leave_out_labels() -> None:
    ids = np.where(np.arange(40) % 4 == 0, -1, np.arange(40) % 3).astype(np.int32)[:, None]

    def masked(target: Any, output: Any) -> Any:
        kept = ops.where(target == -1, 0.0, 1.0)
        own = ops.sparse_categorical_crossentropy(ops.where(target == -1, 0, target), output)
        return ops.sum(own[:, None] * kept) / ops.sum(kept)

    model = compiled(keras.Sequential([keras.Input((3,)), layers.Dense(3, "softmax")]), "sgd", masked)
    share = model.predict(ROWS, verbose=0).astype(float)
    kept = ids[:, 0] != -1
    wanted = -np.log(share[kept, ids[kept, 0]]).mean()
    assert model.evaluate(ROWS, ids, batch_size=40, verbose=0) == pytest.approx(wanted, rel=1e-5)


def test_metrics_activations_and_regularizers_that_compare() -> None:
    def hits(target: Any, output: Any) -> Any:
        return ops.cast((output > 0.5) == (target == 1), "float32")

    class CountOfOnes(keras.regularizers.Regularizer):  # type: ignore[misc] # Any
        def __call__(self, x: Any) -> Any:
            return ops.sum(ops.where(x == 1, 0.5, 0.0))

    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(
                2,
                activation=lambda z: ops.where(z == 0, 3.0, z),
                kernel_initializer="zeros",
                bias_initializer="zeros",
            ),
            layers.Dense(1, "sigmoid", kernel_initializer="ones", kernel_regularizer=CountOfOnes()),
        ]
    )
    model.compile("sgd", "mse", metrics=[hits])
    np.testing.assert_allclose(model.predict(ROWS, verbose=0), 1 / (1 + np.exp(-6.0)), rtol=1e-6)
    loss, accuracy = model.evaluate(ROWS, LABELS, verbose=0)
    assert accuracy == pytest.approx(LABELS.mean())
    assert loss == pytest.approx(np.mean((1 / (1 + np.exp(-6.0)) - LABELS) ** 2) + 2 * 0.5, rel=1e-5)


# Weights.


class Two(layers.Layer):  # type: ignore[misc] # Any
    """A layer with two weights and a variable."""

    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight(shape=(3,), initializer="ones", name="w")
        self.b = self.add_weight(shape=(3,), initializer="zeros", name="b")
        self.v = keras.Variable([1.0, 2.0, 3.0])

    def call(self, inputs: Any) -> Any:
        return ops.where(self.w == 1, inputs, 0.0) + ops.cast(self.v == 2, "float32") + self.b


def test_weights_are_equal_to_themselves_in_lists() -> None:
    layer = Two()
    layer(ROWS)
    assert layer.weights == [layer.w, layer.b, layer.v]
    assert [layer.w, layer.b, layer.v] == layer.weights
    assert layer.w in {layer.w, layer.b}
    assert {layer.w: 1}[layer.weights[0]] == 1
    assert (layer.w == [1, 0, 1]).tolist() == [True, False, True]
    assert (layer.w == layer.b).tolist() == [False] * 3
    with pytest.raises(ValueError, match="ambiguous"):
        bool(layer.w == layer.b)


def test_weights_that_recorded_code_compares_are_the_present_ones() -> None:
    layer = Two()
    x = keras.Input((3,))
    model = keras.Model(x, layer(x))
    for _ in range(2):
        np.testing.assert_array_equal(
            model.predict(ROWS, verbose=0), np.where(layer.w.numpy() == 1, ROWS, 0) + (layer.v.numpy() == 2)
        )
        layer.set_weights([np.float32([0, 1, 1]), np.zeros(3, np.float32), np.float32([2, 2, 0])])


@pytest.mark.parametrize(
    "function",
    [
        operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow, operator.eq,
        operator.ne, operator.lt, operator.ge, operator.lshift, operator.rshift, divmod,
    ],
)  # fmt: skip
def test_variables_have_the_operators_of_arrays(function: Any) -> None:
    numbers = np.int32([6, 5, 1])
    variable = keras.Variable(numbers, dtype="int32")
    for given in (2, np.int32([1, 2, 3])):
        np.testing.assert_array_equal(function(variable, given), function(numbers, given))
        np.testing.assert_array_equal(function(given, variable), function(given, numbers))


def test_logical_operators_of_variables_are_those_of_keras() -> None:
    variable = keras.Variable(np.int32([6, 5, 0]), dtype="int32")
    assert (variable & 3).tolist() == [True, True, False]
    assert (2 | variable).tolist() == [True, True, True]
    assert (variable ^ True).tolist() == [False, False, True]
    assert (~variable).tolist() == [False, False, True]
    assert round(keras.Variable([1.4, 2.6])).tolist() == [1.0, 3.0]
    assert variable.ndim == 1


def test_origins_are_compared_by_their_owner_not_by_the_numbers_of_a_variable() -> None:
    first, second = keras.Variable([1.0, 2.0]), keras.Variable([1.0, 2.0])
    origins = [
        OfWeight(first, 0),
        OfWeight(second, 0),
        OfWeight(first, 1),
        Computed(0),
        Computed(0, 1),
        Input(0),
    ]
    for number, origin in enumerate(origins):
        assert origins.index(origin) == number
        assert [each == origin for each in origins].count(True) == 1
    assert OfWeight(first, 0) == OfWeight(first, 0)
    assert len({*origins, OfWeight(second, 0), Computed(0)}) == len(origins)


# Lengths.


def test_lengths_of_batches_have_operators() -> None:
    def function(x: Any) -> Any:
        count = ops.shape(x)[0]
        assert abs(+count) == count
        parts = [
            count % 3,
            100 % count,
            count**2,
            2**count,
            7 // count,
            count / 2,
            2 / count,
            count // 2,
            3 % count,
        ]
        return x * 0 + ops.stack([ops.cast(each, "float32") for each in parts])

    x = keras.Input((9,))
    model = keras.Model(x, layers.Lambda(function)(x))
    n = 5
    wanted = [n % 3, 100 % n, n**2, 2**n, 7 // n, n / 2, 2 / n, n // 2, 3 % n]
    np.testing.assert_allclose(
        model.predict(np.zeros((n, 9), np.float32), batch_size=n, verbose=0),
        np.tile(wanted, (n, 1)),
        rtol=1e-6,
    )
