"""Errors about classes and functions of the user name them, and say what is missing in them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import compiled

import engine as keras
from engine import layers, ops

X, Y = np.ones((8, 4), np.float32), np.ones((8, 1), np.float32)


class OnlyHere(keras.Model):
    """A model whose constructor takes no arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.dense(x)


class Pinball(keras.losses.Loss):
    """A loss that keeps its argument by another name."""

    def __init__(self, quantile: float = 0.5) -> None:
        super().__init__()
        self.share = quantile

    def call(self, y_true: Any, y_pred: Any) -> Any:
        error = y_true - y_pred
        return ops.mean(ops.maximum(self.share * error, (self.share - 1) * error), axis=-1)


class NoFormula(keras.optimizers.Optimizer):
    """An optimizer without a rule."""


def network(loss: Any = "mse") -> keras.Sequential:
    return compiled(keras.Sequential([keras.Input((4,)), layers.Dense(1)]), "sgd", loss)


def saved(file: Path) -> Path:
    model = compiled(OnlyHere(), "sgd", "mse")
    model.fit(X, Y, verbose=0)
    model.save(file)
    return file


def test_a_file_with_an_unknown_model_says_how_to_make_it_known(tmp_path: Path) -> None:
    file = saved(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"unknown class .*'OnlyHere'.*custom_objects.*register"):
        keras.models.load_model(file)


def test_a_model_that_its_config_cannot_make_is_not_called_damaged(tmp_path: Path) -> None:
    file = saved(tmp_path / "model.keras")
    with pytest.raises(TypeError, match=r"OnlyHere can't be made from its config.*get_config") as caught:
        keras.models.load_model(file, custom_objects={"OnlyHere": OnlyHere})
    assert "damaged" not in str(caught.value)


def test_a_loss_that_keeps_an_argument_elsewhere_cannot_be_saved(tmp_path: Path) -> None:
    model = network(Pinball(0.3))
    model.fit(X, Y, verbose=0)
    with pytest.raises(AttributeError, match=r"Pinball can't be saved.*`quantile`.*self\.quantile"):
        model.save(tmp_path / "model.keras")


def test_an_optimizer_without_a_formula_is_refused() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    with pytest.raises(TypeError, match=r"NoFormula has no formula.*such as SGD"):
        model.compile(NoFormula(0.1), "mse")


def test_a_loss_that_returns_nothing_is_named() -> None:
    def forgets(y_true: Any, y_pred: Any) -> None:
        del y_true, y_pred

    model = network(forgets)
    with pytest.raises(TypeError, match="'forgets' returned None"):
        model.fit(X, Y, verbose=0)


@pytest.mark.parametrize("value", ["early", 3])
def test_callbacks_are_quoted_as_they_came(value: object) -> None:
    with pytest.raises(TypeError, match=f"`callbacks` must hold objects.*got {value!r}"):
        network().fit(X, Y, callbacks=value, verbose=0)  # type: ignore[arg-type]


def test_validation_data_without_targets_are_described_by_their_shape() -> None:
    with pytest.raises(ValueError, match=r"`validation_data` must be .*got ndarray of shape \(8, 4\)"):
        network().fit(X, Y, validation_data=X, verbose=0)  # type: ignore[arg-type]


def test_a_step_that_reads_a_number_is_told_which_function_asked() -> None:
    class Reads(keras.Sequential):
        def train_step(self, data: Any) -> dict[str, Any]:
            x, y = data
            return {"loss": float(self.compute_loss(x, y, self(x)))}

    model = compiled(Reads([keras.Input((4,)), layers.Dense(1)]), "sgd", "mse")
    with pytest.warns(
        UserWarning, match=r"Reads\.train_step can't be compiled.*float\(\) or np\.asarray\(\)"
    ):
        model.fit(X, Y, verbose=0)


def test_stacks_that_do_not_go_together_are_explained() -> None:
    with pytest.raises(ValueError, match=r"must be equal, counted from the right, or 1"):
        ops.matmul(np.ones((2, 3, 4), np.float32), np.ones((3, 4, 5), np.float32))


class WithoutInit(layers.Layer):
    """A layer that forgets the constructor of its base class."""

    def __init__(self) -> None:
        self.units = 3

    def call(self, x: Any) -> Any:
        return x


class ModelWithoutInit(keras.Model):
    """A model that forgets it, too."""

    def __init__(self) -> None:
        self.dense = layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.dense(x)


@pytest.mark.parametrize(
    "use",
    [
        lambda: WithoutInit()(X),
        lambda: WithoutInit().name,
        lambda: keras.Sequential([WithoutInit()]),
        lambda: ModelWithoutInit()(X),
        lambda: ModelWithoutInit().predict(X),
        lambda: ModelWithoutInit().summary(),
        lambda: ModelWithoutInit().compile("sgd", "mse"),
        lambda: ModelWithoutInit().fit(X, Y),
    ],
)
def test_a_constructor_that_was_forgotten(use: Any) -> None:
    with pytest.raises(RuntimeError, match=r"WithoutInit.__init__ has not called super\(\).__init__\(\)"):
        use()


@pytest.mark.parametrize("function", [math.sqrt, math.exp, float])
def test_a_function_of_single_numbers(function: Any) -> None:
    class Rooted(layers.Layer):
        def call(self, x: Any) -> Any:
            return function(x)

    with pytest.raises(
        TypeError, match=r"test_messages_of_user_classes.py:\d+: .* such as ops.sqrt\(x\) for math.sqrt\(x\)"
    ):
        keras.Sequential([keras.Input((4,)), Rooted()])
