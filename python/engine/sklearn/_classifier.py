"""`MLPClassifier`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.neural_network import MLPClassifier as _Reference
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels
from sklearn.utils.validation import check_consistent_length, validate_data

from engine._core_interface.cpp import Float32
from engine.callbacks import Callback
from engine.sklearn._estimator import DTYPES, KnownLabels, Perceptron, is_stochastic
from engine.sklearn.labels import THRESHOLD, Labels, are_class_numbers, both_probabilities, class_weighted
from engine.sklearn.samples import Array, Encoded, raveled

if TYPE_CHECKING:
    from typing_extensions import Self


class MLPClassifier(ClassifierMixin, Perceptron):
    """scikit-learn's `MLPClassifier`, computed by the engine: the same arguments, attributes and losses.

    The log-loss is minimised by `adam`, `sgd` or `lbfgs`. Everything is computed in float32, for any dtype of `X`;
    float64 and uint8 are read without a copy. Weights and predictions have scikit-learn's dtypes: float32 where all
    of `X` was float32, else float64. Weights start with the numbers that scikit-learn draws for the same
    `random_state`, and `early_stopping` holds out the same samples; the order of the samples is the engine's own, so
    with `shuffle=False` losses and weights are scikit-learn's up to rounding. One `random_state` gives the same bits on
    any x86-64 and any number of threads. If a batch holds all samples, their order doesn't change a bit either, nor
    does it matter whether a sample is repeated or has a larger weight.

    Args:
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
        class_weight: dict from label to weight, a list of such dicts for several outputs, or "balanced". Multiplied
            by `sample_weight`, also for validation scores.
        dropout: dropout rate of all hidden layers, or one rate per layer.
        callbacks: list of instances from `engine.callbacks`, used in every `fit`. Their logs have `loss` and
            `accuracy`, and with
            `validation_data` or `early_stopping` the same with `val_`.
        validation_data: `(X, y)` or `(X, y, sample_weight)`, whose score is recorded after every epoch. With
            `early_stopping` it is used instead of held-out samples.

    Attributes:
        classes_: labels, sorted.
        loss_: loss of the last epoch.
        best_loss_: smallest loss; None with `early_stopping`.
        loss_curve_: list of the losses of all epochs.
        validation_scores_: the accuracy after every epoch; None without validation.
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
        out_activation_: "softmax" for several classes, "logistic" for two and for several labels at once.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> from engine.sklearn import MLPClassifier
        >>> X, y = load_digits(return_X_y=True)
        >>> MLPClassifier(random_state=1, max_iter=300).fit(X[:1000], y[:1000]).score(X[1000:], y[1000:]) > 0.9
        True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_Reference._parameter_constraints,
        **Perceptron._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
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
        class_weight: Mapping[Any, float] | Sequence[Mapping[Any, float]] | str | None = None,
        dropout: float | Sequence[float] = 0.0,
        callbacks: Sequence[Callback] | None = None,
        validation_data: Sequence[Any] | None = None,
    ) -> None:
        arguments = dict(locals())
        del arguments["self"]
        self.__dict__.update(arguments)

    @available_if(is_stochastic)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:  # noqa: N803
        """Trains for one epoch, from the current weights and optimizer state.

        Args:
            X: samples (n, features), as for `fit`.
            y: targets, as for `fit`.
            sample_weight: weights (n,), as for `fit`.
            classes: all labels that will occur in any call. The first call needs them.

        Returns:
            The estimator.
        """
        if not self._has_weights:  # once and not for every batch, as scikit-learn does
            self._validate_params()
        if self.class_weight == "balanced":
            msg = (
                "`class_weight='balanced'` needs all labels at once: pass the dict of "
                "sklearn.utils.class_weight.compute_class_weight('balanced', ...) for all of them"
            )
            raise ValueError(msg)
        if "classes_" not in vars(self):
            if classes is None:
                msg = "classes must be passed on the first call to partial_fit."
                raise ValueError(msg)
            self._set_classes(y if type_of_target(y).startswith("multilabel") else classes)
        elif classes is not None and not np.array_equal(self.classes_, unique_labels(classes)):
            msg = f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {self.classes_!r}"
            raise ValueError(msg)
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Any:  # noqa: N803 # scikit-learn's name
        """Returns the most probable class of each row, (n,).

        For multilabel targets it returns the labels with probability above 0.5, (n, labels).

        Args:
            X: samples (n, features), as for `fit`.
        """
        outputs = self._predict_outputs(X)
        return self._labels.decoded(outputs)

    def predict_proba(self, X: Any) -> Array:  # noqa: N803
        """Returns the probability of each class, in the order of `classes_`: (n, classes).

        Args:
            X: samples (n, features), as for `fit`.
        """
        outputs = self._predict_outputs(X)
        if outputs.shape[1] == 1:
            return both_probabilities(outputs)
        if self.out_activation_ == "softmax" and outputs.dtype == np.float64:
            # scikit-learn's scores require sums of 1 to within the square root of float64's resolution.
            outputs /= outputs.sum(axis=1, keepdims=True)
        return outputs

    def predict_log_proba(self, X: Any) -> Array:  # noqa: N803
        """Returns the logarithms of `predict_proba`, (n, classes).

        Args:
            X: samples (n, features), as for `fit`.
        """
        with np.errstate(divide="ignore"):  # a small probability may be 0 in float32
            return np.log(self.predict_proba(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _set_classes(self, y: Any) -> None:
        self._labels = Labels(y)
        self.classes_ = self._labels.classes

    def _encoded(self, X: Any, y: Any, *, reset: bool, labels: KnownLabels) -> tuple[Any, Array, Any]:  # noqa: N803
        if are_class_numbers(y):
            rows, targets_given = self._rows(X, reset=reset), y
            check_consistent_length(rows, targets_given)
        else:
            rows, targets_given = validate_data(
                self, X, y, accept_sparse=["csr", "csc"], multi_output=True, dtype=DTYPES, reset=reset
            )
        targets_given = raveled(targets_given)
        if labels == "new":
            self._set_classes(targets_given)
        elif labels == "same":
            self._require_same(targets_given)
        else:
            self._require_known(targets_given)
        return rows, self._labels.encoded(targets_given), targets_given

    def _require_known(self, labels: Any) -> None:
        """Raises ValueError for a class that isn't in `classes_`."""
        present = labels if labels.ndim == 1 else unique_labels(labels)
        unknown = np.setdiff1d(present, self.classes_)
        if len(unknown):
            msg = f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {unknown}."
            raise ValueError(msg)

    def _require_same(self, y: Any) -> None:
        """Raises ValueError if the classes aren't those in `classes_`."""
        present = unique_labels(y)
        if not np.array_equal(present, self.classes_):
            msg = (
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. Previously "
                f"got {self.classes_}, `y` has {present}"
            )
            raise ValueError(msg)

    def _outputs(self, targets: Array) -> int:
        return len(self.classes_) if targets.ndim == 1 else int(targets.shape[1])

    def _out_activation(self) -> str:
        return "softmax" if self._labels.kind == "multiclass" else "logistic"

    def _stratifies(self) -> bool:
        return self.n_outputs_ == 1  # as scikit-learn does

    def _weights(self, y: Any, sample_weight: Array | None) -> Array | None:
        return class_weighted(self.class_weight, y, sample_weight)

    def _score_of(self, outputs: Float32, held_out: Encoded) -> float:
        """Returns the accuracy; with several labels per sample, all of them must be right."""
        if not np.isfinite(outputs).all():
            return float("nan")
        if held_out.y.ndim == 1:
            hits = outputs.argmax(axis=1) == held_out.y
        else:
            hits = ((outputs > THRESHOLD) == (held_out.y > THRESHOLD)).all(axis=1)
        return float(np.average(hits, weights=held_out.weights))
