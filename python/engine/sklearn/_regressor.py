"""`MLPRegressor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.neural_network import MLPRegressor as _Reference
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

from engine._core_interface.cpp import Float32
from engine.callbacks import Callback
from engine.sklearn._estimator import DTYPES, KnownLabels, Perceptron, is_stochastic
from engine.sklearn.samples import Array, Encoded, raveled

if TYPE_CHECKING:
    from typing_extensions import Self


class MLPRegressor(RegressorMixin, Perceptron):
    """scikit-learn's `MLPRegressor`, computed by the engine: the same arguments, attributes and losses.

    Types, `random_state` and batches of all samples are as described for `MLPClassifier`.

    Args:
        loss: "squared_error", or "poisson" for `y >= 0`, whose outputs are exponentials. Both have scikit-learn's
            scale: `(y - p)**2 / 2`, and `y * log(y / p) - y + p`. As in scikit-learn the gradient adds up the
            outputs, while the squared error that is shown is their mean.
        hidden_layer_sizes: number of units of each hidden layer.
        activation: activation of the hidden layers: "identity", "logistic", "tanh" or "relu".
        solver: "adam" (Kingma and Ba, 2014), "sgd", or "lbfgs", a quasi-Newton method for small data sets.
        alpha: factor of the penalty `alpha / 2 * sum(coefs**2)`, which is divided by the weight of the batch.
        batch_size: samples per step; "auto" is `min(200, n)`. The last batch of an epoch may be smaller.
        learning_rate: schedule of "sgd": "constant", "invscaling" (`learning_rate_init / (t_ + 1)**power_t` after
            every epoch),
            or "adaptive" (divided by 5 where training would otherwise end).
        learning_rate_init: initial step size of "adam" and "sgd".
        power_t: exponent of "invscaling".
        max_iter: largest number of epochs, or of iterations of "lbfgs".
        shuffle: whether to shuffle the samples in every epoch.
        random_state: seed or generator for initial weights, held-out samples, the order of samples and dropout.
        tol: training ends after more than `n_iter_no_change` epochs that don't improve the loss, or with
            `early_stopping` the score, by this much. For "lbfgs" it is the largest gradient component at a solution.
        verbose: whether to print the loss of every epoch.
        warm_start: whether `fit` continues from the current weights.
        momentum: momentum of "sgd", in [0, 1].
        nesterovs_momentum: whether to use Nesterov momentum.
        early_stopping: whether to hold out samples, stop training when their score stops improving, and keep the
            best weights.
        validation_fraction: fraction of the samples to hold out.
        beta_1: decay of the average of gradients in "adam".
        beta_2: decay of the average of squared gradients in "adam".
        epsilon: small number that avoids division by 0 in "adam".
        n_iter_no_change: number of epochs without improvement, see `tol`.
        max_fun: largest number of evaluations of the loss by "lbfgs".
        dropout: dropout rate of all hidden layers, or one rate per layer.
        callbacks: list of instances from `engine.callbacks`, used in every `fit`. Their logs have `loss`, and with
            `validation_data` or `early_stopping` `val_loss`.
        validation_data: `(X, y)` or `(X, y, sample_weight)`, whose score is recorded after every epoch. With
            `early_stopping` it is used instead of held-out samples.

    Attributes:
        loss_: loss of the last epoch.
        best_loss_: smallest loss; None with `early_stopping`.
        loss_curve_: list of the losses of all epochs.
        validation_scores_: R² after every epoch; None without validation.
        best_validation_score_: largest validation score, or None.
        t_: number of samples seen in training.
        coefs_: list of the kernels (inputs, units) of all layers. The arrays are read-only; to change predictions,
            replace them.
        intercepts_: list of the biases (units,) of all layers.
        n_features_in_: number of columns of `X`.
        feature_names_in_: names of the columns, if `X` was a DataFrame with string column names.
        n_iter_: number of epochs or iterations of the last `fit`.
        n_layers_: number of layers, including the input layer.
        n_outputs_: number of outputs.
        out_activation_: "identity", or "exp" for "poisson".

    Example:
        >>> from sklearn.datasets import make_regression
        >>> from engine.sklearn import MLPRegressor
        >>> X, y = make_regression(n_samples=200, n_features=20, random_state=1)
        >>> MLPRegressor(random_state=1, max_iter=2000, tol=0.1).fit(X[:150], y[:150]).score(X[150:], y[150:]) > 0.9
        True
    """

    loss: str
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_Reference._parameter_constraints,
        **Perceptron._parameter_constraints,
    }

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float | Sequence[float] = 0.0,
        callbacks: Sequence[Callback] | None = None,
        validation_data: Sequence[Any] | None = None,
    ) -> None:
        arguments = dict(locals())
        del arguments["self"]
        self.__dict__.update(arguments)

    @available_if(is_stochastic)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803 # scikit-learn's name
        """Trains for one epoch, from the current weights and optimizer state.

        Args:
            X: samples (n, features), as for `fit`.
            y: targets, as for `fit`.
            sample_weight: weights (n,), as for `fit`.

        Returns:
            The estimator.
        """
        if not self._has_weights:  # once and not for every batch, as scikit-learn does
            self._validate_params()
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Array:  # noqa: N803
        """Returns the predictions for each row: (n,), or (n, outputs).

        Args:
            X: samples (n, features), as for `fit`.
        """
        outputs = self._predict_outputs(X)
        return outputs.reshape(-1) if outputs.shape[1] == 1 else outputs

    def _encoded(self, X: Any, y: Any, *, reset: bool, labels: KnownLabels) -> tuple[Any, Array, Any]:  # noqa: N803
        rows, targets = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=True,
            dtype=DTYPES,
            reset=reset,
        )
        targets = raveled(targets)
        if self.loss == "poisson" and targets.min() < 0:
            msg = f"`y` must not be negative with loss='poisson', but the smallest is {targets.min()}"
            raise ValueError(msg)
        del labels
        encoded = targets.astype(np.float32).reshape(len(targets), -1)
        if not reset and encoded.shape[1] != self.n_outputs_:
            msg = f"`y` must have {self.n_outputs_} columns as in the previous call, got {encoded.shape[1]}"
            raise ValueError(msg)
        return rows, encoded, targets

    def _out_activation(self) -> str:
        return "exp" if self.loss == "poisson" else "identity"

    def _score_of(self, outputs: Float32, held_out: Encoded) -> float:
        """Returns R²."""
        if not np.isfinite(outputs).all():
            return float("nan")
        return float(r2_score(held_out.y, outputs, sample_weight=held_out.weights))
