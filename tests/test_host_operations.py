"""Operations that Python computes within programs, such as the inverse of a matrix: wherever functions are recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import WrittenStep, assert_all_close, assert_all_equal, compiled

import engine as keras
from engine import layers, ops

RNG = np.random.default_rng(3)
ROOTS = RNG.normal(size=(37, 3, 3)).astype(np.float32)
MATRICES = (ROOTS @ ROOTS.transpose(0, 2, 1) + np.eye(3)).astype(np.float32)
TARGETS = RNG.normal(size=(37, 1)).astype(np.float32)


def model_of_roots(seed: int = 0) -> keras.Model:
    """Its output depends on the Cholesky factors and the inverses of matrices that weights make definite."""
    keras.utils.set_random_seed(seed)
    x = keras.Input((3, 3))
    root = layers.Dense(3)(x)
    matrix = ops.matmul(root, ops.transpose(root, (0, 2, 1))) + 2 * ops.eye(3)
    both = ops.concatenate([ops.cholesky(matrix), ops.inv(matrix)], axis=1)
    return keras.Model(x, layers.Dense(1)(layers.Flatten()(both)))


def formula(weights: list[Any], x: Any) -> Any:
    """The same in float64."""
    kernel, bias, last, last_bias = (np.asarray(each, float) for each in weights)
    root = x @ kernel + bias
    matrix = root @ np.swapaxes(root, -1, -2) + 2 * np.eye(3)
    both = np.concatenate([np.linalg.cholesky(matrix), np.linalg.inv(matrix)], axis=1)
    return both.reshape(len(x), -1) @ last + last_bias


def slopes(weights: list[Any], x: Any, y: Any) -> list[Any]:
    """The gradient of the mean squared error, by differences in float64."""
    found = []
    values = [np.array(each, float) for each in weights]
    for array in values:
        slope = np.zeros(array.shape)
        for place in np.ndindex(array.shape):
            sides = []
            for step in (1e-5, -1e-5):
                before = array[place]
                array[place] = before + step
                sides.append(np.mean((formula(values, x) - y) ** 2))
                array[place] = before
            slope[place] = (sides[0] - sides[1]) / 2e-5
        found.append(slope)
    return found


@pytest.mark.parametrize("batch_size", [1, 8, 37, 64])
def test_a_model_predicts_and_evaluates(batch_size: int) -> None:
    model = compiled(model_of_roots(), loss="mse", metrics=["mae"])
    wanted = formula(model.get_weights(), ROOTS)
    found = model.predict(ROOTS, batch_size=batch_size, verbose=0)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    loss, error = model.evaluate(ROOTS, TARGETS, batch_size=batch_size, verbose=0)
    assert loss == pytest.approx(np.mean((wanted - TARGETS) ** 2), rel=1e-4)
    assert error == pytest.approx(np.mean(np.abs(wanted - TARGETS)), rel=1e-4)


def test_every_kind_of_step_trains_by_the_gradient() -> None:
    """`fit`, `train_on_batch`, a tape, and a train step of one's own make the step of SGD that differences give."""

    first = model_of_roots()
    weights = first.get_weights()
    wanted = [w - 0.1 * s for w, s in zip(weights, slopes(weights, ROOTS, TARGETS), strict=True)]

    def by_fit(model: keras.Model) -> None:
        model.fit(ROOTS, TARGETS, batch_size=37, verbose=0)

    def by_batch(model: keras.Model) -> None:
        model.train_on_batch(ROOTS, TARGETS)

    def by_tape(model: keras.Model) -> None:
        with keras.GradientTape() as tape:
            loss = ops.mean(ops.square(model(ROOTS) - TARGETS))
        gradients = tape.gradient(loss, model.trainable_weights)
        model.optimizer.apply_gradients(zip(gradients, model.trainable_weights, strict=True))

    for step in (by_fit, by_batch, by_tape):
        model = compiled(model_of_roots(), keras.optimizers.SGD(0.1), "mse")
        step(model)
        assert_all_close(model.get_weights(), wanted, rtol=2e-3, atol=2e-5, err_msg=step.__name__)
    own = compiled(WrittenStep(first.inputs, first.outputs), keras.optimizers.SGD(0.1), "mse")
    own.fit(ROOTS, TARGETS, batch_size=37, verbose=0)
    assert_all_close(own.get_weights(), wanted, rtol=2e-3, atol=2e-5)


def test_losses_and_metrics_of_users() -> None:
    def distance(y: Any, p: Any) -> Any:
        rows = ops.reshape(p, (-1, 3, 3)) + 3 * ops.eye(3)
        return ops.sum(ops.square(ops.inv(rows) - ops.reshape(y, (-1, 3, 3))), axis=(1, 2))

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((9,)), layers.Dense(9, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(0.01), distance, metrics=[distance])
    x, y = ROOTS.reshape(-1, 9), MATRICES.reshape(-1, 9)
    wanted = np.mean(np.sum((np.eye(3) / 3 - MATRICES.astype(float)) ** 2, axis=(1, 2)))
    loss, metric = model.evaluate(x, y, verbose=0)
    assert loss == pytest.approx(wanted, rel=1e-5)
    assert metric == pytest.approx(wanted, rel=1e-5)
    history = model.fit(x, y, epochs=3, batch_size=37, verbose=0).history["loss"]
    assert history[-1] < history[0] == pytest.approx(wanted, rel=1e-5)


