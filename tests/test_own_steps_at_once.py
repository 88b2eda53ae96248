"""Batches of models with steps of their own: the short way of `train_on_batch` does what the long way does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import layers, losses, metrics, ops, optimizers
from engine.models.batches_at_once import StepForm

RNG = np.random.default_rng(7)
X = RNG.normal(size=(40, 4)).astype(np.float32)
Y = RNG.normal(size=(40, 2)).astype(np.float32)
LABELS = RNG.integers(0, 2, 40)


class Compiled(keras.Model):
    """The step of the guides, with what `compile` was called with."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with keras.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred)
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {metric.name: metric.result() for metric in self.metrics}


class Largest(metrics.Metric):
    """A metric in NumPy, which notes what it gets."""

    def __init__(self, name: str = "largest") -> None:
        super().__init__(name=name)
        self.seen = self.add_variable((), "zeros")
        self.classes = list[str]()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.classes += [type(y_true).__name__, type(y_pred).__name__]
        self.seen.assign(np.maximum(self.seen, np.max(y_pred)))

    def result(self) -> Any:
        return self.seen


class Own(keras.Model):
    """A step with a loss and metrics of its own, some of them in containers."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.tracker = metrics.Mean(name="tracked")
        self.others = {"means": [metrics.MeanAbsoluteError(name="mae")], "largest": Largest()}
        self.factor = 1.0

    def train_step(self, data: Any) -> Any:
        x, y = data
        with keras.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.factor * ops.mean(ops.square(y - y_pred))
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"batch": loss, **self.updated(loss, y, y_pred)}

    def test_step(self, data: Any) -> Any:
        x, y = data
        y_pred = self(x, training=False)
        return self.updated(ops.mean(ops.square(y - y_pred)), y, y_pred)

    def updated(self, loss: Any, y: Any, y_pred: Any) -> Any:
        self.tracker.update_state(loss)
        self.others["means"][0].update_state(y, y_pred)
        self.others["largest"].update_state(y, y_pred)
        return {metric.name: metric.result() for metric in self.metrics if metric.name != "loss"}


class WithLoss(keras.Model):
    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        return ops.mean(ops.abs(y - y_pred))


def built(kind: Any, loss: Any = "mse", optimizer: Any = None, **options: Any) -> Any:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((4,))
    hidden = layers.Dropout(0.2)(layers.Dense(8, activation="tanh")(inputs))
    model = kind(inputs, layers.Dense(2)(hidden))
    model.compile(optimizer or optimizers.Adam(0.01), loss, **options)
    return model


class Forgetful(dict[Any, Any]):
    def __setitem__(self, key: Any, value: Any) -> None:
        pass


def slowly(model: Any) -> Any:
    """Returns the model, all batches of which take the long way."""
    model._batch_forms = Forgetful()
    return model


@pytest.fixture
def short_ways(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each batch that was tried took the short way."""
    taken = list[bool]()
    original = StepForm.run

    def noted(*args: Any) -> Any:
        done = original(*args)
        taken.append(done is not None)
        return done

    monkeypatch.setattr(StepForm, "run", noted)
    return taken


def logits() -> Any:
    return losses.SparseCategoricalCrossentropy(from_logits=True)


def assert_equal_weights(one: Any, other: Any) -> None:
    for first, second in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("kind", "loss", "y", "options"),
    [
        (Compiled, "mse", Y, {}),
        (Compiled, "mse", Y, {"metrics": ["mae", "mse"]}),
        (Compiled, logits(), LABELS, {"metrics": ["accuracy"]}),
        (Compiled, logits(), LABELS[:, None].astype(np.uint8), {"metrics": ["accuracy"]}),
        (Own, "mse", Y, {}),
        (Own, "mse", Y.astype(np.float64), {}),
        (WithLoss, None, Y, {"metrics": ["mae", Largest()]}),
    ],
)
def test_the_short_way_has_the_bits_of_the_long_one(
    kind: Any, loss: Any, y: Any, options: Any, short_ways: list[bool]
) -> None:
    quick, slow = built(kind, loss, **options), slowly(built(kind, loss, **options))
    found, expected = list[Any](), list[Any]()
    for model, results in ((quick, found), (slow, expected)):
        keras.utils.set_random_seed(9)
        for rows in (slice(0, 8), slice(8, 40), slice(0, 8), slice(32, 40), slice(8, 40)):
            results.append(model.train_on_batch(X[rows], y[rows], return_dict=True))
            results.append(model.test_on_batch(X[rows], y[rows]))
            results.append(model.train_on_batch(X[rows], y[rows]))
        results.append(float(keras.random.uniform(())))  # the draws are as many
        results.extend(np.asarray(metric.result()).tolist() for metric in model.metrics)
    assert found == expected
    # All but those whose size is new to the step. Without a `test_step` the core evaluates.
    assert short_ways.count(True) == (8 if kind is Compiled else 11)
    assert_equal_weights(quick, slow)


