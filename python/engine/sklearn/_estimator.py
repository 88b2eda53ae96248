"""The base class of classifier and regressor: how an estimator is fitted, and what it records of it."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import pairwise
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np
from numpy.typing import DTypeLike
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_parameter_constraints
from sklearn.utils.validation import check_is_fitted, validate_data

from engine._base.checks import LARGEST, below_one, with_noun
from engine._base.random_state import seeded
from engine._core_interface.cpp import Float32, first_nonfinite_row
from engine._data.memory_maps import require_whole_file
from engine._printing.progress import print_message
from engine.callbacks import Callback
from engine.callbacks.base import listed
from engine.models import Sequential
from engine.optimizers import Optimizer
from engine.optimizers.variables import Snapshot
from engine.sklearn._lbfgs import CHUNK_ROWS, Objective, minimized
from engine.sklearn._network import Design, NetworkPredictor, frozen, interleaved
from engine.sklearn.samples import Array, Encoded, checked_sample_weights
from engine.sklearn.threads import register_backend

if TYPE_CHECKING:
    from typing_extensions import Self

register_backend()

LARGEST_AUTO_BATCH = 200
"""The upper limit of `batch_size="auto"`."""
DTYPES = (np.float64, np.float32, np.uint8)
"""Dtypes of `X` that the engine reads without a copy. scikit-learn's checks convert others to the first."""
SMALLEST_RATE, RATE_DIVISOR = 1e-6, 5.0
"""Of `learning_rate="adaptive"`: it divides the learning rate, unless it is already as small."""

KnownLabels = Literal["new", "same", "known"]
"""How the labels of `y` must relate to those of an earlier call: any, the same, or some of them."""

_EPOCH_ATTRIBUTES = ("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_")
"""Attributes that only "adam" and "sgd" set."""