def test_saved_and_loaded(tmp_path: Path) -> None:
    model = model_of_roots()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(ROOTS, verbose=0), model.predict(ROOTS, verbose=0))
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(clone.predict(ROOTS, verbose=0), model.predict(ROOTS, verbose=0))


def test_layers_compute_in_their_call() -> None:
    class Whitened(layers.Layer):
        def call(self, x: Any) -> Any:
            rest = x - ops.mean(x, axis=1, keepdims=True)
            covariance = ops.matmul(ops.transpose(rest, (0, 2, 1)), rest) / 4 + 0.1 * ops.eye(3)
            values, vectors = ops.eigh(covariance)
            return ops.matmul(rest, vectors / ops.sqrt(values)[:, None, :])

    x = RNG.normal(size=(6, 5, 3)).astype(np.float32)
    model = keras.Sequential([keras.Input((5, 3)), Whitened(), layers.Flatten(), layers.Dense(1)])
    model.compile("adam", "mse")
    history = model.fit(x, np.ones((6, 1)), epochs=20, verbose=0).history["loss"]
    assert history[-1] < history[0]
    found = np.asarray(Whitened()(x))
    rest = x - x.mean(axis=1, keepdims=True)
    gram = found.transpose(0, 2, 1) @ found / 4
    np.testing.assert_allclose(np.linalg.eigvalsh(gram), np.sort(np.linalg.eigvalsh(gram)), rtol=1e-5)
    assert rest.shape == found.shape


def test_errors_reach_the_user_and_change_nothing() -> None:
    model = model_of_roots()
    x = keras.Input((3, 3))
    whole = keras.Model(x, layers.Dense(1)(layers.Flatten()(ops.inv(layers.Dense(3, use_bias=False)(x)))))
    whole.compile(keras.optimizers.Adam(0.1), "mse")
    data = ROOTS.copy()
    data[20] = 0
    before = [np.array(each) for each in whole.get_weights()]
    with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"):
        whole.predict(data, verbose=0)
    with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"):
        whole.fit(data, TARGETS, batch_size=37, verbose=0)
    assert_all_equal(whole.get_weights(), before)
    assert int(whole.optimizer.iterations) == 0
    whole.fit(ROOTS, TARGETS, batch_size=37, verbose=0)
    assert int(whole.optimizer.iterations) == 1
    variable = keras.Variable(np.zeros((3, 3), np.float32))
    with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"), keras.GradientTape():
        float(ops.sum(ops.inv(variable)))
    with pytest.raises(ValueError, match="must be positive definite"):
        keras.function(ops.cholesky)(-np.eye(3, dtype=np.float32))
    assert np.isfinite(model.predict(data, verbose=0)).all()


def test_a_determinant_has_a_derivative_where_it_is_zero() -> None:
    x = keras.Variable(np.float32([[1, 2], [2, 4]]))
    with keras.GradientTape() as tape:
        y = ops.det(x)
    np.testing.assert_allclose(tape.gradient(y, x), [[4, -2], [-2, 1]], rtol=1e-5)


def test_bases_that_are_completed_have_no_derivative() -> None:
    x = keras.Variable(RNG.normal(size=(4, 2)))
    for function in (lambda: ops.svd(x)[0], lambda: ops.qr(x, mode="complete")[0]):
        with keras.GradientTape() as tape:
            y = ops.sum(function())
        with pytest.raises(ValueError, match=r"a basis completed by svd\(full_matrices=True\)"):
            np.asarray(tape.gradient(y, x))
    with keras.GradientTape() as tape:
        y = ops.sum(ops.svd(x)[1])
    assert np.isfinite(np.asarray(tape.gradient(y, x))).all()


@pytest.mark.parametrize("path", ["model.onnx", "model.h"])
def test_exports_refuse_it_in_one_sentence(tmp_path: Path, path: str) -> None:
    pytest.importorskip("onnx")
    with pytest.raises(
        ValueError,
        match=r"\.py:\d+: layer 'cholesky\w*' has the operation 'cholesky'",
    ):
        model_of_roots().export(tmp_path / path, **({} if path.endswith(".onnx") else {"format": "c"}))


def test_exports_refuse_it_before_they_compute_anything(tmp_path: Path) -> None:
    """The matrix of an export's sample has no root."""
    recorded = keras.Sequential(
        [keras.Input((3, 3)), layers.Activation(lambda x: ops.cholesky(2 * x)), layers.Flatten()]
    )
    x = keras.Input((3, 3))
    for model in (recorded, keras.Model(x, layers.Flatten()(ops.cholesky(x)))):
        with pytest.raises(ValueError, match="which Python computes in every"):
            model.export(tmp_path / "model.h", format="c")


