"""The engine's model of an estimator, its losses as scikit-learn defines them, and its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from engine import layers, losses, metrics, optimizers, regularizers
from engine._locks import Lock
from engine._program import Float32
from engine.losses import Loss
from engine.losses.base import FunctionLoss
from engine.models import Sequential
from engine.sklearn._samples import Array, Encoded

# The engine's names of scikit-learn's activations.
ACTIVATIONS = {
    "identity": "linear",
    "logistic": "sigmoid",
    "tanh": "tanh",
    "relu": "relu",
    "softmax": "softmax",
    "exp": "exponential",
}


class _Divided(FunctionLoss):
    """A loss that divides what a batch adds up to by the weights of its samples, and so penalties on coefficients."""

    def _lower(self) -> dict[str, Any]:
        """The loss as the core reads it."""
        return {**super()._lower(), "divides_penalties": True}


class _LogLoss(_Divided, losses.SparseCategoricalCrossentropy):
    """Of one class among several."""


class _BinaryLogLoss(_Divided, losses.BinaryCrossentropy):
    """Of yes or no, for each output."""


class _SquaredError(_Divided, losses.MeanSquaredError):
    """Of numbers."""


class _Poisson(_Divided, losses.Poisson):
    """Of counts."""


class Design(NamedTuple):
    """What a model is made of, and what its optimizer is told.

    Attributes:
        units: of every layer, the inputs first.
        activation: of the hidden layers, by scikit-learn's name.
        out_activation: of the last layer, which tells the loss as well.
        alpha: the l2 penalty's factor.
        dropout: rate after each hidden layer.
        solver: "adam", "sgd" or "lbfgs".
        rate: the learning rate to begin with.
        rule: the solver's other arguments.
        watched: whether callbacks look at the logs, which then have the accuracy.
    """

    units: tuple[int, ...]
    activation: str
    out_activation: str
    alpha: float
    dropout: tuple[float, ...]
    solver: str = "adam"
    rate: float = 0.0
    rule: tuple[tuple[str, Any], ...] = ()
    watched: bool = False

    @property
    def outputs(self) -> int:
        """Units of the last layer."""
        return self.units[-1]

    @property
    def factors(self) -> tuple[float, float]:
        """What the engine's mean over outputs is multiplied by, in the gradient and in the loss that is shown.

        scikit-learn adds outputs up, except in what it shows of the squared error: there it takes their mean, and half
        of it.
        """
        outputs = float(self.outputs)
        found = {"softmax": (1.0, 1.0), "identity": (outputs / 2, 0.5)}
        return found.get(self.out_activation, (outputs, outputs))

    def loss(self, reduction: str = "mean_with_sample_weight") -> Loss:
        """The loss that goes with the last layer."""
        kinds: dict[str, type[_Divided]] = {
            "softmax": _LogLoss,
            "logistic": _BinaryLogLoss,
            "identity": _SquaredError,
            "exp": _Poisson,
        }
        return kinds[self.out_activation](reduction=reduction)

    def sequential(self) -> Sequential:
        """The layers, with weights of 0; all have names, so that those of other models stay as they are."""
        inputs, *hidden, outputs = self.units
        stack: list[layers.Layer] = [layers.InputLayer((inputs,), name="inputs")]
        for number, (units, rate) in enumerate(zip(hidden, self.dropout, strict=True)):
            stack.append(self._dense(units, self.activation, f"hidden_{number}"))
            if rate > 0:
                stack.append(layers.Dropout(rate, name=f"dropout_{number}"))
        stack.append(self._dense(outputs, self.out_activation, "outputs"))
        return Sequential(stack, name="perceptron")

    def compiled(self) -> Sequential:
        """The model for its stochastic solver."""
        model = self.sequential()
        rule = optimizers.Adam if self.solver == "adam" else optimizers.SGD
        seen: list[Any] = []
        if self.watched and self.out_activation == "softmax":
            seen.append("accuracy")
        if self.watched and self.out_activation == "logistic":
            seen.append(metrics.BinaryAccuracy(name="accuracy"))
        factor, shown = self.factors
        model.compile(
            rule(self.rate, **dict(self.rule)),
            loss=self.loss(),
            loss_weights=factor,
            weighted_metrics=seen if factor == shown else ["mean_squared_error"],
        )
        return model

    def constant(self, samples: Encoded) -> float:
        """What Keras' loss lacks of scikit-learn's: the mean of `sum(y * log(y) - y)` over outputs in the deviance.

        With weights it is that of all samples, not the mean of those of the batches.
        """
        if self.out_activation != "exp":
            return 0.0
        y = samples.y.astype(np.float64)
        terms = (y * np.log(np.where(y > 0, y, 1.0)) - y).sum(axis=1)
        return float(np.average(terms, weights=samples.weights))

    def shown_loss(self, logs: dict[str, float], prefix: str = "") -> float:
        """The loss in `logs` as scikit-learn defines it."""
        factor, shown = self.factors
        loss = logs[f"{prefix}loss"]
        return loss if factor == shown else loss - (factor - shown) * logs[f"{prefix}mean_squared_error"]

    def _dense(self, units: int, activation: str, name: str) -> layers.Dense:
        return layers.Dense(
            units,
            ACTIVATIONS[activation],
            kernel_initializer="zeros",
            kernel_regularizer=regularizers.L2(self.alpha / 2) if self.alpha > 0 else None,
            name=name,
        )


def interleaved(coefs: Sequence[Any], intercepts: Sequence[Any]) -> list[Any]:
    """Weights in the engine's order."""
    return [array for pair in zip(coefs, intercepts, strict=True) for array in pair]


class Predictor:
    """A network that gives outputs for the weights it is asked with. Many threads may ask; pickles hold none of it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._design: Design | None = None
        self._model: Sequential | None = None
        self._weights: list[Any] = []

    def __reduce__(self) -> tuple[type[Predictor], tuple[()]]:
        return Predictor, ()

    def outputs(
        self, x: Any, coefs: Sequence[Any], intercepts: Sequence[Any], activation: str, out_activation: str
    ) -> Float32:
        """What the network gives for `x`.

        Args:
            x: uint8, float32 or float64 (n, features), or a sparse matrix.
            coefs: matrices (inputs, units), one per layer; those that can't be written to are read once.
            intercepts: (units,), one per layer.
            activation: of the hidden layers, by scikit-learn's name.
            out_activation: of the last layer.

        Returns:
            float32 (n, outputs).
        """
        weights = [np.asarray(array) for array in interleaved(coefs, intercepts)]
        with self._lock:
            units = (len(weights[0]), *(len(bias) for bias in weights[1::2]))
            design = Design(units, activation, out_activation, 0.0, (0.0,) * (len(coefs) - 1))
            model = self._model
            if model is None or design != self._design:
                model = self._model = design.sequential()
                self._weights, self._design = [], design
            if len(self._weights) != len(weights) or any(
                one is not other or one.flags.writeable
                for one, other in zip(weights, self._weights, strict=True)
            ):
                model.set_weights(weights)
                self._weights = weights
        return model.predict(x, verbose=0)


def frozen(weights: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """Coefs and intercepts of weights in the engine's order, in arrays that refuse to be written to."""
    for array in weights:
        array.flags.writeable = False
    return list(weights[::2]), list(weights[1::2])