class Perceptron(BaseEstimator, ABC):
    """Base class of `MLPClassifier` and `MLPRegressor`, which encode targets and score predictions."""

    hidden_layer_sizes: int | Sequence[int]
    activation: str
    solver: str
    alpha: float
    batch_size: int | str
    learning_rate: str
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: int | np.random.RandomState | None
    tol: float
    verbose: bool
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    dropout: float | Sequence[float]
    callbacks: Sequence[Callback] | None
    validation_data: Sequence[Any] | None

    n_iter_: int
    t_: int
    n_outputs_: int
    n_layers_: int
    n_features_in_: int
    out_activation_: str
    coefs_: list[Array]
    intercepts_: list[Array]
    loss_: float
    loss_curve_: list[float]
    best_loss_: float | None
    validation_scores_: list[float] | None
    best_validation_score_: float | None

    _solver: CompiledModel | None = None
    """The model with its optimizer state; None before the first fit."""
    _predictor: NetworkPredictor | None = None
    """The model for predictions; None before the first fit."""
    _no_improvement_count: int
    _best_weights: list[Array]

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "callbacks": "no_validation",
        "validation_data": [None, tuple, list],
    }
    _defaults: ClassVar[dict[str, Any]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "_parameter_constraints" in vars(cls):
            cls._defaults = cls.__init__.__kwdefaults__ or {}

    @abstractmethod
    def _encoded(
        self,
        X: Any,  # noqa: N803 # scikit-learn's name
        y: Any,
        *,
        reset: bool,
        labels: KnownLabels,
    ) -> tuple[Any, Array, Any]:
        """Checks samples and encodes their targets.

        Args:
            X: samples (n, features), as given.
            y: targets, as given.
            reset: whether to learn number and names of the features, rather than to compare them.
            labels: which labels a classifier accepts.

        Returns:
            The samples, the targets for the loss, and the checked targets in their own dtype, for class weights.
        """

    @abstractmethod
    def _out_activation(self) -> str:
        """Returns scikit-learn's name of the output activation."""

    @abstractmethod
    def _score_of(self, outputs: Float32, held_out: Encoded) -> float:
        """Returns the validation score of the network's outputs (n, outputs)."""

    def _outputs(self, targets: Array) -> int:
        """Returns the number of units of the last layer."""
        return int(targets.shape[1])

    def _weights(self, y: Any, sample_weight: Array | None) -> Array | None:
        """Returns the weights of losses and scores (n,), given checked targets and the weights of the samples."""
        del y
        return sample_weight

    def _stratifies(self) -> bool:
        """Returns whether each class is held out in proportion."""
        return False

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803 # scikit-learn's name
        """Trains the network, from new weights or, with `warm_start`, from the current ones.

        Args:
            X: numbers (n, features) as an array, a DataFrame or a sparse matrix.
            y: targets (n,), or (n, outputs).
            sample_weight: weights (n,); the loss of a batch is `sum(weight * loss) / sum(weight)`.

        Returns:
            The estimator.
        """
        self._validate_params()
        return self._fit(X, y, sample_weight, incremental=False)

    @property
    def model_(self) -> Sequential:
        """The trained network as a `Sequential`, for example to `export` it as ONNX or C.

        Each access creates a new model with the weights `coefs_` and `intercepts_`, so that changes to it don't
        change the estimator. Its outputs are those of the last layer: probabilities or numbers.
        """
        check_is_fitted(self)
        units = (self.n_features_in_, *map(len, self.intercepts_))
        rates = tuple(map(float, self._dropout_rates(len(units) - 2)))
        design = Design(units, self.activation, self.out_activation_, float(self.alpha), rates)
        with seeded(0):  # dropout layers draw seeds, which must not change the user's random state
            model = design.sequential()
        model.set_weights(interleaved(self.coefs_, self.intercepts_))
        return model

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        if self._has_weights:
            self._keep(interleaved(self.coefs_, self.intercepts_))

    @property
    def _has_weights(self) -> bool:
        """Whether the estimator was fitted before."""
        return "coefs_" in vars(self)

    def _validate_params(self) -> None:
        """Checks all arguments that differ from their defaults; scikit-learn's method checks all, which takes longer."""
        constraints = self._parameter_constraints
        checked = {
            name: value
            for name, value in vars(self).items()
            if name in constraints and value is not self._defaults.get(name, constraints)
        }
        validate_parameter_constraints(constraints, checked, caller_name=type(self).__name__)

    # Fitting ---------------------------------------------------------------------------------------------------------

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, incremental: bool) -> Self:  # noqa: N803
        """Trains the network; `incremental` trains for one epoch and keeps the optimizer state."""
        hidden = self._hidden()
        for name, argument in (("X", X), ("y", y)):
            if isinstance(argument, np.ndarray):
                require_whole_file(argument, name)
        continues = self._has_weights and (self.warm_start or incremental)
        labels: KnownLabels = "known" if incremental else "same" if continues else "new"
        rows, targets, argument = self._encoded(X, y, reset=not continues, labels=labels)
        samples = Encoded(
            rows, targets, self._weights(argument, checked_sample_weights(sample_weight, rows.shape[0]))
        )
        self.n_outputs_ = self._outputs(targets)
        random = check_random_state(self.random_state)
        self.out_activation_ = self._out_activation()
        design = self._design((rows.shape[1], *hidden, self.n_outputs_))
        if continues:
            self._require_same_layers(design)
        else:
            self._begin(design, random, self._dtype(rows))
        if self.solver == "lbfgs":
            self._fit_all_at_once(design, samples)
        else:
            self._fit_batches(design, samples, random, incremental=incremental)
        if not all(np.isfinite(array).all() for array in (*self.coefs_, *self.intercepts_)):
            msg = (
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
                "preprocessed."
            )
            raise ValueError(msg)
        return self

    def _hidden(self) -> tuple[int, ...]:
        """Returns the number of units of each hidden layer."""
        sizes = self.hidden_layer_sizes
        hidden = tuple(sizes) if isinstance(sizes, Iterable) else (sizes,)
        if any(size <= 0 for size in hidden):
            msg = f"hidden_layer_sizes must be > 0, got {list(hidden)}."
            raise ValueError(msg)
        return tuple(int(size) for size in hidden)

    def _dropout_rates(self, hidden: int) -> tuple[float, ...]:
        """Returns the dropout rates of the hidden layers, of which there are `hidden`."""
        rates = self.dropout
        return tuple(rates) if isinstance(rates, Iterable) else (rates,) * hidden

    def _design(self, units: tuple[int, ...]) -> Design:
        """Returns the network and the optimizer that the arguments describe."""
        rates = self._dropout_rates(len(units) - 2)
        if len(rates) != len(units) - 2:
            msg = f"`dropout` must be one rate, or {with_noun(len(units) - 2, 'rate')}, one per hidden layer, got {rates}"
            raise ValueError(msg)
        rule: dict[str, Any] = {}
        if self.solver == "adam":
            rule = {
                "beta_1": float(self.beta_1),
                "beta_2": float(self.beta_2),
                "epsilon": float(self.epsilon),
            }
        elif self.solver == "sgd":
            rule = {"momentum": float(self.momentum), "nesterov": bool(self.nesterovs_momentum)}
        dropout = tuple(below_one(rate, "dropout") for rate in rates)
        if self.solver == "lbfgs" and (any(dropout) or self.callbacks or self.validation_data is not None):
            msg = "`dropout`, `callbacks` and `validation_data` need epochs: use solver='adam' or 'sgd', not 'lbfgs'"
            raise ValueError(msg)
        return Design(
            units,
            self.activation,
            self.out_activation_,
            float(self.alpha),
            dropout,
            self.solver,
            float(self.learning_rate_init),
            tuple(rule.items()),
            bool(self.callbacks),
        )

    def _require_same_layers(self, design: Design) -> None:
        """Raises ValueError if the network differs from that of the earlier fit."""
        fitted_units = (design.units[0], *map(len, self.intercepts_))
        if fitted_units != design.units:
            msg = (
                f"`hidden_layer_sizes` asks for layers of {design.units}, but those of the earlier fit are of {fitted_units}: "
                "`warm_start` and `partial_fit` go on with these; take a clone() for others"
            )
            raise ValueError(msg)

    def _dtype(self, rows: Any) -> DTypeLike:
        """Returns the dtype that scikit-learn's weights would have."""
        return np.float32 if rows.dtype == np.float32 and self.solver != "lbfgs" else np.float64

    def _begin(self, design: Design, random: np.random.RandomState, dtype: DTypeLike) -> None:
        """Draws weights as scikit-learn does (Glorot and Bengio, 2010), and removes what earlier fits recorded."""
        self.n_iter_, self.t_, self.n_layers_ = 0, 0, len(design.units)
        self.coefs_, self.intercepts_ = [], []
        for fan_in, fan_out in pairwise(design.units):
            bound = math.sqrt((2.0 if self.activation == "logistic" else 6.0) / (fan_in + fan_out))
            self.coefs_.append(random.uniform(-bound, bound, (fan_in, fan_out)).astype(dtype))
            self.intercepts_.append(random.uniform(-bound, bound, fan_out).astype(dtype))
        self._best_weights = interleaved(self.coefs_, self.intercepts_)
        for name in _EPOCH_ATTRIBUTES:
            self.__dict__.pop(name, None)

    def _keep(self, weights: Sequence[Array]) -> None:
        """Stores weights as `coefs_` and `intercepts_`."""
        dtype = self.coefs_[0].dtype
        self.coefs_, self.intercepts_ = frozen([array.astype(dtype, copy=False) for array in weights])
        self._predictor = NetworkPredictor()

    def _fit_all_at_once(self, design: Design, samples: Encoded) -> None:
        """Trains by L-BFGS, whose every step looks at all samples."""

        def report(iteration: int, loss: float) -> None:
            if self.verbose:
                print_message(f"Iteration {iteration}, loss = {loss:.8f}")

        objective = Objective(design, samples.merged() if samples.size <= CHUNK_ROWS else samples)
        weights, self.n_iter_, self.loss_ = minimized(
            objective,
            interleaved(self.coefs_, self.intercepts_),
            max_iter=self.max_iter,
            max_fun=self.max_fun,
            tol=self.tol,
            report=report,
        )
        self._keep(weights)

    def _fit_batches(
        self, design: Design, samples: Encoded, random: np.random.RandomState, *, incremental: bool
    ) -> None:
        """Trains by "adam" or "sgd", batch by batch."""
        if "loss_curve_" not in vars(self):
            self.loss_curve_, self._no_improvement_count = [], 0
            self.best_loss_ = None if self.early_stopping else math.inf
            self.validation_scores_, self.best_validation_score_ = None, None
        samples, held_out = self._split(samples, random, incremental=incremental)
        count, batch_size = samples.size, self._batch_size(samples.size)
        end_of_epoch = EndOfEpoch(self, design, held_out, count, design.constant(samples))
        if batch_size == count and not incremental:
            samples = samples.merged()
        solver = self._solver
        if not incremental or solver is None or solver.design != design:
            solver = self._solver = CompiledModel(design)
        self.n_iter_ = 0
        with seeded(int(random.randint(LARGEST))):
            model = solver.model
            model.set_weights(interleaved(self.coefs_, self.intercepts_))
            try:
                self._train(model, end_of_epoch, samples, batch_size, 1 if incremental else self.max_iter)
            finally:
                self._keep(self._best_weights if self.early_stopping else model.get_weights())
        if not incremental and self.n_iter_ == self.max_iter and not model.stop_training:
            msg = (
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                "converged yet."
            )
            warnings.warn(msg, ConvergenceWarning, stacklevel=4)

    def _train(
        self, model: Sequential, end_of_epoch: EndOfEpoch, samples: Encoded, batch_size: int, epochs: int
    ) -> None:
        """Calls `fit` of the model. Ctrl-C ends it with a warning, and the weights so far are kept."""
        callbacks, held_out = listed(self.callbacks), end_of_epoch.held_out
        seen = None if held_out is None or not callbacks else (held_out.x, held_out.y, held_out.weights)
        try:
            model.fit(
                samples.x,
                samples.y,
                batch_size,
                epochs,
                verbose=0,
                callbacks=[end_of_epoch, *callbacks],
                validation_data=seen,
                shuffle=bool(self.shuffle) and batch_size < samples.size,
                sample_weight=samples.weights,
            )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=5)
        finally:
            for callback in callbacks:
                callback.model = None  # so that copies and pickles of the estimator don't hold the model

    def _split(
        self, samples: Encoded, random: np.random.RandomState, *, incremental: bool
    ) -> tuple[Encoded, Encoded | None]:
        """Returns the samples for training, and those for validation scores or None."""
        if self.early_stopping and incremental:
            msg = "partial_fit does not support early_stopping=True"
            raise ValueError(msg)
        held_out = None
        if self.validation_data is not None:
            if len(self.validation_data) not in (2, 3):
                msg = f"`validation_data` must be (X, y) or (X, y, sample_weight), got {len(self.validation_data)} parts"
                raise ValueError(msg)
            x, y, *weights = self.validation_data
            rows, targets, labels = self._encoded(x, y, reset=False, labels="known")
            checked = checked_sample_weights(weights[0] if weights else None, rows.shape[0])
            held_out = Encoded(rows, targets, self._weights(labels, checked))
        elif self.early_stopping:
            samples, held_out = samples.split(self.validation_fraction, self._stratifies(), random)
        if held_out is not None and self.validation_scores_ is None:
            self.validation_scores_, self.best_validation_score_ = [], -math.inf
        return samples, held_out

    def _batch_size(self, count: int) -> int:
        """Returns the number of samples in a batch, given that of all samples."""
        if isinstance(self.batch_size, str):  # "auto", as the validated arguments know no other
            return min(LARGEST_AUTO_BATCH, count)
        if self.batch_size > count:
            msg = "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped"
            warnings.warn(msg, stacklevel=5)
        return min(int(self.batch_size), count)

    # Predicting ------------------------------------------------------------------------------------------------------

    def _rows(self, X: Any, *, reset: bool) -> Any:  # noqa: N803
        """Checks samples (n, features). Finite arrays that the engine reads without a copy skip scikit-learn's scan."""
        plain = (
            type(X) is np.ndarray
            and X.ndim == 2  # noqa: PLR2004 # samples and features
            and X.size > 0
            and X.dtype in DTYPES
            and X.flags.c_contiguous
            and X.flags.aligned
            and first_nonfinite_row(X) < 0
        )
        return validate_data(
            self, X, accept_sparse=["csr", "csc"], dtype=DTYPES, reset=reset, skip_check_array=plain
        )

    def _predict_outputs(self, X: Any) -> Array:  # noqa: N803
        """Returns the outputs of the network (n, outputs), in scikit-learn's dtype."""
        check_is_fitted(self)
        rows = self._rows(X, reset=False)
        predictor = self._predictor or NetworkPredictor()
        outputs = predictor.outputs(
            rows, self.coefs_, self.intercepts_, self.activation, self.out_activation_
        )
        return outputs.astype(np.result_type(rows.dtype, self.coefs_[0].dtype), copy=False)