def test_numpy_computes_what_the_functions_of_one_name_do() -> None:
    x = keras.Input((3, 3))
    model = keras.Model(x, np.linalg.inv(x))
    np.testing.assert_allclose(model.predict(MATRICES, verbose=0), np.linalg.inv(MATRICES), rtol=1e-5)


def test_axes_of_unknown_lengths() -> None:
    x = keras.Input((None, None))
    y = ops.inv(x)
    assert y.shape == (None, None, None)
    model = keras.Model(x, y)
    for side in (2, 5):
        matrices = RNG.normal(size=(4, side, side)).astype(np.float32) + 3 * np.eye(side, dtype=np.float32)
        np.testing.assert_allclose(
            model.predict(matrices, verbose=0), np.linalg.inv(matrices), rtol=1e-4, atol=1e-6
        )


def test_several_threads_predict_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    model = model_of_roots()
    wanted = model.predict(ROOTS, verbose=0)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: model.predict(ROOTS, batch_size=5, verbose=0), range(8)):
            np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_the_text_of_a_batch_names_the_function() -> None:
    model = compiled(model_of_roots(), "sgd", "mse")
    text = str(keras.utils.explain_batch(model))
    assert "host_array" in text
    assert "cholesky" in text


def test_a_gradient_of_a_user_may_have_such_operations() -> None:
    @ops.custom_gradient
    def solved(a: Any) -> Any:
        def rule(upstream: Any) -> Any:
            return 3 * ops.matmul(ops.inv(a), upstream)

        return ops.sum(a * a) * ops.eye(3), rule

    x = keras.Variable(MATRICES[0])
    with keras.GradientTape() as outer:
        with keras.GradientTape() as tape:
            y = ops.sum(solved(x * 1.0))
        slope = tape.gradient(y, x)
        total = ops.sum(slope * np.arange(9.0).reshape(3, 3))
    inverse = np.linalg.inv(MATRICES[0].astype(float))
    np.testing.assert_allclose(slope, 3 * inverse @ np.ones((3, 3)), rtol=1e-4)
    upstream = np.arange(9.0).reshape(3, 3) @ np.ones((3, 3)).T
    np.testing.assert_allclose(
        outer.gradient(total, x), -3 * inverse.T @ upstream @ inverse.T, rtol=1e-3, atol=1e-5
    )


def test_regularizers_of_users() -> None:
    class Spread(keras.regularizers.Regularizer):
        def __call__(self, x: Any) -> Any:
            return -0.01 * ops.slogdet(ops.matmul(ops.transpose(x), x) + ops.eye(3))[1]

    model = keras.Sequential(
        [keras.Input((5,)), layers.Dense(3, use_bias=False, kernel_regularizer=Spread())]
    )
    model.compile(keras.optimizers.SGD(0.1), "mse")
    kernel = np.array(model.get_weights()[0], float)
    x = np.zeros((4, 5), np.float32)
    model.fit(x, np.zeros((4, 3), np.float32), verbose=0)
    gram = kernel.T @ kernel + np.eye(3)
    np.testing.assert_allclose(
        model.get_weights()[0], kernel + 0.1 * 0.02 * kernel @ np.linalg.inv(gram), rtol=1e-5
    )


def test_matrices_of_the_samples_of_a_batch() -> None:
    """A matrix whose rows are the samples is that of each batch."""
    x = keras.Input((3,))
    gram = ops.matmul(ops.transpose(x), x) + ops.eye(3)
    model = keras.Model(x, [ops.matmul(x, ops.inv(gram)), ops.transpose(ops.pinv(x))])
    rows = RNG.normal(size=(10, 3)).astype(np.float32)
    found = model.predict(rows, batch_size=5, verbose=0)
    batches = rows[:5].astype(float), rows[5:].astype(float)
    wanted = [batch @ np.linalg.inv(batch.T @ batch + np.eye(3)) for batch in batches]
    np.testing.assert_allclose(found[0], np.concatenate(wanted), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        found[1], np.concatenate([np.linalg.pinv(batch).T for batch in batches]), rtol=1e-3, atol=1e-5
    )


def test_derivatives_within_a_model() -> None:
    """A layer that takes a derivative in its `call` predicts it, batch by batch."""

    class Slope(layers.Layer):
        def call(self, x: Any) -> Any:
            return keras.grad(lambda x: ops.sum(ops.logdet(x)))(x)

    found = keras.Sequential([keras.Input((3, 3)), Slope()]).predict(MATRICES, batch_size=8, verbose=0)
    np.testing.assert_allclose(
        found, np.linalg.inv(MATRICES.astype(float)).transpose(0, 2, 1), rtol=1e-3, atol=1e-5
    )
