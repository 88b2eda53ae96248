"""Tests of the parameters of `engine.wrappers`: where each is routed to, and what is refused."""

from __future__ import annotations

import functools
import inspect
import re
from typing import Any

import numpy as np
import pytest
from common import compiled
from sklearn.base import clone
from wrappers_cases import X3, XR, Y3, YR, X, Y, binary_model, classifier, for_any_labels, hidden, regressor

import engine as keras
from engine.callbacks import Callback, EarlyStopping, History, TerminateOnNaN
from engine.losses import BinaryCrossentropy
from engine.metrics import BinaryAccuracy
from engine.optimizers import SGD, Adam
from engine.optimizers.schedules import ExponentialDecay
from engine.wrappers import BaseWrapper, KerasClassifier, KerasRegressor
from engine.wrappers._routing import instantiated, routed


def described(kind: type) -> dict[str, str]:
    """Returns what the docstring of a class says about each of its arguments."""
    arguments = inspect.getdoc(kind).partition("Args:\n")[2].partition("\n\n")[0]  # type: ignore[union-attr] # all have one
    return dict(re.findall(r"^    ([\w*]+): ((?:.|\n     )*)", arguments, flags=re.MULTILINE))


@pytest.mark.parametrize("kind", [KerasClassifier, KerasRegressor])
def test_docstrings_say_the_same_about_the_same_argument(kind: type) -> None:
    """Each class describes all of its arguments, so that `help` shows them. `model` names attributes of the kind."""
    ours, theirs = described(BaseWrapper), described(kind)
    assert len(ours) > 10
    assert ours.keys() <= theirs.keys()
    assert {name for name in ours if ours[name] != theirs[name]} == {"model"}


def test_routed_takes_a_prefix_and_plain_names() -> None:
    params = {"epochs": 5, "fit__epochs": 6, "fit__batch_size": 8, "verbose": 0, "model__fit__x": 1}
    assert routed(params, "fit", {"epochs"}) == {"epochs": 6, "batch_size": 8}
    assert routed(params, "fit") == {"epochs": 6, "batch_size": 8}
    assert routed(params, "model") == {"fit__x": 1}
    assert routed({}, "fit", {"epochs"}) == {}


class Part:
    def __init__(self, *args: Any, **options: Any) -> None:
        self.args, self.options = args, options


@pytest.mark.parametrize(
    ("items", "params", "expected"),
    [
        (Part, {}, ((), {})),
        (Part, {"a": 1}, ((), {"a": 1})),
        (Part, {"1": "b", "0": "a", "10": "c"}, (("a", "b", "c"), {})),
        ([Part, Part], {"a": 1, "1__a": 2}, [((), {"a": 1}), ((), {"a": 2})]),
        ((Part,), {"0__a": 2}, (((), {"a": 2}),)),
        ({"x": Part, "y": [Part]}, {"x__a": 1, "y__0__a": 2}, {"x": ((), {"a": 1}), "y": [((), {"a": 2})]}),
        ("name", {}, "name"),
        ("name", {"a": 1}, ((), {"a": 1})),
        (["name", Part], {"a": 1, "0__b": 2}, [((), {"a": 1, "b": 2}), ((), {"a": 1})]),
        ([None, Part], {"a": 1}, [None, ((), {"a": 1})]),
        ([], {}, []),
        (None, {}, None),
        (Part, {"unknown__a": 1}, ((), {})),
        ("name", {"unknown__a": 1}, ((), {})),
    ],
)
def test_instantiated(items: Any, params: dict[str, Any], expected: Any) -> None:
    def plain(made: Any) -> Any:
        if isinstance(made, dict):
            return {key: plain(each) for key, each in made.items()}
        if isinstance(made, list | tuple):
            return type(made)(map(plain, made))
        return (made.args, made.options) if isinstance(made, Part) else made

    assert plain(instantiated(items, params, lambda name: Part)) == expected


def test_a_class_as_a_parameter_is_made_with_its_own() -> None:
    made = instantiated(Part, {"inner": Part, "inner__a": 1}, str)
    assert made.options["inner"].options == {"a": 1}


def test_classes_in_a_list_as_a_parameter_are_made_with_their_own() -> None:
    made = instantiated(Part, {"inner": [Part, Part], "inner__a": 1, "inner__0__a": 2}, str)
    assert [each.options for each in made.options["inner"]] == [{"a": 2}, {"a": 1}]