class CompiledModel:
    """The model that "adam" or "sgd" trains, compiled when it is first used.

    A pickle holds the optimizer state instead of the model.

    Args:
        design: of the network and its optimizer.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        self._model: Sequential | None = None
        self._state: Snapshot | None = None

    @property
    def model(self) -> Sequential:
        """The compiled model."""
        if self._model is None:
            self._model = self.design.compiled()
            if self._state is not None:
                _optimizer_of(self._model)._restore(self._state)
        return self._model

    def __getstate__(self) -> dict[str, Any]:
        state = self._state if self._model is None else _optimizer_of(self._model)._snapshot()
        return {"design": self.design, "_model": None, "_state": state}


class EndOfEpoch(Callback):
    """Records each epoch in the estimator's attributes, adapts the learning rate, and stops as scikit-learn does.

    Args:
        estimator: the estimator that is fitted.
        design: of its network.
        held_out: samples for validation scores, or None.
        count: number of samples per epoch.
        constant: difference between scikit-learn's loss and the engine's.
    """

    def __init__(
        self, estimator: Perceptron, design: Design, held_out: Encoded | None, count: int, constant: float
    ) -> None:
        self.held_out = held_out
        self._estimator, self._design = estimator, design
        self._count, self._constant = count, constant

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Records the epoch, and replaces the losses in `logs` by scikit-learn's."""
        seen = {} if logs is None else logs
        for prefix in ("", "val_"):
            if f"{prefix}loss" in seen:
                seen[f"{prefix}loss"] = self._design.shown_loss(seen, prefix) + self._constant
        estimator = self._estimator
        estimator.n_iter_ = epoch + 1
        estimator.loss_ = seen["loss"]
        estimator.t_ += self._count
        estimator.loss_curve_.append(seen["loss"])
        if estimator.verbose:
            print_message(f"Iteration {estimator.n_iter_}, loss = {seen['loss']:.8f}")
        if self.held_out is not None:
            self._score(self.held_out)
        if not estimator.early_stopping:
            best = math.inf if estimator.best_loss_ is None else estimator.best_loss_
            self._count_epoch(improved=not seen["loss"] > best - estimator.tol)
            estimator.best_loss_ = min(best, seen["loss"])
        self._adapt()

    def _score(self, held_out: Encoded) -> None:
        """Records the validation score, and with `early_stopping` the best weights."""
        estimator = self._estimator
        scores, best = estimator.validation_scores_, estimator.best_validation_score_
        if scores is None or best is None:
            raise RuntimeError
        score = estimator._score_of(self.model.predict(held_out.x, verbose=0), held_out)
        scores.append(score)
        if estimator.verbose:
            print_message(f"Validation score: {score:f}")
        if estimator.early_stopping:
            self._count_epoch(improved=not score < best + estimator.tol)
        if score > best:
            estimator.best_validation_score_ = score
            if estimator.early_stopping:
                estimator._best_weights = self.model.get_weights()

    def _count_epoch(self, *, improved: bool) -> None:
        """Counts epochs in a row without improvement."""
        estimator = self._estimator
        estimator._no_improvement_count = 0 if improved else estimator._no_improvement_count + 1

    def _adapt(self) -> None:
        """Sets the learning rate of the next epoch, or ends the training."""
        estimator, optimizer = self._estimator, _optimizer_of(self.model)
        by_schedule = self._design.solver == "sgd"
        if by_schedule and estimator.learning_rate == "invscaling":
            optimizer.learning_rate = estimator.learning_rate_init / (estimator.t_ + 1) ** estimator.power_t
        if estimator._no_improvement_count <= estimator.n_iter_no_change:
            return
        monitored = "Validation score" if estimator.early_stopping else "Training loss"
        message = (
            f"{monitored} did not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change} consecutive "
            "epochs."
        )
        adapts = by_schedule and estimator.learning_rate == "adaptive"
        rate = cast("float", optimizer._rate)  # and not the variable, which rounds it to float32
        if adapts and rate > SMALLEST_RATE:
            optimizer.learning_rate = rate / RATE_DIVISOR
            estimator._no_improvement_count = 0
            message += f" Setting learning rate to {rate / RATE_DIVISOR:f}"
        else:
            message += " Learning rate too small. Stopping." if adapts else " Stopping."
            self.model.stop_training = True
        if estimator.verbose:
            print_message(message)


def _optimizer_of(model: Sequential) -> Optimizer:
    """Returns the optimizer of a compiled model."""
    optimizer = model.optimizer
    if optimizer is None:
        raise RuntimeError
    return optimizer


def is_stochastic(estimator: Any) -> bool:
    """Returns whether the estimator has `partial_fit`, which "lbfgs" has not.

    Raises:
        AttributeError: for "lbfgs", with scikit-learn's message.
    """
    if estimator.solver == "lbfgs":
        msg = "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        raise AttributeError(msg)
    return True
