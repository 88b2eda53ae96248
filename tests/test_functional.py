"""Models that are graphs of layers: several inputs and outputs, branches, and layers that join them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import assert_all_close, assert_all_equal, compiled
from numpy.typing import NDArray

import engine as keras
from engine import layers
from engine.utils import model_plot

Array = NDArray[Any]
COUNT = 24
RANDOM = np.random.default_rng(0)
X = [RANDOM.normal(size=(COUNT, size)).astype(np.float32) for size in (4, 3)]
Y = [RANDOM.integers(0, 3, COUNT), RANDOM.normal(size=(COUNT, 2)).astype(np.float32)]
# Float32 against float64 central differences of the loss: what the roundings of small networks leave.
RTOL, ATOL = 2e-3, 2e-5


def two_by_two(**options: Any) -> keras.Model:
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
    left = layers.Dense(5, "tanh", name="left")(a)
    right = layers.Dense(5, "sigmoid", name="right")(b)
    both = layers.Add(name="both")([left, right])
    joined = layers.Concatenate(name="joined")([both, b, left])
    outputs = [layers.Dense(3, "softmax", name="kind")(joined), layers.Dense(2, name="size")(both)]
    model = keras.Model([a, b], outputs, name="whole")
    return compiled(model, keras.optimizers.SGD(1.0), ["sparse_categorical_crossentropy", "mse"], **options)


def outputs_of(weights: list[Array], x: list[Array]) -> tuple[Array, Array]:
    """What `two_by_two` computes, in float64."""
    left = np.tanh(x[0] @ weights[0] + weights[1])
    both = left + 1 / (1 + np.exp(-(x[1] @ weights[2] + weights[3])))
    logits = np.concatenate([both, x[1], left], axis=1) @ weights[4] + weights[5]
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True), both @ weights[6] + weights[7]


def losses_of(weights: list[Array]) -> tuple[float, float]:
    kind, size = outputs_of(weights, [x.astype(float) for x in X])
    return float(-np.log(kind[np.arange(COUNT), Y[0]]).mean()), float(((size - Y[1]) ** 2).mean())


def slopes(function: Any, weights: list[Array], step: float = 1e-5) -> list[Array]:
    """The gradient of a function of `weights`, by central differences."""
    found = []
    for number, array in enumerate(weights):
        slope = np.zeros_like(array)
        for place in np.ndindex(array.shape):
            values = []
            for sign in (1, -1):
                moved = [each.copy() for each in weights]
                moved[number][place] += sign * step
                values.append(function(moved))
            slope[place] = (values[0] - values[1]) / (2 * step)
        found.append(slope)
    return found


def test_a_branching_network_by_the_numbers() -> None:
    """Predictions, losses and gradients, of which SGD with a rate of 1 subtracts one in a step."""
    model = two_by_two(loss_weights=[1.0, 0.5])
    order = ["left", "right", "kind", "size"]
    assert [layer.name for layer in model.layers if layer.weights] == order
    weights = [array.astype(float) for array in model.get_weights()]
    assert_all_close(model.predict(X, verbose=0), outputs_of(weights, X), rtol=1e-5, atol=1e-6)
    kind, size = losses_of(weights)
    results = model.train_on_batch(X, Y, return_dict=True)
    assert results == pytest.approx(
        {"loss": kind + 0.5 * size, "kind_loss": kind, "size_loss": size}, rel=1e-5
    )

    def whole(moved: list[Array]) -> float:
        first, second = losses_of(moved)
        return first + 0.5 * second

    for before, after, slope in zip(weights, model.get_weights(), slopes(whole, weights), strict=True):
        np.testing.assert_allclose(before - after, slope, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize(
    ("join", "shapes", "expected"),
    [
        (layers.Add(), [(5,), (5,), (5,)], sum),
        (layers.Add(), [(2, 3), (2, 3)], sum),
        (layers.Add(), [(4,)], sum),
        (layers.Concatenate(), [(5,), (1,), (2,)], lambda parts: np.concatenate(parts, axis=-1)),
        (layers.Concatenate(), [(2, 3), (2, 1)], lambda parts: np.concatenate(parts, axis=-1)),
        (layers.Concatenate(axis=1), [(2, 3), (4, 3)], lambda parts: np.concatenate(parts, axis=1)),
        (layers.Concatenate(-2), [(2, 3, 2), (2, 1, 2)], lambda parts: np.concatenate(parts, axis=-2)),
    ],
)
def test_joins_and_their_gradients(join: Any, shapes: list[tuple[int, ...]], expected: Any) -> None:
    x = [RANDOM.normal(size=(6, *shape)).astype(np.float32) for shape in shapes]
    np.testing.assert_allclose(join(x), expected(x), rtol=1e-6)
    assert join.compute_output_shape([(None, *shape) for shape in shapes])[1:] == expected(x).shape[1:]
    inputs = [keras.Input(shape) for shape in shapes]
    gains = [layers.Dense(shape[-1], use_bias=False) for shape in shapes]
    model = keras.Model(inputs, join([gain(each) for gain, each in zip(gains, inputs, strict=True)]))
    model.compile(keras.optimizers.SGD(1.0), "mse")
    y = RANDOM.normal(size=model.predict(x, verbose=0).shape).astype(np.float32)

    def loss(kernels: list[Array]) -> float:
        parts = [each.astype(float) @ kernel for each, kernel in zip(x, kernels, strict=True)]
        return float(((expected(parts) - y) ** 2).mean())

    kernels = [array.astype(float) for array in model.get_weights()]
    assert model.train_on_batch(x, y) == pytest.approx(loss(kernels), rel=1e-5)
    for before, after, slope in zip(kernels, model.get_weights(), slopes(loss, kernels), strict=True):
        np.testing.assert_allclose(before - after, slope, rtol=RTOL, atol=ATOL)


def test_functions_join_as_well() -> None:
    assert layers.add([np.ones((1, 2)), np.ones((1, 2))]).tolist() == [[2.0, 2.0]]
    assert layers.concatenate([np.ones((1, 1)), np.zeros((1, 2))], axis=1).tolist() == [[1.0, 0.0, 0.0]]
    x = keras.Input((3,))
    assert keras.Model(x, layers.concatenate([x, layers.add([x, x])])).predict(np.ones((1, 3))).tolist() == [
        [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]
    ]


@pytest.mark.parametrize("suffix", [".keras", ".npz", ".h5"])
def test_train_save_load_predict(suffix: str, tmp_path: Path) -> None:
    model = two_by_two(metrics={"kind": "accuracy", "size": ["mae"]})
    model.optimizer.learning_rate = 0.1
    history = model.fit(X, Y, epochs=30, batch_size=8, verbose=0, validation_split=0.25).history
    names = ["kind_accuracy", "kind_loss", "loss", "size_loss", "size_mae"]
    assert list(history) == names + [f"val_{name}" for name in names]
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    model.save(tmp_path / f"model{suffix}")
    again = keras.models.load_model(tmp_path / f"model{suffix}")
    for ours, before in zip(again.predict(X), model.predict(X), strict=True):
        assert np.array_equal(ours, before)
    assert again.metrics_names == ["loss", "kind_loss", "size_loss", "kind_accuracy", "size_mae"]
    assert again.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
    assert again.train_on_batch(X, Y) == model.train_on_batch(X, Y)
    for ours, before in zip(again.get_weights(), model.get_weights(), strict=True):
        assert np.array_equal(ours, before)


def test_forms_of_data_give_the_same() -> None:
    expected = two_by_two()
    weights = expected.get_weights()
    expected.fit(X, Y, verbose=0, shuffle=False, batch_size=8)

    def batches() -> Any:
        for begin in range(0, COUNT, 8):
            part = slice(begin, begin + 8)
            yield {"a": X[0][part], "b": X[1][part]}, [each[part] for each in Y]

    for data in (
        (tuple(X), tuple(Y)),
        ({"b": X[1], "a": X[0]}, {"size": Y[1], "kind": Y[0]}),
        ([each.tolist() for each in X], [each.tolist() for each in Y]),
        ([X[0].astype(np.float64), np.asfortranarray(X[1])], [Y[0][:, np.newaxis], Y[1].astype(np.float64)]),
        (batches(),),
    ):
        model = two_by_two()
        model.set_weights(weights)
        model.fit(*data, verbose=0, shuffle=False, batch_size=8)
        for ours, wanted in zip(model.get_weights(), expected.get_weights(), strict=True):
            assert np.array_equal(ours, wanted)
    streamed = expected.predict((x for x, _ in batches()), verbose=0)
    for ours, wanted in zip(streamed, expected.predict(X, verbose=0), strict=True):
        assert np.array_equal(ours, wanted)


def test_weights_of_samples_for_each_output() -> None:
    weights = [np.arange(COUNT, dtype=np.float32), np.ones(COUNT, np.float32)]
    model = two_by_two()
    kind, size = (
        np.array(model.evaluate([x[i : i + 1] for x in X], [y[i : i + 1] for y in Y], verbose=0)[1:])
        for i in (0, 1)
    )
    two = [x[:2] for x in X], [y[:2] for y in Y]
    for given, factors in (([w[:2] for w in weights], weights), (weights[0][:2], weights[:1] * 2)):
        found = model.evaluate(*two, sample_weight=given, verbose=0)[1:]
        exact = [(factors[i][0] * kind[i] + factors[i][1] * size[i]) / 2 for i in (0, 1)]
        assert found == pytest.approx(exact, rel=1e-5)


def test_losses_written_in_python() -> None:
    def squared(y_true: Any, y_pred: Any) -> Any:
        return np.mean((y_pred - y_true) ** 2, axis=-1)

    squared.gradient = lambda y_true, y_pred: 2 * (y_pred - y_true) / y_pred.shape[-1]  # type: ignore[attr-defined]

    def error(y_true: Any, y_pred: Any) -> Any:
        return np.abs(y_pred - y_true).mean(axis=-1)

    model, expected = two_by_two(), two_by_two()
    expected.compile("sgd", ["sparse_categorical_crossentropy", "mse"], [2.0, 0.5], metrics=[[], ["mae"]])
    model.compile("sgd", ["sparse_categorical_crossentropy", squared], [2.0, 0.5], metrics=[[], [error]])
    model.set_weights(expected.get_weights())
    for epochs in (1, 2):
        ours, theirs = (
            each.fit(X, Y, epochs=epochs, batch_size=8, verbose=0, shuffle=False).history
            for each in (model, expected)
        )
        assert list(ours) == ["kind_loss", "loss", "size_error", "size_loss"]
        for name in ("kind_loss", "loss", "size_loss"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-5)
        assert ours["size_error"] == pytest.approx(theirs["size_mae"], rel=1e-5)


def test_shared_layers_and_models_within() -> None:
    shared = layers.Dense(4, "tanh")
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dropout(0.5)])
    a, b = keras.Input((4,)), keras.Input((4,))
    outputs = layers.Add()([inner(shared(a)), shared(b), inner(b)])
    model = keras.Model([a, b], outputs)
    x = [RANDOM.normal(size=(5, 4)).astype(np.float32) for _ in range(2)]
    first, again = shared(x[0]), shared(x[1])
    np.testing.assert_allclose(
        model.predict(x), inner.predict(np.asarray(first)) + again + inner.predict(x[1]), rtol=1e-5
    )
    assert len(model.weights) == 4
    # What is added to a model within is in the models around it as well.
    inner.add(layers.Activation("relu"))
    np.testing.assert_allclose(
        model.predict(x), inner.predict(np.asarray(first)) + again + inner.predict(x[1]), rtol=1e-5
    )
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(x, x[0], verbose=0)
    assert all(not np.array_equal(*pair) for pair in zip(before, model.get_weights(), strict=True))


def test_one_batch_with_training() -> None:
    a, b = keras.Input((3,)), keras.Input((3,))
    model = keras.Model([a, b], [layers.Add()([layers.Dropout(0.5)(a), b]), layers.Dropout(0.5)(b)])
    ones = [np.ones((200, 3), np.float32)] * 2
    noisy, still = model(ones, training=True), model(ones)
    assert set(np.unique(noisy[0])) == {1.0, 3.0}
    assert set(np.unique(noisy[1])) == {0.0, 2.0}
    assert set(np.unique(still[0])) == {2.0}
    mixed = keras.Model([a, b], layers.Add()([layers.Dropout(0.5)(a, training=True), b]))
    assert set(np.unique(mixed(ones))) == {1.0, 3.0}


def test_tokens_and_numbers() -> None:
    tokens, numbers = keras.Input((2,), name="tokens"), keras.Input((3,), name="numbers")
    text = layers.Flatten()(layers.Embedding(10, 4)(tokens))
    model = keras.Model([tokens, numbers], layers.Dense(1)(layers.Concatenate()([text, numbers])))
    model.compile("adam", "mse")
    data = [RANDOM.integers(0, 10, (8, 2)), RANDOM.normal(size=(8, 3))]
    model.fit(data, np.ones(8), verbose=0)
    with pytest.raises(ValueError, match=r"`x\['tokens'\]` must hold .*in \[0, 10\)"):
        model.predict([data[0] + 5, data[1]])


def test_masks_through_joins() -> None:
    x = keras.Input((3, 2))
    masked = layers.Masking()(x)
    joined = layers.Concatenate()([masked, layers.Dense(2, use_bias=False)(masked)])
    model = keras.Model(x, layers.GlobalAveragePooling1D()(joined))
    data = np.ones((1, 3, 2), np.float32)
    data[0, 1:] = 0
    assert model.predict(data)[0, :2].tolist() == [1.0, 1.0]  # the mean of the one timestep that isn't masked
    # As in Keras, all timesteps count where an input without a mask joins.
    joined = keras.Model(x, layers.GlobalAveragePooling1D()(layers.Concatenate()([masked, x])))
    np.testing.assert_allclose(joined.predict(data), np.full((1, 4), 1 / 3), rtol=1e-6)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (X[0], TypeError, r"one entry for each input .* or a dict .*\['a', 'b'\].* one array of"),
        ([X[0]], ValueError, "got 1 entries"),
        ({"a": X[0]}, ValueError, "'b' is missing"),
        ([X[1], X[0]], ValueError, r"`x\['a'\]` must have shape \(n, 4\)"),
        ([X[0], X[1][:5]], ValueError, "the same number of samples, but 'a' has 24, 'b' has 5"),
        ([X[0], X[1] * np.nan], ValueError, r"`x\['b'\]` must be finite"),
    ],
)
def test_wrong_inputs(x: Any, error: type[Exception], message: str) -> None:
    model = two_by_two()
    for call in (lambda: model.predict(x), lambda: model.fit(x, Y), lambda: model(x)):
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize(
    ("y", "options", "error", "message"),
    [
        (Y[0], {}, TypeError, "`y` must be a list with one entry for each output"),
        ([Y[0]], {}, ValueError, "got 1 entries"),
        ({"kind": Y[0]}, {}, ValueError, "'size' is missing"),
        ([Y[0], None], {}, ValueError, r"`y\['size'\]` is missing"),
        ([Y[0], Y[1][:3]], {}, ValueError, r"`y\['size'\]` has 3"),
        ([Y[0] + 1, Y[1]], {}, ValueError, r"`y\['kind'\]` must hold class indices in \[0, 3\)"),
        (Y, {"class_weight": {0: 2.0}}, ValueError, "only supported for models with a single output"),
        (Y, {"sample_weight": [np.ones(COUNT)]}, ValueError, "`sample_weight` must be a list with one entry"),
    ],
)
def test_wrong_targets(y: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        two_by_two().fit(X, y, verbose=0, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": ["mse"]}, r"`loss` must be one loss for all outputs, a list .*\['kind', 'size'\]"),
        ({"loss": {"kind": "mse"}}, r"got a dict with the keys \['kind'\]"),
        ({"loss": "mse", "loss_weights": [1.0]}, "`loss_weights` must be a list with one number for each"),
        ({"loss": "mse", "metrics": ["mae"]}, "`metrics` must be a list with one entry for each output"),
        ({"loss": "mse", "metrics": {"other": "mae"}}, "a dict with keys among"),
    ],
)
def test_wrong_arguments_of_compile(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        two_by_two().compile("sgd", **options)


def test_what_is_no_graph() -> None:
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    with pytest.raises(ValueError, match=r"`outputs` must come from `inputs`.*name=b.*add that to `inputs`"):
        keras.Model(a, layers.Add()([a, b]))
    with pytest.raises(ValueError, match="two layers are named 'a'"):
        keras.Model([a, b], layers.Add()([layers.Dense(4, name="a")(a), b]))
    with pytest.raises(ValueError, match="`inputs` must be different"):
        keras.Model([a, a], layers.Dense(1)(a))
    with pytest.raises(ValueError, match=r"Dense '.*' takes one input, got a list of 2: join them before"):
        layers.Dense(2)([a, b])
    with pytest.raises(ValueError, match=r"combines inputs of one shape, .* got \(n, 4\), \(n, 2\)"):
        layers.Add()([a, layers.Dense(2)(b)])
    with pytest.raises(ValueError, match="must be called on a list of inputs"):
        layers.Add()(a)
    with pytest.raises(ValueError, match="must be called on a list of inputs"):
        layers.Add()([])
    with pytest.raises(TypeError, match="on arrays or on symbolic inputs"):
        layers.Add()([a, np.ones((2, 4))])
    with pytest.raises(ValueError, match="differ in axis 1 alone"):
        layers.Concatenate(axis=1)([keras.Input((2, 3)), keras.Input((2, 4))])
    with pytest.raises(ValueError, match=r"`axis` of layer '.*' must be one of the axes"):
        layers.Concatenate(axis=0)([a, b])
    model = keras.Model([a, b], layers.Add()([a, b]))
    with pytest.raises(ValueError, match="has 2 inputs, so it can't take 1"):
        model(a)
    with pytest.raises(ValueError, match=r"each layer of a Sequential has one input, but '.*' has 2"):
        keras.Sequential([model])
    with pytest.raises(ValueError, match=r"each layer of a Sequential has one output, but '.*' has 2"):
        keras.Sequential([a, keras.Model(a, [layers.Dense(1)(a), layers.Dense(2)(a)])])


def test_an_array_for_the_outputs_is_for_one_output() -> None:
    with pytest.raises(ValueError, match="`out` is for models with one output"):
        two_by_two().predict(X, out=np.empty((COUNT, 5), np.float32))


def test_one_input_and_several_outputs_of_any_length() -> None:
    x = keras.Input((None, 3))
    each = layers.Dense(2, name="each")(x)
    model = compiled(keras.Model(x, [each, layers.GlobalAveragePooling1D(name="mean")(each)]), "sgd", "mse")
    for length in (2, 5):
        data = np.ones((4, length, 3), np.float32)
        assert [y.shape for y in model.predict(data)] == [(4, length, 2), (4, 2)]
        model.fit(data, [np.ones((4, length, 2)), np.ones((4, 2))], verbose=0)


def test_one_of_the_outputs_of_a_model_within() -> None:
    a = keras.Input((4,))
    inner = keras.Model(a, [layers.Dense(1)(a), layers.Dense(2)(a)], name="inner")
    x = keras.Input((4,))
    for number in (0, 1):
        model = keras.Model(x, inner(x)[number])
        expected = inner.predict(X[0])[number]
        assert np.array_equal(model.predict(X[0]), expected)
        assert np.array_equal(keras.models.clone_model(model).predict(X[0]).shape, expected.shape)
        model.summary(expand_nested=True, print_fn=len)
        assert [sources for *_, sources in model._diagram()] == [[], [0]]


def test_an_input_is_an_output() -> None:
    a, b = keras.Input((2,)), keras.Input((3,))
    same = layers.Dense(1)(a)
    model = keras.Model([a, b], {"input": b, "one": same, "other": same})
    x = [np.ones((4, 2), np.float32), np.arange(12, dtype=np.float32).reshape(4, 3)]
    found = model.predict(x)
    assert list(found) == ["input", "one", "other"]
    assert np.array_equal(found["input"], x[1])
    assert np.array_equal(found["one"], found["other"])


def test_callbacks_and_progress(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    seen: list[Any] = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(sorted(logs))

        def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append([part.shape for part in logs["outputs"]])

    model = two_by_two()
    checkpoint = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.keras", "val_size_loss", save_best_only=True
    )
    early = keras.callbacks.EarlyStopping("val_kind_loss", patience=1)
    model.fit(X, Y, batch_size=12, validation_data=(X, Y), callbacks=[Watch(), checkpoint, early], verbose=2)
    assert seen == [["kind_loss", "loss", "size_loss"]] * 2
    assert "kind_loss: " in capsys.readouterr().out
    assert [y.shape for y in keras.models.load_model(tmp_path / "best.keras").predict(X)] == [
        (24, 3),
        (24, 2),
    ]
    model.predict(X, batch_size=12, callbacks=[Watch()])
    assert seen[2:] == [[(12, 3), (12, 2)]] * 2


def test_an_interrupted_training_goes_on(tmp_path: Path) -> None:
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 1:
                raise KeyboardInterrupt

    expected = two_by_two()
    start = expected.get_weights()
    expected.optimizer.learning_rate = 0.1
    keras.utils.set_random_seed(3)
    whole = expected.fit(X, Y, batch_size=6, epochs=2, verbose=0).history
    model = two_by_two()
    model.set_weights(start)
    model.optimizer.learning_rate = 0.1
    backup = keras.callbacks.BackupAndRestore(tmp_path, save_freq=1)
    keras.utils.set_random_seed(3)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, batch_size=6, epochs=2, verbose=0, callbacks=[backup, Stop()])
    history = model.fit(X, Y, batch_size=6, epochs=2, verbose=0, callbacks=[backup]).history
    assert history["size_loss"] == whole["size_loss"]
    for ours, wanted in zip(model.get_weights(), expected.get_weights(), strict=True):
        assert np.array_equal(ours, wanted)


@pytest.mark.parametrize("rankdir", ["TB", "BT", "LR", "RL"])
def test_diagrams(rankdir: str, tmp_path: Path) -> None:
    """Each arrow ends at the edge of a box, and no line crosses one."""
    x = keras.Input((4,))
    first = layers.Dense(4)(x)
    model = keras.Model(x, [layers.Add()([x, layers.Dense(4)(first)]), layers.Dense(1)(first)])
    model_diagram = model._diagram()
    assert [sources for *_, sources in model_diagram] == [[], [0], [1], [0, 2], [1]]
    boxes = model_plot._boxes(model, model_plot.Shown(True, True, True, True, True, False))
    drawing = model_plot._layered(boxes, [sources for *_, sources in model_diagram], rankdir)
    headings = [cell for cell in drawing.cells if cell.size == model_plot.HEADING]
    assert len(headings) == len(boxes)
    for cell in drawing.cells:
        assert 0 <= cell.x <= cell.x + cell.width <= drawing.width
        assert 0 <= cell.y <= cell.y + cell.height <= drawing.height
    assert len(drawing.arrows) == 5
    for x1, y1, x2, y2 in (*drawing.arrows, *drawing.lines):
        for share in np.linspace(0.02, 0.98, 25):
            place = x1 + share * (x2 - x1), y1 + share * (y2 - y1)
            assert not any(
                cell.x + 0.1 < place[0] < cell.x + cell.width - 0.1
                and cell.y + 0.1 < place[1] < cell.y + cell.height - 0.1
                for cell in drawing.cells
            )
    keras.utils.plot_model(model, tmp_path / "model.svg", rankdir=rankdir, show_shapes=True)
    assert (tmp_path / "model.svg").read_text().count("<text") == 3 * 5


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("batches", [False, True])
def test_class_weights_of_several_outputs(by_name: bool, batches: bool) -> None:
    """Keras 2 took them so. They do the same as sample weights."""
    weights = {0: 1.0, 1: 2.5, 2: 0.5}
    class_weight: Any = {"kind": weights} if by_name else [weights, None]
    sample_weight = [np.array([weights[kind] for kind in Y[0]], np.float32), np.ones(COUNT, np.float32)]
    model, twin = two_by_two(), two_by_two()
    twin.set_weights(model.get_weights())
    if batches:
        model.fit(iter([(X, Y)] * 2), steps_per_epoch=2, verbose=0, class_weight=class_weight)
        twin.fit(iter([(X, Y, sample_weight)] * 2), steps_per_epoch=2, verbose=0)
    else:
        model.fit(X, Y, shuffle=False, verbose=0, class_weight=class_weight)
        twin.fit(X, Y, shuffle=False, verbose=0, sample_weight=sample_weight)
    model.train_on_batch(X, Y, class_weight=class_weight)
    twin.train_on_batch(X, Y, sample_weight=sample_weight)
    assert_all_equal(model.get_weights(), twin.get_weights())


def test_wrong_class_weights_of_several_outputs() -> None:
    with pytest.raises(ValueError, match="entry 'sort', but the outputs are kind, size"):
        two_by_two().fit(X, Y, class_weight={"sort": {0: 1.0}})
    with pytest.raises(ValueError, match="pass a list with one for each of the 2 outputs"):
        two_by_two().fit(X, Y, class_weight=[{0: 1.0}])
    with pytest.raises(TypeError, match="`class_weight` must be a dict of class index -> weight"):
        two_by_two().fit(X, Y, class_weight=[3.0, None])


def test_the_targets_of_one_output_by_its_name() -> None:
    inputs = keras.Input((3,), name="in")
    model = keras.Model(inputs, keras.layers.Dense(1, name="out")(inputs))
    model.compile("sgd", {"out": "mse"}, metrics={"out": ["mae"]})
    x, y = np.ones((4, 3), np.float32), np.arange(4.0)[:, None]
    given = model.evaluate({"in": x}, {"out": y}, sample_weight={"out": np.arange(4)}, verbose=0)
    assert given == model.evaluate(x, y, sample_weight=np.arange(4), verbose=0)
    with pytest.raises(TypeError, match=r"`y` must be one array, .* but is a dict of \['other'\]"):
        model.evaluate(x, {"other": y}, verbose=0)


def test_batches_without_samples() -> None:
    """Keras returns outputs without samples, too."""
    model = two_by_two()
    nothing = (
        [each[:0] for each in X] if isinstance(X, list) else {name: each[:0] for name, each in X.items()}
    )
    for outputs in (model(nothing), model.predict_on_batch(nothing)):
        values = outputs.values() if isinstance(outputs, dict) else outputs
        assert [np.shape(each) for each in values] == [(0, *shape[1:]) for shape in model.output_shape]
    a, b = keras.Input((None,), name="a"), keras.Input((2,), name="b")
    mean = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(5, 3)(a))
    joined = keras.Model([a, b], keras.layers.Concatenate()([mean, b]))
    assert np.shape(joined([np.zeros((0, 7)), np.zeros((0, 2))])) == (0, 5)
    with pytest.raises(ValueError, match=r"`x\['b'\]` must have shape \(n, 2\)"):
        joined([np.zeros((0, 7)), np.zeros((0, 3))])
    with pytest.raises(ValueError, match=r"same number of samples|is empty"):
        joined([np.zeros((0, 7)), np.zeros((4, 2))])


@pytest.mark.parametrize("rankdir", ["TB", "LR", "BT", "RL"])
def test_a_graph_within_is_drawn_in_a_frame(rankdir: str) -> None:
    inner = two_by_two()
    x, y = keras.Input((4,)), keras.Input((3,))
    chain = keras.Sequential([keras.Input((4,)), layers.Dense(5), layers.Dense(4)])
    model = keras.Model([x, y], inner([chain(x), y]))
    shown = model_plot.Shown(True, False, True, False, False, nested=True)
    drawing = model_plot._unfolded(model_plot._drawing_of(model, shown, rankdir))
    alone = model_plot._drawing_of(inner, shown, rankdir)
    frames = [cell for cell in drawing.cells if cell.fill == model_plot.PALE]
    assert [(frame.width, frame.height) for frame in frames] == [(alone.width, alone.height)]
    (frame,) = frames
    within = [
        cell
        for cell in drawing.cells
        if frame.x < cell.x and cell.x + cell.width < frame.x + frame.width
        if frame.y < cell.y and cell.y + cell.height < frame.y + frame.height
    ]
    assert [cell.text for cell in within] == [cell.text for cell in alone.cells]
    assert len(drawing.arrows) == len(alone.arrows) + 3
    assert not any(cell.inner for cell in drawing.cells)


def test_a_layer_that_reads_what_comes_of_it_is_drawn_for_each_call() -> None:
    x, same = keras.Input((4,), name="x"), layers.Dense(4, name="same")
    first = same(x)
    model = keras.Model(x, layers.Add(name="sum")([first, same(layers.ReLU(name="relu")(first))]))
    assert [(part.name, sources) for part, _, _, sources in model._diagram()] == [
        ("x", []), ("same", [0]), ("relu", [1]), ("same", [2]), ("sum", [1, 3])
    ]  # fmt: skip


def test_shapes_that_do_not_fit_name_the_layers_that_are_called_on() -> None:
    x = keras.Input((4,), name="x")
    three, five = layers.Dense(3, name="three")(x), layers.Dense(5, name="five")(x)
    sources = r"'{}' is called on the output \(None, 3\) of 'three' and the output \(None, 5\) of 'five'$"
    with pytest.raises(ValueError, match=sources.format("sum")):
        layers.Add(name="sum")([three, five])
    shared = layers.Dense(2, name="shared")
    shared(three)
    with pytest.raises(ValueError, match=r"'shared' is called on the output \(None, 5\) of 'five'"):
        shared(five)
    with pytest.raises(ValueError, match=sources.format("both")):
        two_by_two_named("both")([three, five])


def two_by_two_named(name: str) -> keras.Model:
    a, b = keras.Input((3,)), keras.Input((3,))
    return keras.Model([a, b], layers.Add()([a, b]), name=name)


def test_outputs_that_depend_on_another_input_name_the_layer_that_reads_it() -> None:
    x, y = keras.Input((4,), name="x"), keras.Input((4,), name="y")
    with pytest.raises(ValueError, match=r"another .*name=y>, which layer 'both' reads: add that"):
        keras.Model(x, layers.Dense(1)(layers.Add(name="both")([layers.Dense(4)(x), y])))


def test_an_input_that_nothing_reads_is_told_when_training_begins() -> None:
    x, y = keras.Input((4,), name="x"), keras.Input((3,), name="y")
    model = compiled(keras.Model([x, y], layers.Dense(2)(x), name="half"), "sgd", "mse")
    with pytest.warns(UserWarning, match="no layer of model 'half' reads its input 'y'"):
        model.fit(X, Y[1], verbose=0)
    model.fit(X, Y[1], verbose=0)


def test_models_that_would_contain_themselves() -> None:
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(3)], name="inner")
    x = keras.Input((3,))
    outer = keras.Model(x, layers.Add()([inner(x), x]))
    for part in (inner, outer, keras.Sequential([outer])):
        with pytest.raises(ValueError, match="model 'inner' can't be a part of itself"):
            inner.add(part)


def test_dicts_of_outputs_may_have_losses_for_some() -> None:
    x = keras.Input((4,))
    model = keras.Model(x, {"a": layers.Dense(2)(x), "b": layers.Dense(1)(x), "c": layers.Dense(1)(x)})
    model.compile("sgd", {"c": "mse", "a": "mse"}, loss_weights={"c": 2.0, "a": 1.0}, metrics={"b": ["mae"]})
    y = {"a": Y[1], "b": Y[1][:, :1], "c": Y[1][:, 1:]}
    found = model.evaluate(X[0], y, verbose=0, return_dict=True)
    assert list(found) == ["a_loss", "b_mae", "c_loss", "loss"]
    assert found["loss"] == pytest.approx(found["a_loss"] + 2 * found["c_loss"])
    # The losses come in the order of the dict of losses.
    assert model.metrics_names == ["loss", "c_loss", "a_loss", "b_mae"]
    assert model.evaluate(X[0], y, verbose=0) == [found[name] for name in model.metrics_names]


@pytest.mark.parametrize("argument", ["loss", "metrics", "weighted_metrics"])
def test_names_that_the_one_output_does_not_have(argument: str) -> None:
    x = keras.Input((4,))
    model = keras.Model(x, {"key": layers.Dense(2, name="last")(x)})
    for name in ("key", "last"):
        model.compile("sgd", **{"loss": "mse", argument: {name: "mae"}})
    with pytest.raises(
        ValueError, match=f"`{argument}` has the key 'lost', but the model's one output is named 'key' or"
    ):
        model.compile("sgd", **{"loss": "mse", argument: {"lost": "mae"}})


def test_known_lengths_of_the_batch_axis_stay_known() -> None:
    """As in Keras, in the shapes of symbols; batches of any size are accepted."""
    start = keras.Input((3,), batch_size=4)
    rows = layers.Dense(2)(start)
    assert (start.shape, rows.shape, (rows * 2.0).shape) == ((4, 3), (4, 2), (4, 2))
    assert keras.ops.sum(start).shape == ()
    assert keras.ops.concatenate([start, start], axis=0).shape == (8, 3)
    assert layers.Concatenate()([rows, layers.Dense(1)(start)]).shape == (4, 3)
    assert layers.Dense(2)(keras.Input((3,))).shape == (None, 2)
    model = keras.Model(start, rows)
    assert model(keras.Input(batch_shape=(7, 3))).shape == (7, 2)
    assert model.predict(np.ones((5, 3)), verbose=0).shape == (5, 2)


def test_symbols_of_given_shapes() -> None:
    assert keras.KerasTensor((2, 3)).shape == (2, 3)
    assert keras.KerasTensor((None, 3), dtype="int32", name="ids").name == "ids"
    assert layers.Dense(4)(keras.KerasTensor((2, 5, 3))).shape == (2, 5, 4)
    assert keras.KerasTensor(()).shape == ()