def test_a_list_of_losses() -> None:
    def build(compile_kwargs: dict[str, Any]) -> Any:
        return compiled(hidden(8, 4, 1, "linear"), **compile_kwargs)

    for loss in (["BinaryCrossentropy"], [BinaryCrossentropy]):
        found = KerasClassifier(build, loss=loss, loss__from_logits=True, verbose=0).fit(X, Y)
        assert found.model_.loss[0].from_logits is True
    with pytest.raises(ValueError, match="there is no loss"):
        KerasClassifier(build, loss=[None], verbose=0).fit(X, Y)


def test_short_names_of_metrics_become_long_in_the_history() -> None:
    found = regressor(metrics=["mse", "mae"], epochs=1, validation_split=0.25).fit(XR, YR)
    assert {"mean_squared_error", "mean_absolute_error", "val_mse", "loss"} <= set(found.history_)


def test_accuracy_takes_no_parameters_of_a_list() -> None:
    options: dict[str, Any] = {
        "loss": "binary_crossentropy",
        "metrics": ["accuracy", BinaryAccuracy],
        "verbose": 0,
    }
    found = KerasClassifier(for_any_labels, metrics__name="other", **options).fit(X, Y)
    assert {"accuracy", "other"} <= set(found.history_)
    with pytest.raises(TypeError, match=r"'threshold' are for a class or its name, got 'accuracy'"):
        KerasClassifier(for_any_labels, metrics__0__threshold=0.5, **options).fit(X, Y)


def test_an_object_takes_no_parameters() -> None:
    with pytest.raises(TypeError, match=r"'learning_rate' are for a class or its name, got Adam"):
        regressor(optimizer=Adam(), optimizer__learning_rate=0.1).fit(XR, YR)
    with pytest.raises(TypeError, match=r"the parameters 'patience' are for a class or its name, got <"):
        classifier(callbacks=[EarlyStopping(), EarlyStopping], callbacks__patience=1).fit(X, Y)


@pytest.mark.parametrize("optimizer", ["sgd", SGD])
def test_parameters_of_the_optimizer(optimizer: Any) -> None:
    found = regressor(
        optimizer=optimizer, optimizer__learning_rate=0.07, optimizer__momentum=0.5, epochs=1
    ).fit(XR, YR)
    assert isinstance(found.model_.optimizer, SGD)
    assert float(found.model_.optimizer.learning_rate) == pytest.approx(0.07)
    assert found.model_.optimizer.momentum == 0.5


def test_a_schedule_of_the_learning_rate_is_made_too() -> None:
    found = regressor(
        optimizer__learning_rate=ExponentialDecay,
        optimizer__learning_rate__initial_learning_rate=0.1,
        optimizer__learning_rate__decay_steps=10,
        optimizer__learning_rate__decay_rate=0.9,
        epochs=1,
    ).fit(XR, YR)
    assert found.model_.optimizer.iterations == 8
    assert float(found.model_.optimizer.learning_rate) == pytest.approx(0.1 * 0.9**0.8)


def test_an_optimizer_that_is_given_is_not_shared_by_trainings() -> None:
    given = Adam(0.01)
    found = KerasRegressor(
        regressor().model, loss="mse", optimizer=given, epochs=2, verbose=0, random_state=0
    )
    first = found.fit(XR, YR).predict(XR)
    assert found.model_.optimizer is not given
    assert given.iterations == 0
    np.testing.assert_array_equal(found.fit(XR, YR).predict(XR), first)


@pytest.mark.parametrize("loss", ["binary_crossentropy", "BinaryCrossentropy", BinaryCrossentropy])
def test_parameters_of_the_loss(loss: Any) -> None:
    found = KerasClassifier(
        functools.partial(hidden, 8, 4, 1, "linear"), loss=loss, loss__from_logits=True, verbose=0
    )
    assert found.fit(X, Y).model_.loss.from_logits is True


def test_parameters_of_metrics() -> None:
    found = KerasClassifier(
        for_any_labels,
        loss="binary_crossentropy",
        metrics=["accuracy", BinaryAccuracy, "BinaryAccuracy"],
        metrics__1__threshold=0.9,
        metrics__1__name="strict",
        metrics__2__threshold=0.1,
        verbose=0,
    ).fit(X, Y)
    assert set(found.history_) == {"accuracy", "strict", "binary_accuracy", "loss"}
    shares = [((found.predict_proba(X)[:, 1] > limit) == Y).mean() for limit in (0.9, 0.1)]
    logs = found.model_.evaluate(X, Y, verbose=0, return_dict=True)
    assert [logs["strict"], logs["binary_accuracy"]] == pytest.approx(shares)