def test_samples_in_structures_and_without_targets(short_ways: list[bool]) -> None:
    class Pairs(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(3)
            self.tracker = metrics.Mean(name="tracked")

        def train_step(self, data: Any) -> Any:
            pair = data[0] if isinstance(data, tuple) else data
            with keras.GradientTape() as tape:
                loss = ops.mean(ops.square(self.dense(pair["a"]) - self.dense(pair["b"])))
            weights = self.dense.trainable_weights
            self.optimizer.apply(tape.gradient(loss, weights), weights)
            self.tracker.update_state(loss)
            return {"tracked": self.tracker.result()}

    def trained(way: Any) -> Any:
        keras.utils.set_random_seed(1)
        model = Pairs()
        model.compile(optimizers.SGD(0.1))
        way(model)
        return model, [model.train_on_batch({"a": X, "b": -2 * X.astype(dtype)}) for dtype in "fffdd"]

    (quick, found), (slow, expected) = trained(lambda model: model), trained(slowly)
    assert found == expected
    assert len(set(found)) == 5
    assert short_ways == [True] * 4
    assert_equal_weights(quick.dense, slow.dense)


def test_metrics_of_users_get_arrays_of_the_same_classes_in_both_ways() -> None:
    model, slow = built(Own), slowly(built(Own))
    for each in (model, slow):
        for _ in range(3):
            each.train_on_batch(X, Y)
    assert model.others["largest"].classes == slow.others["largest"].classes == ["Tensor", "ndarray"] * 3


def test_what_changes_between_batches_is_followed(short_ways: list[bool]) -> None:
    def trained(model: Any) -> Any:
        keras.utils.set_random_seed(4)
        logs = list[Any]()

        def train() -> None:
            logs.extend(model.train_on_batch(X, Y, return_dict=True) for _ in range(2))

        train()
        model.optimizer.learning_rate = 0.5
        train()
        model.layers[-1].kernel.assign(np.ones((8, 2)))
        train()
        model.set_weights([weight / 2 for weight in model.get_weights()])
        train()
        model.layers[1].trainable = False
        frozen = model.layers[1].get_weights()
        train()
        np.testing.assert_array_equal(model.layers[1].get_weights()[0], frozen[0])
        model.optimizer = optimizers.SGD(0.1, momentum=0.9)
        train()
        model.factor = 3.0
        train()
        model.compile(optimizers.RMSprop(0.01))
        train()
        model.run_eagerly = True
        train()
        return logs

    quick, slow = built(Own), slowly(built(Own))
    assert trained(quick) == trained(slow)
    assert_equal_weights(quick, slow)
    assert short_ways.count(True) >= 9
    assert short_ways[-2:] == [False, False]  # eagerly


def test_metrics_that_come_later_are_reset_and_listed(short_ways: list[bool]) -> None:
    def trained(model: Any) -> Any:
        logs = [model.train_on_batch(X, Y, return_dict=True) for _ in range(2)]
        late = metrics.Mean(name="late")
        late.update_state(7.0)
        model.others["means"].append(late)  # no attribute is assigned
        logs.append(model.train_on_batch(X, Y, return_dict=True))
        assert float(late.count) == 0.0  # it was reset with the others
        assert "late" in model.get_metrics_result()
        model.later = metrics.Sum(name="later")
        logs += [model.train_on_batch(X, Y, return_dict=True) for _ in range(2)]
        assert {"late", "later"} <= logs[
            -1
        ].keys()  # an attribute has been assigned, so the step is recorded anew
        del model.others["means"][1]
        logs.append(model.train_on_batch(X, Y, return_dict=True))
        return logs

    quick, slow = built(Own), slowly(built(Own))
    assert trained(quick) == trained(slow)
    assert True in short_ways
    assert_equal_weights(quick, slow)


def test_exceptions_leave_the_model_usable(short_ways: list[bool]) -> None:
    class Failing(metrics.Metric):
        fails = False

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            if self.fails:
                msg = "the metric failed"
                raise RuntimeError(msg)

        def result(self) -> Any:
            return 1.0

    failing = Failing(name="failing")
    model, slow = (
        built(Compiled, metrics=[failing]),
        slowly(built(Compiled, metrics=[Failing(name="failing")])),
    )
    for each in (model, slow):
        each.train_on_batch(X, Y)
        each.train_on_batch(X, Y)
    wrong = X.copy()
    wrong[3, 1] = np.inf
    with pytest.raises(ValueError, match="row 3 holds inf"):
        model.train_on_batch(wrong, Y)
    with pytest.raises(ValueError, match="same number of samples"):
        model.train_on_batch(X, Y[:39])
    with pytest.raises(ValueError, match="empty"):
        model.train_on_batch(X[:0], Y[:0])
    assert_equal_weights(model, slow)
    failing.fails = True
    with pytest.raises(RuntimeError, match="the metric failed"):
        model.train_on_batch(X, Y)
    failing.fails = False
    slow.train_on_batch(X, Y)
    assert model.train_on_batch(X, Y) == slow.train_on_batch(X, Y)
    assert_equal_weights(model, slow)


def test_wrong_class_indices_are_refused_before_weights_change(short_ways: list[bool]) -> None:
    model = built(Compiled, logits(), metrics=["accuracy"])
    model.train_on_batch(X, LABELS)
    model.train_on_batch(X, LABELS)
    before, iterations = model.get_weights(), int(model.optimizer.iterations)
    for wrong in (LABELS + 1, LABELS - 1):
        with pytest.raises(ValueError, match=r"in \[0, 2\)"):
            model.train_on_batch(X, wrong)
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert int(model.optimizer.iterations) == iterations
    model.train_on_batch(X, LABELS)


def test_models_that_share_layers_see_each_others_steps(short_ways: list[bool]) -> None:
    def trained(way: Any) -> Any:
        keras.utils.set_random_seed(2)
        shared = layers.Dense(8, activation="tanh")
        pair = list[Any]()
        for _ in range(2):
            inputs = keras.Input((4,))
            pair.append(way(Own(inputs, layers.Dense(2)(shared(inputs)))))
            pair[-1].compile(optimizers.Adam(0.01))
        logs = list[Any]()
        for turn in range(4):
            logs += [model.train_on_batch(X, Y) for model in pair]
            if turn == 2:
                shared.trainable = False
        return logs, [*pair[0].get_weights(), *pair[1].get_weights()]

    (found, weights), (expected, others) = trained(lambda model: model), trained(slowly)
    assert found == expected
    for one, other in zip(weights, others, strict=True):
        np.testing.assert_array_equal(one, other)
    assert True in short_ways


def test_other_data_take_the_long_way(short_ways: list[bool]) -> None:
    model, slow = built(Own), slowly(built(Own))
    for each in (model, slow):
        each.train_on_batch(X, Y)
    wide = np.zeros((40, 8), np.float32)
    wide[:, ::2] = X
    batches: list[Any] = [(wide[:, ::2], Y), (X.tolist(), Y), (X, Y.tolist())]
    for batch in batches:
        assert model.train_on_batch(*batch) == slow.train_on_batch(*batch)
    assert True not in short_ways
    assert_equal_weights(model, slow)


def test_a_step_that_the_class_gets_later_is_called() -> None:
    class Changing(Compiled):
        pass

    model = built(Changing)
    model.train_on_batch(X, Y)
    model.train_on_batch(X, Y)
    Changing.train_step = lambda self, data: {"mine": 7.0}  # type: ignore[method-assign]
    assert model.train_on_batch(X, Y) == 7.0


def test_overridden_results_and_resets_are_called(short_ways: list[bool]) -> None:
    class Overriding(Own):
        calls: Any = ()

        def reset_metrics(self) -> None:
            self.calls = (*self.calls, "reset")
            super().reset_metrics()

        def get_metrics_result(self) -> Any:
            return {**super().get_metrics_result(), "batch": 5.0}

    model = built(Overriding)
    model.train_on_batch(X, Y)
    logs = [model.train_on_batch(X, Y, return_dict=True) for _ in range(2)]
    assert model.calls == ("reset",) * 3
    assert all("batch" in each for each in logs)


def test_a_mean_that_no_step_adds_to_leaves_what_the_step_returned() -> None:
    class Bare(keras.Model):
        def train_step(self, data: Any) -> Any:
            x, y = data
            with keras.GradientTape() as tape:
                loss = ops.mean(ops.square(self(x) - y))
            weights = self.trainable_variables
            self.optimizer.apply(tape.gradient(loss, weights), weights)
            return {"loss": loss}

    model, slow = built(Bare), slowly(built(Bare))
    found = [model.train_on_batch(X, Y) for _ in range(3)]
    assert found == [slow.train_on_batch(X, Y) for _ in range(3)]
    assert min(found) > 0


def test_a_lost_loss_is_warned_of() -> None:
    model = built(Compiled, optimizer=optimizers.SGD(1e30))
    with pytest.warns(UserWarning, match="loss"):  # noqa: PT031
        for _ in range(4):
            model.train_on_batch(X, Y)
