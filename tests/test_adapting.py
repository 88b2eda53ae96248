"""Tests of `adapt`: the data that it takes, the statistics of each layer, and bins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import Blobs

import engine as keras
from engine import layers

X = np.array([[1.0, 3.0], [2.0, 4.0], [5.0, 9.0], [0.0, 7.0]], np.float32)
Y = np.arange(4)


class Numbered:
    """Batches that are read by number and cannot be iterated."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, number: int) -> Any:
        return X[2 * number : 2 * number + 2], Y[2 * number : 2 * number + 2]


class Data(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, number: int) -> Any:
        return X[2 * number : 2 * number + 2], Y[:2], np.ones(2)


class Tensor:
    """An object that only has `__array__`."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return X


HALVES = [X[:1], X[1:]]
KINDS: dict[str, Callable[[], Any]] = {
    "array": lambda: X,
    "nested lists": X.tolist,
    "nested tuples": lambda: tuple(map(tuple, X.tolist())),
    "list of samples": lambda: list(X),
    "list of batches": lambda: HALVES,
    "list of batches with targets": lambda: [(half, Y[: len(half)]) for half in HALVES],
    "generator": lambda: iter(HALVES),
    "generator of samples": lambda: (sample for sample in X),
    "generator with targets": lambda: ((half, Y[: len(half)]) for half in HALVES),
    "generator with weights": lambda: ((half, Y[: len(half)], Y[: len(half)]) for half in HALVES),
    "loader of PyTorch": lambda: ([half, Y[: len(half)]] for half in HALVES),
    "PyDataset": Data,
    "by number": Numbered,
    "tensor": Tensor,
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_adapt_takes(kind: str) -> None:
    layer = layers.Normalization()
    layer.adapt(KINDS[kind]())
    assert np.asarray(layer.mean) == pytest.approx(X.mean(0, keepdims=True), rel=1e-6)
    assert np.asarray(layer.variance) == pytest.approx(X.var(0, keepdims=True), rel=1e-6)
    bins = layers.Discretization(num_bins=3)
    bins.adapt(KINDS[kind]())
    assert len(bins.bin_boundaries) == 2


def test_frames() -> None:
    pandas = pytest.importorskip("pandas")
    layer = layers.Normalization()
    layer.adapt(pandas.DataFrame(X))
    assert np.asarray(layer.mean) == pytest.approx(X.mean(0, keepdims=True))
    with pytest.raises(TypeError, match=r"`data` must hold real numbers, but has columns of others: 'a' \("):
        layer.adapt(pandas.DataFrame({"a": ["x", "y"], "b": [1, 2]}))


MISTAKES: list[tuple[Callable[[], Any], str]] = [
    (lambda: None, "`data` must be an array of samples or an iterable of batches, got None"),
    (lambda: "text", "`data` must be an array of samples or an iterable of batches, got 'text'"),
    (lambda: {"x": X}, "`data` must be an array of samples or an iterable of batches"),
    (list, r"`data` is empty: adapt\(\) needs at least one sample"),
    (lambda: iter([]), r"`data` is empty: adapt\(\) needs at least one sample"),
    (lambda: X[:0], r"`data` is empty, of shape \(0, 2\): adapt\(\) needs at least one sample"),
    (lambda: [["a", "b"]], "`data` must hold real numbers, got dtype <U1: strings that stand for classes"),
    (lambda: X * 1j, "`data` must hold real numbers, got dtype complex64: take the part"),
    (
        lambda: np.where(X == 4, np.nan, X),
        "`data` must be finite and within float32's range, but row 1 holds nan",
    ),
    (lambda: [[1.0, 2.0], [3.0]], "`data` must be an array, or lists that are equally long at every level"),
    (
        lambda: [X, X[:, :1]],
        r"samples of one shape, but batch 1 is \(4, 1\) and those before are \(n, 2\): to leave out targets, pass x alone",
    ),
    (lambda: (X, Y), r"samples of one shape, but batch 1 is \(1, 4\) and those before are \(n, 2\)"),
]


@pytest.mark.parametrize(("make", "message"), MISTAKES)
@pytest.mark.parametrize("kind", [layers.Normalization, lambda: layers.Discretization(num_bins=3)])
def test_mistakes_leave_the_layer_as_it_was(make: Any, message: str, kind: Any) -> None:
    layer = kind()
    layer.adapt(X)
    before = repr(layer.get_config()), [array.tolist() for array in layer.get_weights()]
    with pytest.raises((TypeError, ValueError), match=message):
        layer.adapt(make())
    assert (repr(layer.get_config()), [array.tolist() for array in layer.get_weights()]) == before


@pytest.mark.parametrize(
    ("axis", "shape", "message"),
    [
        (-1, (5,), r"gets \(n,\): .* single number and has no axes.* shape \(n, 1\)"),
        (2, (5, 3), "give axes of a sample, which are 1 or -1, each once$"),
        (0, (5, 3, 2), "which are from 1 to 2 or from -2 to -1, each once$"),
        ([1, 1], (5, 3, 2), "which are from 1 to 2 or from -2 to -1, each once$"),
    ],
)
def test_axes_that_there_are(axis: Any, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layers.Normalization(axis=axis).adapt(np.ones(shape))
    with pytest.raises(ValueError, match=message):
        layers.LayerNormalization(axis=axis)(np.ones(shape, np.float32))


def test_sparse_is_for_keras() -> None:
    """`sparse` is accepted as in Keras, but outputs are dense."""
    bins = layers.Discretization([0.5, 1.5], output_mode="multi_hot", sparse=True)
    for layer in (bins, layers.CategoryEncoding(3, sparse=True)):
        assert layer.sparse
        assert layer([[0, 2]]).tolist() == [[1, 0, 1]]
    assert layers.Discretization.from_config(bins.get_config()).sparse
    with pytest.raises(ValueError, match="`sparse=True` belongs to `output_mode` 'one_hot', 'multi_hot' or"):
        layers.Discretization([0.5], sparse=True)


def test_sparse_inputs(blobs: Blobs) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    inputs = keras.Input((6,), sparse=True)
    assert inputs.sparse
    model = keras.Sequential([inputs, layers.Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    x = np.where(blobs.x > 1, blobs.x, 0)
    model.fit(sparse.csr_matrix(x), blobs.y, verbose=0)
    np.testing.assert_allclose(model.predict(sparse.csr_matrix(x)), model.predict(x), rtol=1e-5, atol=1e-6)
    for copy in (keras.models.clone_model(model), keras.models.model_from_json(model.to_json())):
        assert copy._built_graph.input_layers[0].sparse
    assert not keras.Input((6,), sparse=None).sparse
    with pytest.raises(TypeError, match="`sparse` must be True or False, got 'yes'"):
        keras.Input((6,), sparse="yes")


def test_bins_of_given_boundaries() -> None:
    x = np.array([[-1.5, 1.0, 3.4, 0.5], [0.0, 3.0, 1.3, 0.0]])
    layer = layers.Discretization(bin_boundaries=[0.0, 1.0, 2.0])
    assert layer(x).tolist() == [[0, 2, 3, 1], [1, 3, 2, 1]]
    assert layer(x).dtype == np.int32
    model = keras.Sequential([keras.Input((4,)), layer])
    assert model.predict(x).tolist() == layer(x).tolist()
    assert layers.Discretization(bin_boundaries=[])(x).tolist() == np.zeros_like(x).tolist()


def test_bins_in_training(blobs: Blobs) -> None:
    """Layers in front of the bins do not learn, and those behind them do."""
    bins = layers.Discretization(num_bins=5, output_mode="one_hot")
    bins.adapt((half, None) for half in np.array_split(blobs.x, 3))
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(6), bins, layers.Flatten(), layers.Dense(3, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    before = model.get_weights()
    history = model.fit(blobs.x, blobs.y, epochs=20, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert np.array_equal(model.get_weights()[0], before[0])
    assert not np.array_equal(model.get_weights()[2], before[2])
    copy = keras.models.model_from_json(model.to_json())
    copy.set_weights(model.get_weights())
    assert np.array_equal(copy.predict(blobs.x), model.predict(blobs.x))


def test_bins_by_hand_and_by_steps() -> None:
    one, other = layers.Discretization(num_bins=4), layers.Discretization(num_bins=4)
    batches = [np.arange(50.0), np.arange(50.0, 80.0), np.arange(1000.0)]
    for batch in batches[:2]:
        one.update_state(batch)
    one.finalize_state()
    other.adapt([batch[:, np.newaxis] for batch in batches], steps=2)
    assert one.bin_boundaries == other.bin_boundaries == pytest.approx([20, 40, 60], abs=1.5)
    one.reset_state()
    assert one.summary.shape == (2, 0)


def test_bins_before_and_after_they_are_known() -> None:
    layer = layers.Discretization(num_bins=3, output_mode="count")
    assert layer.compute_output_shape((None, 4)) == (None, 3)
    model = keras.Sequential([keras.Input((4,)), layer])
    with pytest.raises(ValueError, match=r"has no boundaries yet: call adapt\(\) .*`bin_boundaries`"):
        model.predict(np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"the data has numbers for 1 bin, but layer .* built for 3"):
        layer.adapt([[1.0]])
    layer.adapt(np.arange(20.0).reshape(5, 4))
    assert model.predict(np.arange(4.0).reshape(1, 4)).tolist() == [[4, 0, 0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either `bin_boundaries`, or `num_bins`"),
        ({"bin_boundaries": [0], "num_bins": 2}, "give either `bin_boundaries`, or `num_bins`"),
        ({"bin_boundaries": [1, 0]}, r"`bin_boundaries` must be in ascending order, got \[1, 0\]"),
        ({"bin_boundaries": ["a"]}, r"`bin_boundaries\[0\]` must be a number, got 'a'"),
        ({"bin_boundaries": 3}, "`bin_boundaries` must be a list of numbers, got 3"),
        ({"num_bins": 0}, "`num_bins` must be at least 1, got 0"),
        ({"num_bins": 2, "epsilon": 0}, "`epsilon` must be greater than 0, got 0"),
        ({"num_bins": 2, "output_mode": "hot"}, "`output_mode` must be one of 'int', 'one_hot'"),
    ],
)
def test_arguments_of_bins(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        layers.Discretization(**options)
    with pytest.raises(ValueError, match="was given its `bin_boundaries`: give `num_bins` for adapt"):
        layers.Discretization([0.5]).adapt(X)