def test_one_metric_alone() -> None:
    found = KerasClassifier(for_any_labels, loss="binary_crossentropy", metrics="accuracy", verbose=0).fit(
        X, Y
    )
    assert "accuracy" in found.history_


class Seen(Callback):
    def __init__(self, name: str = "", seen: list[str] | None = None) -> None:
        super().__init__()
        self.name, self.seen = name, [] if seen is None else seen

    def on_train_end(self, logs: Any = None) -> None:
        self.seen.append(f"{self.name} fit")

    def on_predict_end(self, logs: Any = None) -> None:
        self.seen.append(f"{self.name} predict")


def test_parameters_of_callbacks() -> None:
    found = classifier(
        callbacks=EarlyStopping, callbacks__monitor="loss", callbacks__patience=0, callbacks__min_delta=10.0
    ).fit(X, Y)
    assert len(found.history_["loss"]) == 2
    found = classifier(
        callbacks={"stop": EarlyStopping, "nan": TerminateOnNaN, "more": [History()]},
        callbacks__stop__monitor="loss",
        callbacks__stop__min_delta=10.0,
        callbacks__stop__patience=2,
    ).fit(X, Y)
    assert len(found.history_["loss"]) == 3


def test_callbacks_of_fit_and_of_predict() -> None:
    seen: list[str] = []
    found = classifier(
        callbacks=[Seen("both", seen)],
        fit__callbacks=Seen,
        fit__callbacks__name="one",
        fit__callbacks__seen=seen,
        predict__callbacks=[Seen("other", seen)],
    )
    found.fit(X, Y, callbacks=[Seen("argument", seen)])
    assert seen == ["both fit", "one fit", "argument fit"]
    found.predict(X)
    assert seen[3:] == ["both predict", "other predict"]


@pytest.mark.parametrize("wrong", ["EarlyStopping", [3], {"a": "b"}, 7])
def test_what_is_no_callback_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="`callbacks` must be a callback, its class, or a list"):
        classifier(callbacks=wrong).fit(X, Y)


def test_parameters_of_the_model() -> None:
    found = classifier(model__units=5, learning_rate=0.25).fit(X, Y)
    assert found.model_.layers[0].units == 5
    assert float(found.model_.optimizer.learning_rate) == 0.25
    found.set_params(model__units=6, learning_rate=0.5)
    assert clone(found).fit(X, Y).model_.layers[0].units == 6


def test_what_a_build_function_may_ask_for() -> None:
    asked: dict[str, Any] = {}

    def build(units: int, meta: Any, compile_kwargs: Any, params: Any) -> Any:
        asked.update(meta=meta, compile_kwargs=compile_kwargs, params=params)
        return compiled(hidden(4, units, 3, "softmax"), **compile_kwargs)

    found = KerasClassifier(
        build, units=3, optimizer="sgd", optimizer__learning_rate=0.5, metrics=["accuracy"], verbose=0
    )
    found.set_params(loss="sparse_categorical_crossentropy", compile__loss_weights=[2.0])
    found.fit(X3, Y3)
    meta = asked["meta"]
    assert {
        name: meta[name] for name in ("n_features_in_", "n_classes_", "n_outputs_", "n_outputs_expected_")
    } == {
        "n_features_in_": 4,
        "n_classes_": 3,
        "n_outputs_": 1,
        "n_outputs_expected_": 1,
    }
    assert meta["target_type_"] == "multiclass"
    assert meta["classes_"].tolist() == [0, 1, 2]
    assert meta["X_shape_"] == (150, 4)
    assert meta["X_dtype_"] == np.float64
    assert meta["y_ndim_"] == 1
    assert set(asked["compile_kwargs"]) == {"optimizer", "loss", "metrics", "run_eagerly", "loss_weights"}
    assert float(asked["compile_kwargs"]["optimizer"].learning_rate) == 0.5
    assert asked["params"] == found.get_params()


def test_a_build_function_of_any_arguments_gets_all() -> None:
    asked: list[str] = []

    def build(**arguments: Any) -> Any:
        asked.extend(arguments)
        return binary_model()

    KerasClassifier(build, model__units=3, verbose=0).fit(X, Y)
    assert asked == ["units", "meta", "compile_kwargs", "params"]


