"""The `Sequential` model of an estimator, with scikit-learn's losses, and the model that computes predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from engine import layers, losses, metrics, optimizers, regularizers
from engine._base.locks import Lock, Order
from engine._core_interface.cpp import Float32
from engine.losses import Loss
from engine.losses.loss import FunctionLoss
from engine.models import Sequential
from engine.sklearn.samples import Array, Encoded

ACTIVATIONS = {
    "identity": "linear",
    "logistic": "sigmoid",
    "tanh": "tanh",
    "relu": "relu",
    "softmax": "softmax",
    "exp": "exponential",
}
"""The engine's names of scikit-learn's activations."""


class _Divided(FunctionLoss):
    """A loss after which the penalties, too, are divided by the sum of the sample weights, as in scikit-learn."""

    def _lower(self) -> dict[str, Any]:
        return {**super()._lower(), "divides_penalties": True}


class _LogLoss(_Divided, losses.SparseCategoricalCrossentropy):
    """Crossentropy of class indices."""


class _BinaryLogLoss(_Divided, losses.BinaryCrossentropy):
    """Binary crossentropy of each output."""


class _SquaredError(_Divided, losses.MeanSquaredError):
    """Squared error."""


class _Poisson(_Divided, losses.Poisson):
    """Poisson loss."""


class Design(NamedTuple):
    """The layers of a network, and the arguments of its optimizer.

    Attributes:
        units: number of inputs, then of units of each layer.
        activation: scikit-learn's name of the activation of the hidden layers.
        out_activation: scikit-learn's name of the output activation, on which the loss depends.
        alpha: factor of the L2 penalty.
        dropout: dropout rate after each hidden layer.
        solver: "adam", "sgd" or "lbfgs".
        rate: initial learning rate.
        rule: names and values of the other arguments of the optimizer.
        watched: whether there are callbacks, for whose logs the model computes the accuracy.
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
        """Number of units of the last layer."""
        return self.units[-1]

    @property
    def factors(self) -> tuple[float, float]:
        """Factors of the engine's loss, a mean over outputs: in the gradient, and in the loss that users see.

        scikit-learn's losses are sums over outputs, but the squared error that it shows is half the mean over outputs.
        """
        outputs = float(self.outputs)
        factors = {"softmax": (1.0, 1.0), "identity": (outputs / 2, 0.5)}
        return factors.get(self.out_activation, (outputs, outputs))

    def loss(self, reduction: str = "mean_with_sample_weight") -> Loss:
        """Returns the loss that belongs to the output activation."""
        kinds: dict[str, type[_Divided]] = {
            "softmax": _LogLoss,
            "logistic": _BinaryLogLoss,
            "identity": _SquaredError,
            "exp": _Poisson,
        }
        return kinds[self.out_activation](reduction=reduction)

    def sequential(self) -> Sequential:
        """Returns the model, with weights of 0. All layers have names, so that automatic names of others don't change."""
        inputs, *hidden, outputs = self.units
        stack: list[layers.Layer] = [layers.InputLayer((inputs,), name="inputs")]
        for number, (units, rate) in enumerate(zip(hidden, self.dropout, strict=True)):
            stack.append(self._dense(units, self.activation, f"hidden_{number}"))
            if rate > 0:
                stack.append(layers.Dropout(rate, name=f"dropout_{number}"))
        stack.append(self._dense(outputs, self.out_activation, "outputs"))
        return Sequential(stack, name="perceptron")

    def compiled(self) -> Sequential:
        """Returns the model compiled for "adam" or "sgd"."""
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
        """Returns the difference between scikit-learn's loss and Keras': for "poisson" the mean of `sum(y * log(y) - y)`.

        It is the weighted mean over all samples, not a mean of those of the batches.
        """
        if self.out_activation != "exp":
            return 0.0
        y = samples.y.astype(np.float64)
        terms = (y * np.log(np.where(y > 0, y, 1.0)) - y).sum(axis=1)
        return float(np.average(terms, weights=samples.weights))

    def shown_loss(self, logs: dict[str, float], prefix: str = "") -> float:
        """Returns the loss in `logs` as scikit-learn defines it."""
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


def interleaved(coefs: Sequence[Array], intercepts: Sequence[Array]) -> list[Array]:
    """Returns the weights in the engine's order: kernel and bias of each layer."""
    return [array for pair in zip(coefs, intercepts, strict=True) for array in pair]


class NetworkPredictor:
    """The model that computes predictions from the weights of the estimator. Many threads may use it at once.

    A pickle holds neither model nor weights.
    """

    def __init__(self) -> None:
        self._lock = Lock("a predictor", Order.OBJECT)
        self._design: Design | None = None
        self._model: Sequential | None = None
        self._weights: list[Array] = []

    def __reduce__(self) -> tuple[type[NetworkPredictor], tuple[()]]:
        return NetworkPredictor, ()

    def outputs(
        self,
        x: Any,
        coefs: Sequence[Array],
        intercepts: Sequence[Array],
        activation: str,
        out_activation: str,
    ) -> Float32:
        """Returns the outputs of the network.

        Args:
            x: uint8, float32 or float64 (n, features), or a sparse matrix.
            coefs: kernels (inputs, units), one per layer. Read-only arrays are copied to the model once, not at each call.
            intercepts: (units,), one per layer.
            activation: scikit-learn's name of the activation of the hidden layers.
            out_activation: scikit-learn's name of the output activation.

        Returns:
            float32 (n, outputs).
        """
        weights = [np.asarray(array) for array in interleaved(coefs, intercepts)]
        with self._lock.held():
            units = (len(weights[0]), *(len(bias) for bias in weights[1::2]))
            design = Design(units, activation, out_activation, 0.0, (0.0,) * (len(coefs) - 1))
            model = self._model
            if model is None or design != self._design:
                model = self._model = design.sequential()
                self._weights, self._design = [], design
            if len(self._weights) != len(weights) or any(
                before is not other or before.flags.writeable
                for before, other in zip(weights, self._weights, strict=True)
            ):
                model.set_weights(weights)
                self._weights = weights
        outputs: Float32 = model.predict(x, verbose=0)
        return outputs


def frozen(weights: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """Makes weights in the engine's order read-only, and returns them as coefs and intercepts."""
    for array in weights:
        array.flags.writeable = False
    return list(weights[::2]), list(weights[1::2])
