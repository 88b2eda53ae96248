"""The classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.neural_network import MLPClassifier as _Reference
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels
from sklearn.utils.validation import check_consistent_length, validate_data

from engine._program import Float32
from engine.sklearn._estimator import DTYPES, Known, Perceptron, is_stochastic
from engine.sklearn._labels import LIKELY, Labels, are_whole
from engine.sklearn._samples import Array, Encoded

if TYPE_CHECKING:
    from typing_extensions import Self


class MLPClassifier(ClassifierMixin, Perceptron):
    """scikit-learn's `MLPClassifier`, computed by the engine: the same arguments, attributes and losses.

    The log-loss is minimised by `adam`, `sgd` or `lbfgs`. Everything is computed in float32, whatever the type of `X`
    is: float64 and uint8 are read where they lie. Weights and predictions have scikit-learn's types: float32 where all
    of `X` was float32, else float64. Weights start with the numbers that scikit-learn draws for the same
    `random_state`, and `early_stopping` holds out the same samples; the order of the samples is the engine's own, so
    with `shuffle=False` losses and weights are scikit-learn's up to rounding. One `random_state` gives the same bits on
    any x86-64 and any number of threads. Where a batch holds all samples, their order and the way they are repeated
    don't change a bit either.

    Args:
        hidden_layer_sizes: units of each hidden layer.
        activation: of the hidden layers: "identity", "logistic", "tanh" or "relu".
        solver: "adam" (Kingma and Ba, 2014), "sgd", or "lbfgs", a quasi-Newton method for small data sets.
        alpha: factor of the penalty `alpha / 2 * sum(coefs**2)`, which is divided by the weight of the batch.
        batch_size: samples per step; "auto" is `min(200, n)`. The last batch of an epoch may be smaller.
        learning_rate: of "sgd": "constant", "invscaling" (`learning_rate_init / (t_ + 1)**power_t` after every epoch),
            or "adaptive" (divided by 5 where training would otherwise end).
        learning_rate_init: step size of "adam" and "sgd" at first.
        power_t: exponent of "invscaling".
        max_iter: most epochs, or iterations of "lbfgs".
        shuffle: whether every epoch takes the samples in a new order.
        random_state: seed or generator of the weights, of what is held out, of the order and of dropout.
        tol: training ends after more than `n_iter_no_change` epochs that don't improve the loss, or with
            `early_stopping` the score, by so much. Of "lbfgs" the largest slope of a solution.
        verbose: whether every epoch prints its loss.
        warm_start: whether `fit` goes on from the weights that there are.
        momentum: of "sgd", in [0, 1].
        nesterovs_momentum: whether that is Nesterov's.
        early_stopping: whether a part is held out, whose score ends the training and chooses the weights.
        validation_fraction: the share of that part.
        beta_1: of "adam": decay of the mean of gradients.
        beta_2: of "adam": decay of the mean of their squares.
        epsilon: of "adam": keeps its division finite.
        n_iter_no_change: see `tol`.
        max_fun: most evaluations of the loss by "lbfgs".
        class_weight: label -> weight, a list of such dicts for several outputs, or "balanced"; multiplies into
            `sample_weight`, of validation scores as well.
        dropout: share of each hidden layer's outputs that is dropped in training, or one share per layer.
        callbacks: objects of `engine.callbacks`, called in every `fit`; their logs have `loss` and `accuracy`, and with
            `validation_data` or `early_stopping` the same with `val_`.
        validation_data: `(X, y)` or `(X, y, sample_weight)`, whose score is noted after every epoch; with
            `early_stopping` it stands for the part that would be held out.

    Attributes:
        classes_: labels, sorted.
        loss_: of the last epoch.
        best_loss_: the smallest; None with `early_stopping`.
        loss_curve_: of every epoch.
        validation_scores_: the accuracy after every epoch; None where nothing is held out.
        best_validation_score_: the largest of them, or None.
        t_: samples that were trained on.
        coefs_: matrices (inputs, units) of all layers, read-only: to change predictions, put others in their
            places.
        intercepts_: (units,) of all layers.
        n_features_in_: number of columns of `X`.
        feature_names_in_: their names, if `X` was a frame that has some.
        n_iter_: epochs, or iterations, of the last `fit`.
        n_layers_: number of layers, the inputs included.
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
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
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
        class_weight: Any = None,
        dropout: Any = 0.0,
        callbacks: Any = None,
        validation_data: Any = None,
    ) -> None:
        given = dict(locals())
        del given["self"]
        self.__dict__.update(given)

    @available_if(is_stochastic)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:  # noqa: N803
        """Train for one epoch, going on from the weights and the state of the solver.

        Args:
            X: as for `fit`.
            y: as for `fit`.
            sample_weight: as for `fit`.
            classes: all labels that there will ever be; the first call needs them.

        Returns:
            The estimator.
        """
        if not hasattr(self, "coefs_"):  # as scikit-learn does: once, not for every batch
            self._validate_params()
        if self.class_weight == "balanced":
            msg = (
                "`class_weight='balanced'` needs all labels at once: pass the dict of "
                "sklearn.utils.class_weight.compute_class_weight('balanced', ...) for all of them"
            )
            raise ValueError(msg)
        if not hasattr(self, "classes_"):
            if classes is None:
                msg = "classes must be passed on the first call to partial_fit."
                raise ValueError(msg)
            self._learn_classes(y if type_of_target(y).startswith("multilabel") else classes)
        elif classes is not None and not np.array_equal(self.classes_, unique_labels(classes)):
            msg = f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {self.classes_!r}"
            raise ValueError(msg)
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Any:  # noqa: N803 # scikit-learn's name
        """The most probable class of each row, (n,); of several labels those that are likelier than not, (n, labels).

        Args:
            X: as for `fit`.
        """
        outputs = self._read(X)
        return self._labels.decoded(outputs)

    def predict_proba(self, X: Any) -> Array:  # noqa: N803
        """The probability of each class, in the order of `classes_`: (n, classes).

        Args:
            X: as for `fit`.
        """
        outputs = self._read(X)
        if outputs.shape[1] == 1:
            return np.hstack([1 - outputs, outputs])
        if self.out_activation_ == "softmax" and outputs.dtype == np.float64:
            outputs /= outputs.sum(
                axis=1, keepdims=True
            )  # scikit-learn's scores want 1 to half a float64's digits
        return outputs

    def predict_log_proba(self, X: Any) -> Array:  # noqa: N803
        """Logarithms of `predict_proba`.

        Args:
            X: as for `fit`.
        """
        with np.errstate(divide="ignore"):  # float32 has no room for the smallest
            return np.log(self.predict_proba(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _learn_classes(self, y: Any) -> None:
        self._labels = Labels(y)
        self.classes_ = self._labels.classes

    def _encoded(self, X: Any, y: Any, *, reset: bool, labels: Known) -> tuple[Any, Array, Any]:  # noqa: N803
        if are_whole(y):
            rows, given = self._rows(X, reset=reset), y
            check_consistent_length(rows, given)
        else:
            rows, given = validate_data(
                self, X, y, accept_sparse=["csr", "csc"], multi_output=True, dtype=DTYPES, reset=reset
            )
        if given.ndim == 2 and given.shape[1] == 1:  # noqa: PLR2004 # a column
            given = column_or_1d(given, warn=True)
        if labels == "new":
            self._learn_classes(given)
        elif labels == "same":
            self._require_same(given)
        else:
            self._require_known(given)
        return rows, self._labels.encoded(given), given

    def _require_known(self, labels: Any) -> None:
        """Raise ValueError for a class that isn't in `classes_`."""
        found = labels if labels.ndim == 1 else unique_labels(labels)
        unknown = np.setdiff1d(found, self.classes_)
        if len(unknown):
            msg = f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {unknown}."
            raise ValueError(msg)

    def _require_same(self, y: Any) -> None:
        found = unique_labels(y)
        if not np.array_equal(found, self.classes_):
            msg = (
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. Previously "
                f"got {self.classes_}, `y` has {found}"
            )
            raise ValueError(msg)

    def _outputs(self, targets: Array) -> int:
        return len(self.classes_) if targets.ndim == 1 else int(targets.shape[1])

    def _out_activation(self) -> str:
        return "softmax" if self._labels.kind == "multiclass" else "logistic"

    def _stratifies(self) -> bool:
        return self.n_outputs_ == 1  # as scikit-learn does it

    def _weights(self, y: Any, sample_weight: Array | None) -> Array | None:
        if self.class_weight is None:
            return sample_weight
        weights = compute_sample_weight(self.class_weight, y)
        return np.asarray(weights if sample_weight is None else weights * sample_weight)

    def _score_of(self, outputs: Float32, held_out: Encoded) -> float:
        """The accuracy: of several labels, that of all of them at once."""
        if not np.isfinite(outputs).all():
            return float("nan")
        if held_out.y.ndim == 1:
            hits = outputs.argmax(axis=1) == held_out.y
        else:
            hits = ((outputs > LIKELY) == (held_out.y > LIKELY)).all(axis=1)
        return float(np.average(hits, weights=held_out.weights))