def test_batch_sizes() -> None:
    sizes: list[int] = []

    class Batches(Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            sizes.append(self.params["steps"])

        def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
            sizes.append(len(logs["outputs"]))

    found = classifier(batch_size=40, predict__batch_size=100, epochs=1, callbacks=[Batches()])
    found.fit(X, Y).predict(X)
    assert sizes == [4, 100, 60]
    sizes.clear()
    found.set_params(batch_size=-1, predict__batch_size=-1).fit(X, Y).predict(X)
    assert sizes == [1, 160]
    sizes.clear()
    found.set_params(fit__batch_size=80).fit(X, Y, batch_size=20)
    found.predict(X, batch_size=80)
    assert sizes == [8, 80, 80]


def test_epochs_and_validation() -> None:
    found = classifier(epochs=3, fit__epochs=2, validation_split=0.25).fit(X, Y)
    assert len(found.history_["val_loss"]) == 2
    assert len(found.fit(X, Y, epochs=4).history_["loss"]) == 4
    found = classifier(epochs=1).fit(X, Y, validation_data=(X[:20], Y[:20]))
    assert found.history_["val_loss"]
    assert classifier(epochs=1, fit__validation_data=(X[:20], Y[:20])).fit(X, Y).history_["val_loss"]


def test_validation_data_have_the_labels_of_the_user() -> None:
    names = np.array(["no", "yes"])[Y]
    found = classifier(epochs=2).fit(X, names, validation_data=(X[:30], names[:30], np.ones(30)))
    logs = found.model_.evaluate(X[:30], Y[:30], verbose=0, return_dict=True)
    assert found.history_["val_loss"][-1] == pytest.approx(logs["loss"])


def test_parameters_of_the_score() -> None:
    found = regressor(epochs=2, score__multioutput="raw_values").fit(XR, np.stack([YR, YR], 1))
    with pytest.raises(TypeError):
        found.score(XR, np.stack([YR, YR], 1))  # `raw_values` gives several scores


def test_parameters_are_attributes() -> None:
    found = classifier(model__units=3)
    params = found.get_params()
    assert params["model__units"] == 3
    assert params["optimizer"] == "rmsprop"
    assert set(found.fit(X, Y).get_params()) == set(params)
    assert "model__units=3" in repr(found)
    assert "model__units" in found._repr_html_()


def test_an_unknown_parameter_says_what_it_may_be() -> None:
    with pytest.raises(ValueError, match=r"parameter 'units' for .* KerasClassifier.*`model__units`"):
        classifier().set_params(units=3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'widht'"):
        classifier(model__widht=3).fit(X, Y)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "KerasClassifier needs `model`, a function that returns a model"),
        ({"model": "binary_model"}, TypeError, "`model` must be a model or a function .*, got 'binary"),
        ({"model": keras.Sequential}, TypeError, "`model` must be a model or a function"),
        ({"model": lambda: 3}, TypeError, "`model` must return a model, got 3"),
        ({"model": lambda: hidden(8, 3, 1, "sigmoid")}, ValueError, "no loss: pass `loss` to the estimator"),
        ({"model": binary_model, "loss": "hinge"}, ValueError, "loss='hinge', but .* compiled with 'binary_"),
    ],
)
def test_models_that_do_not_fit_are_refused(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        KerasClassifier(verbose=0, **options).fit(X, Y)


def test_the_same_loss_by_another_name() -> None:
    KerasClassifier(binary_model, loss="BinaryCrossentropy", verbose=0).fit(X, Y)
    KerasClassifier(binary_model, loss=BinaryCrossentropy(), verbose=0).fit(X, Y)


def test_the_older_name_of_the_build_function() -> None:
    assert KerasClassifier(build_fn=binary_model, verbose=0, epochs=1).fit(X, Y).score(X, Y) > 0


def test_a_model_itself_is_trained_further() -> None:
    model = binary_model()
    found = KerasClassifier(model, verbose=0, epochs=2).fit(X, Y)
    assert found.model_ is model
    copied = clone(found)
    assert copied.model is not model
    np.testing.assert_array_equal(copied.model.predict(X, verbose=0), model.predict(X, verbose=0))
    found.fit(X, Y)
    assert model.optimizer.iterations == 20


def test_initialize_makes_the_model_without_training() -> None:
    found = classifier().initialize(X, Y)
    assert found.initialized_
    assert found.predict(X).shape == Y.shape
    assert not hasattr(found, "history_")
    assert not classifier().initialized_
    np.testing.assert_array_equal(
        found.partial_fit(X, Y).predict(X), classifier(epochs=1).fit(X, Y).predict(X)
    )
