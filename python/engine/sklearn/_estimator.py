"""What classifier and regressor have in common: how they are fitted."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from itertools import pairwise
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_parameter_constraints
from sklearn.utils.validation import check_is_fitted, validate_data

from engine._arrays import require_whole_file
from engine._checks import LARGEST, below_one, counted
from engine._program import first_nonfinite_row
from engine._progress import print_message
from engine._random import seeded
from engine.models import Sequential
from engine.sklearn._epochs import Solver, Watch, train
from engine.sklearn._full_batch import ROWS, Objective, minimized
from engine.sklearn._network import Design, Predictor, frozen, interleaved
from engine.sklearn._record import Record
from engine.sklearn._samples import Array, Encoded, checked_weights

if TYPE_CHECKING:
    from typing_extensions import Self

LARGEST_BATCH = 200  # that `batch_size="auto"` means
# Of numbers that the engine reads where they lie; others become the first.
DTYPES = (np.float64, np.float32, np.uint8)

Known = Literal["new", "same", "known"]
# What the solvers leave that work batch by batch.
RECORD = ("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_")


class Perceptron(Record):
    """Base class; a subclass encodes targets and scores predictions."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "callbacks": "no_validation",
        "validation_data": [None, tuple, list],
    }
    _defaults: ClassVar[dict[str, Any]]

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
        rates = self.dropout if hasattr(self.dropout, "__iter__") else (self.dropout,) * (len(units) - 2)
        design = Design(
            units, self.activation, self.out_activation_, float(self.alpha), tuple(map(float, rates))
        )
        with seeded(0):  # dropout takes seeds, and those of the process are not for this
            model = design.sequential()
        model.set_weights(interleaved(self.coefs_, self.intercepts_))
        return model

    def _validate_params(self) -> None:
        """As scikit-learn's, but of what isn't the default, and without a look at the constructor's signature."""
        known = self._parameter_constraints
        given = {
            name: value
            for name, value in vars(self).items()
            if name in known and value is not self._defaults.get(name, known)
        }
        validate_parameter_constraints(known, given, caller_name=type(self).__name__)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "_parameter_constraints" in vars(cls):
            cls._defaults = cls.__init__.__kwdefaults__ or {}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @abstractmethod
    def _encoded(self, X: Any, y: Any, *, reset: bool, labels: Known) -> Any:  # noqa: N803
        """Checked rows, targets as the engine takes them, and targets as given for class weights.

        Args:
            X: as given.
            y: as given.
            reset: whether features are learnt, rather than compared.
            labels: of a classifier, and how they stand to those of an earlier call.
        """

    @abstractmethod
    def _out_activation(self) -> str:
        """scikit-learn's name of the last layer's."""

    def _weights(self, y: Any, sample_weight: Array | None) -> Array | None:
        """Weights of losses and scores, given those of the samples."""
        del y
        return sample_weight

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, incremental: bool) -> Self:  # noqa: N803
        hidden = self._hidden()
        for name, given in (("X", X), ("y", y)):
            if isinstance(given, np.ndarray):
                require_whole_file(given, name)
        again = hasattr(self, "coefs_") and (self.warm_start or incremental)
        labels: Known = "known" if incremental else "same" if again else "new"
        rows, targets, given = self._encoded(X, y, reset=not again, labels=labels)
        samples = Encoded(rows, targets, self._weights(given, checked_weights(sample_weight, rows.shape[0])))
        self.n_outputs_ = self._outputs(targets)
        random = check_random_state(self.random_state)
        self.out_activation_ = self._out_activation()
        design = self._design((rows.shape[1], *hidden, self.n_outputs_))
        if again:
            self._require_same_layers(design)
        else:
            self._begin(design, random, self._type(rows))
        if self.solver == "lbfgs":
            self._fit_full(design, samples)
        else:
            self._fit_batches(design, samples, random, incremental=incremental)
        if not all(np.isfinite(array).all() for array in (*self.coefs_, *self.intercepts_)):
            msg = (
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
                "preprocessed."
            )
            raise ValueError(msg)
        return self

    def _require_same_layers(self, design: Design) -> None:
        there = (design.units[0], *map(len, self.intercepts_))
        if there != design.units:
            msg = (
                f"`hidden_layer_sizes` asks for layers of {design.units}, but those of the earlier fit are of {there}: "
                "`warm_start` and `partial_fit` go on with these; take a clone() for others"
            )
            raise ValueError(msg)

    def _outputs(self, targets: Array) -> int:
        """Units of the last layer."""
        return int(targets.shape[1])

    def _hidden(self) -> tuple[int, ...]:
        sizes = self.hidden_layer_sizes
        hidden = tuple(sizes) if hasattr(sizes, "__iter__") else (sizes,)
        if any(size <= 0 for size in hidden):
            msg = f"hidden_layer_sizes must be > 0, got {list(hidden)}."
            raise ValueError(msg)
        return tuple(int(size) for size in hidden)

    def _design(self, units: tuple[int, ...]) -> Design:
        rates = self.dropout
        rates = tuple(rates) if hasattr(rates, "__iter__") else (rates,) * (len(units) - 2)
        if len(rates) != len(units) - 2:
            msg = f"`dropout` must be one rate, or {counted(len(units) - 2, 'rate')}, one per hidden layer, got {rates}"
            raise ValueError(msg)
        rule: dict[str, Any] = {}
        if self.solver == "adam":
            rule = {name: float(getattr(self, name)) for name in ("beta_1", "beta_2", "epsilon")}
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

    def _type(self, rows: Any) -> Any:
        """Of scikit-learn's attributes after rows of that type, whatever they are computed in."""
        return np.float32 if rows.dtype == np.float32 and self.solver != "lbfgs" else np.float64

    def _begin(self, design: Design, random: Any, dtype: Any) -> None:
        """Draw weights as scikit-learn does (Glorot and Bengio, 2010), and forget earlier epochs."""
        self.n_iter_, self.t_, self.n_layers_ = 0, 0, len(design.units)
        self.coefs_, self.intercepts_ = [], []
        for fan_in, fan_out in pairwise(design.units):
            bound = math.sqrt((2.0 if self.activation == "logistic" else 6.0) / (fan_in + fan_out))
            self.coefs_.append(random.uniform(-bound, bound, (fan_in, fan_out)).astype(dtype))
            self.intercepts_.append(random.uniform(-bound, bound, fan_out).astype(dtype))
        self._best_weights = interleaved(self.coefs_, self.intercepts_)
        for name in RECORD:
            self.__dict__.pop(name, None)

    def _fit_full(self, design: Design, samples: Encoded) -> None:
        def tell(iteration: int, loss: float) -> None:
            if self.verbose:
                print_message(f"Iteration {iteration}, loss = {loss:.8f}")

        objective = Objective(design, samples.merged() if samples.size <= ROWS else samples)
        weights, self.n_iter_, self.loss_ = minimized(
            objective,
            interleaved(self.coefs_, self.intercepts_),
            max_iter=self.max_iter,
            max_fun=self.max_fun,
            tol=self.tol,
            tell=tell,
        )
        self._keep(weights)

    def _fit_batches(self, design: Design, samples: Encoded, random: Any, *, incremental: bool) -> None:
        if not hasattr(self, "loss_curve_"):
            self.loss_curve_, self._no_improvement_count = [], 0
            self.best_loss_ = None if self.early_stopping else math.inf
            self.validation_scores_, self.best_validation_score_ = None, None
        samples, held_out = self._parted(samples, random, incremental=incremental)
        count, batch_size = samples.size, self._batch_size(samples.size)
        watch = Watch(self, design, held_out, count, design.constant(samples))
        if batch_size == count and not incremental:
            samples = samples.merged()
        solver: Solver | None = getattr(self, "_solver", None)
        if not incremental or solver is None or solver.design != design:
            solver = self._solver = Solver(design)
        epochs = 1 if incremental else self.max_iter
        self.n_iter_ = 0
        with seeded(int(random.randint(LARGEST))):
            model = solver.model
            model.set_weights(interleaved(self.coefs_, self.intercepts_))
            try:
                train(self, model, watch, samples, held_out=held_out, batch_size=batch_size, epochs=epochs)
            finally:
                self._keep(self._best_weights if self.early_stopping else model.get_weights())
        if not incremental and self.n_iter_ == self.max_iter and not model.stop_training:
            msg = (
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                "converged yet."
            )
            warnings.warn(msg, ConvergenceWarning, stacklevel=4)

    def _parted(self, samples: Encoded, random: Any, *, incremental: bool) -> tuple[Encoded, Encoded | None]:
        """Samples to learn, and those that are held out for scores."""
        if self.early_stopping and incremental:
            msg = "partial_fit does not support early_stopping=True"
            raise ValueError(msg)
        held_out = None
        if self.validation_data is not None:
            if len(self.validation_data) not in (2, 3):
                msg = f"`validation_data` must be (X, y) or (X, y, sample_weight), got {len(self.validation_data)} parts"
                raise ValueError(msg)
            x, y, *weights = self.validation_data
            rows, targets, given = self._encoded(x, y, reset=False, labels="known")
            checked = checked_weights(weights[0] if weights else None, rows.shape[0])
            held_out = Encoded(rows, targets, self._weights(given, checked))
        elif self.early_stopping:
            samples, held_out = samples.split(self.validation_fraction, self._stratifies(), random)
        if held_out is not None and self.validation_scores_ is None:
            self.validation_scores_, self.best_validation_score_ = [], -math.inf
        return samples, held_out

    def _stratifies(self) -> bool:
        """Whether samples are held out class by class."""
        return False

    def _batch_size(self, count: int) -> int:
        if self.batch_size == "auto":
            return min(LARGEST_BATCH, count)
        if self.batch_size > count:
            msg = "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped"
            warnings.warn(msg, stacklevel=5)
        return min(int(self.batch_size), count)

    def _rows(self, X: Any, *, reset: bool) -> Any:  # noqa: N803
        """Checked rows; of finite numbers that the engine reads where they lie, scikit-learn checks the width alone."""
        plain = (
            type(X) is np.ndarray
            and X.ndim == 2  # noqa: PLR2004 # rows
            and X.size > 0
            and X.dtype in DTYPES
            and X.flags.c_contiguous
            and X.flags.aligned
            and first_nonfinite_row(X) < 0
        )
        return validate_data(
            self, X, accept_sparse=["csr", "csc"], dtype=DTYPES, reset=reset, skip_check_array=plain
        )

    def _read(self, X: Any) -> Array:  # noqa: N803
        """The network's outputs for rows as given, in the type of scikit-learn's."""
        check_is_fitted(self)
        rows = self._rows(X, reset=False)
        predictor: Predictor = getattr(self, "_predictor", None) or Predictor()
        outputs = predictor.outputs(
            rows, self.coefs_, self.intercepts_, self.activation, self.out_activation_
        )
        return outputs.astype(np.result_type(rows.dtype, self.coefs_[0].dtype), copy=False)

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        if "coefs_" in self.__dict__:
            self._keep(interleaved(self.coefs_, self.intercepts_))

    def _keep(self, weights: list[Any]) -> None:
        dtype = self.coefs_[0].dtype
        self.coefs_, self.intercepts_ = frozen([array.astype(dtype, copy=False) for array in weights])
        self._predictor = Predictor()


def is_stochastic(estimator: Any) -> bool:
    """Whether the solver can go on batch by batch.

    Raises:
        AttributeError: if it can't, as `partial_fit` doesn't exist then.
    """
    if estimator.solver == "lbfgs":
        msg = "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        raise AttributeError(msg)
    return True
