"""Tests of training by `engine.wrappers`: epochs, weights of samples and classes, random numbers, hooks of subclasses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from common import compiled
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score, mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder
from wrappers_cases import (
    NAMES,
    X3,
    XR,
    Y3,
    YR,
    X,
    Y,
    binary_model,
    classifier,
    compiled_for_numbers,
    hidden,
    regressor,
)

import engine as keras
from engine.wrappers import BaseWrapper, KerasClassifier, KerasRegressor


def weights(found: Any) -> bytes:
    return b"".join(array.tobytes() for array in found.model_.get_weights())


def test_epochs_add_up_in_partial_fit() -> None:
    found = classifier(epochs=3)
    for _ in range(3):
        found.partial_fit(X, Y)
    assert found.current_epoch == 3
    assert len(found.history_["loss"]) == 3
    assert found.model_.optimizer.iterations == 30
    assert len(found.fit(X, Y).history_["loss"]) == 3
    assert found.model_.optimizer.iterations == 30
    found.partial_fit(X, Y)
    assert found.current_epoch == 4


def test_partial_fit_may_lack_classes() -> None:
    found = classifier().partial_fit(X3[:50], Y3[:50], classes=[0, 1, 2])
    assert found.classes_.tolist() == [0, 1, 2]
    assert found.target_type_ == "multiclass"
    for _ in range(60):
        found.partial_fit(X3, Y3, sample_weight=np.ones(150))
    assert found.score(X3, Y3) > 0.9
    two = classifier().partial_fit(X[:1], ["yes"], classes=np.array(["yes", "no"]))
    assert two.classes_.tolist() == ["no", "yes"]


@pytest.mark.parametrize("name", ["epochs", "initial_epoch"])
def test_partial_fit_takes_no_epochs(name: str) -> None:
    with pytest.raises(TypeError, match=f"takes no `{name}`: use fit"):
        classifier().partial_fit(X, Y, **{name: 3})


def test_warm_start_continues() -> None:
    found = classifier(epochs=2, warm_start=True).fit(X, Y)
    model = found.model_
    assert found.fit(X, Y).model_ is model
    assert model.optimizer.iterations == 40
    assert len(found.history_["loss"]) == 2
    assert found.set_params(warm_start=False).fit(X, Y).model_ is not model


def test_random_state_decides_the_weights() -> None:
    first = weights(classifier().fit(X, Y))
    before = keras.utils.set_random_seed(5)
    assert before is None
    assert weights(classifier().fit(X, Y)) == first
    assert weights(classifier(random_state=1).fit(X, Y)) != first
    assert weights(classifier(random_state=None).fit(X, Y)) != weights(
        classifier(random_state=None).fit(X, Y)
    )
    generator = np.random.RandomState(0)
    assert weights(classifier(random_state=generator).fit(X, Y)) == weights(
        classifier(random_state=generator).fit(X, Y)
    )
    seeded = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        seeded.append(weights(classifier(random_state=None).fit(X, Y)))
    assert seeded[0] == seeded[1]


def test_epochs_of_partial_fit_have_different_orders() -> None:
    once = classifier(epochs=4).fit(X, Y)
    again = classifier().fit(X, Y, epochs=1)
    for _ in range(3):
        again.partial_fit(X, Y)
    assert len({weights(once), weights(again)}) == 2
    assert len(set(again.history_["loss"])) == 4


def test_samples_of_weight_zero_are_left_out() -> None:
    given = (np.arange(len(X)) % 3 > 0).astype(float)
    weighted = classifier().fit(X, Y, sample_weight=given)
    assert weights(weighted) == weights(
        classifier().fit(X[given > 0], Y[given > 0], np.ones(int(given.sum())))
    )
    score = weighted.score(X, Y, sample_weight=given)
    assert score == pytest.approx(accuracy_score(Y, weighted.predict(X), sample_weight=given))


def test_a_weight_is_a_repetition_if_a_batch_holds_all_samples() -> None:
    def build() -> Any:
        model = hidden(5, 4, 1, "linear")
        return compiled(model, "sgd", keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"))

    counts = np.arange(len(XR)) % 4
    options: dict[str, Any] = {"batch_size": -1, "epochs": 20, "verbose": 0, "random_state": 0}
    weighted = KerasRegressor(build, **options).fit(XR, YR, counts)
    repeated = KerasRegressor(build, **options).fit(
        np.repeat(XR, counts, axis=0), np.repeat(YR, counts), np.ones(counts.sum())
    )
    np.testing.assert_allclose(weighted.predict(XR), repeated.predict(XR), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros(160), "at least one non-zero"),
        (-np.ones(160), "must not be negative"),
        (np.ones(3), r"must have shape \(160,\), one weight per sample, got \(3,\)"),
    ],
)
def test_weights_that_are_refused(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classifier().fit(X, Y, sample_weight=given)


def test_class_weights() -> None:
    names = np.array(["no", "yes"])[Y]
    always = classifier(class_weight={"no": 1e-3, "yes": 100.0}, epochs=20).fit(X, names)
    assert (always.predict(X) == "yes").mean() > 0.9
    one_hot = np.eye(2)[Y]
    options: dict[str, Any] = {
        "loss": "categorical_crossentropy",
        "epochs": 20,
        "verbose": 0,
        "random_state": 0,
    }
    found = KerasClassifier(
        lambda: hidden(8, 4, 2, "softmax"), optimizer="adam", class_weight={0: 1e-3, 1: 100.0}, **options
    ).fit(X, one_hot)
    assert (found.predict(X)[:, 1] == 1).mean() > 0.9
    kept = np.r_[np.flatnonzero(Y == 0)[:10], np.flatnonzero(Y == 1)]
    balanced = classifier(class_weight="balanced").fit(X[kept], Y[kept])
    by_hand = np.where(Y[kept] == 0, len(kept) / 20, len(kept) / (2 * (len(kept) - 10)))
    assert weights(balanced) == weights(classifier().fit(X[kept], Y[kept], by_hand))
    halved = classifier(class_weight={0: 0.5, 1: 0.5}).fit(X, Y, np.full(160, 2.0))
    assert weights(halved) == weights(classifier().fit(X, Y, np.ones(160)))


def test_data_frames_and_sparse_matrices() -> None:
    frame = pd.DataFrame(X, columns=[f"column {number}" for number in range(8)])
    found = classifier().fit(frame, pd.Series(Y))
    assert found.feature_names_in_.tolist() == list(frame.columns)
    assert weights(found) == weights(classifier().fit(X, Y))
    with pytest.raises(ValueError, match="feature names"):
        found.predict(frame.rename(columns={"column 0": "other"}))
    for form in (sparse.csr_matrix, sparse.csc_matrix, sparse.coo_matrix, sparse.lil_matrix):
        again = classifier().fit(form(X), Y, sample_weight=np.ones(160))
        np.testing.assert_allclose(again.predict_proba(form(X)), found.predict_proba(frame), atol=1e-4)


def test_before_fit_there_are_no_predictions() -> None:
    for name in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(classifier(), name)(X)
    with pytest.raises(NotFittedError):
        classifier().score(X, Y)


def test_verbose_prints_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    classifier(epochs=2, verbose=2).fit(X, Y)
    assert "Epoch 2/2" in capsys.readouterr().out
    classifier(epochs=2).fit(X, Y).predict(X)
    assert capsys.readouterr().out == ""


class Perceptron(KerasClassifier):
    """A classifier with parameters of its own, as SciKeras' guide derives one."""

    def __init__(
        self,
        sizes: Sequence[int] = (8,),
        optimizer: Any = "adam",
        epochs: int = 30,
        verbose: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sizes = sizes
        self.optimizer = optimizer
        self.epochs = epochs
        self.verbose = verbose

    def _keras_build_fn(self, compile_kwargs: dict[str, Any]) -> Any:
        model = keras.Sequential([keras.Input((self.n_features_in_,))])
        for units in self.sizes:
            model.add(keras.layers.Dense(units, activation="relu"))
        two = self.target_type_ == "binary"
        model.add(
            keras.layers.Dense(1 if two else self.n_classes_, activation="sigmoid" if two else "softmax")
        )
        loss = "binary_crossentropy" if two else "sparse_categorical_crossentropy"
        return compiled(model, loss=loss, optimizer=compile_kwargs["optimizer"])


def test_a_derived_class_may_build_the_model() -> None:
    found = Perceptron((6, 5), optimizer__learning_rate=0.02, random_state=0)
    assert found.get_params()["sizes"] == (6, 5)
    assert found.set_params(sizes=[7]).fit(X3, NAMES).score(X3, NAMES) > 0.9
    assert found.model_.layers[0].units == 7
    assert found.fit(X, Y).model_.output_shape == (None, 1)
    with pytest.raises(ValueError, match=r"defines `_keras_build_fn`, so .* can't have `model` too"):
        Perceptron(model=binary_model).fit(X, Y)


class TwoTargets(BaseEstimator, TransformerMixin):
    """Two columns as two lists of targets: a number of 0 and 1, and a class index."""

    def fit(self, y: Any) -> Any:
        self.ordinal_ = OrdinalEncoder().fit(y[:, 1:])
        self.n_outputs_expected_ = 2
        return self

    def transform(self, y: Any) -> Any:
        return [y[:, 0].astype(np.float32), self.ordinal_.transform(y[:, 1:])[:, 0]]

    def inverse_transform(self, outputs: Any, return_proba: bool = False) -> Any:
        if return_proba:
            return outputs
        classes = self.ordinal_.inverse_transform(outputs[1].argmax(axis=1).reshape(-1, 1))
        return np.stack([outputs[0].reshape(-1) > 0.5, classes[:, 0]], 1).astype(int)

    def get_metadata(self) -> dict[str, Any]:
        return {"n_outputs_expected_": 2}


class TwoOutputs(KerasClassifier):
    @property
    def target_encoder(self) -> Any:
        return TwoTargets()

    @staticmethod
    def scorer(y_true: Any, y_pred: Any, **kwargs: Any) -> float:
        return float(np.mean([accuracy_score(y_true[:, i], y_pred[:, i], **kwargs) for i in range(2)]))


def two_outputs(meta: dict[str, Any]) -> Any:
    inputs = keras.Input((meta["n_features_in_"],))
    shared = keras.layers.Dense(16, activation="relu")(inputs)
    outputs = [
        keras.layers.Dense(1, activation="sigmoid")(shared),
        keras.layers.Dense(3, activation="softmax")(shared),
    ]
    model = keras.Model(inputs, outputs)
    return compiled(model, "adam", ["binary_crossentropy", "sparse_categorical_crossentropy"])


def test_several_outputs_by_an_encoder() -> None:
    y = np.stack([Y3 == 0, Y3 + 5], 1).astype(int)
    found = TwoOutputs(two_outputs, epochs=60, batch_size=10, verbose=0, random_state=0).fit(X3, y)
    assert found.predict(X3).shape == y.shape
    assert found.score(X3, y) > 0.9


class TwoInputs(KerasRegressor):
    @property
    def feature_encoder(self) -> Any:
        return FunctionTransformer(func=_halves)


def _halves(x: Any) -> list[Any]:
    return [x[:, :2], x[:, 2:]]


def test_several_inputs_by_an_encoder() -> None:
    def build() -> Any:
        inputs = [keras.Input((2,)), keras.Input((3,))]
        joined = keras.layers.Concatenate()(inputs)
        return keras.Model(inputs, keras.layers.Dense(1)(joined))

    found = TwoInputs(
        build, loss="mse", optimizer="adam", optimizer__learning_rate=0.1, epochs=20, verbose=0, batch_size=-1
    )
    found.fit(XR, YR, validation_data=(XR[:20], YR[:20]))
    assert found.score(XR, YR) > 0.5
    assert found.history_["val_loss"]


class AutoEncoder(TransformerMixin, BaseWrapper):
    """An estimator without targets: its code is a hidden layer."""

    def _keras_build_fn(self, code: int, meta: dict[str, Any]) -> Any:
        inputs = keras.Input((meta["n_features_in_"],))
        hidden_ = keras.layers.Dense(code, name="code")(inputs)
        model = keras.Model(inputs, keras.layers.Dense(meta["n_features_in_"])(hidden_))
        self.encoder_model_ = BaseWrapper(keras.Model(inputs, hidden_), verbose=self.verbose)
        return model

    def fit(self, X: Any, y: Any = None) -> Any:  # noqa: N803
        super().fit(X, X)
        self.encoder_model_.initialize(X)
        return self

    def transform(self, X: Any) -> Any:  # noqa: N803
        return self.encoder_model_.predict(X)

    @staticmethod
    def scorer(y_true: Any, y_pred: Any, **kwargs: Any) -> float:
        return -float(mean_squared_error(y_true, y_pred, **kwargs))


def test_an_autoencoder() -> None:
    found = AutoEncoder(
        code=2, loss="mse", optimizer="adam", optimizer__learning_rate=0.02, epochs=60, verbose=0
    )
    found.fit(X3)
    assert found.transform(X3).shape == (150, 2)
    assert found.score(X3, X3) > -1
    assert make_pipeline(found, classifier(epochs=20)).fit(X3, Y3).predict(X3).shape == (150,)


def test_the_base_has_no_score() -> None:
    found = BaseWrapper(compiled_for_numbers, verbose=0)
    with pytest.raises(KeyError, match="n_outputs_"):
        found.fit(XR, YR)
    found = BaseWrapper(hidden(5, 3, 1, "linear"), loss="mse", verbose=0).fit(XR, YR)
    assert found.predict(XR).shape == (120, 1)
    with pytest.raises(TypeError, match="this estimator has no score: override the static method `scorer"):
        found.score(XR, YR)


def test_targets_are_needed() -> None:
    with pytest.raises(ValueError, match="requires y to be passed"):
        regressor().fit(XR, None)
