"""The methods, attributes and arguments that classes of Keras 1 and 2 had. Each works as its successor does, and warns."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine._base.spec import Spec
from engine._base.tracebacks import without_engine_frames
from engine.callbacks import ReduceLROnPlateau
from engine.callbacks.base import NamedValues
from engine.layers import (
    AlphaDropout,
    BatchNormalization,
    Dense,
    Dropout,
    Embedding,
    GaussianDropout,
    GaussianNoise,
    Layer,
    SpatialDropout1D,
    SpatialDropout2D,
)
from engine.metrics import Metric
from engine.models import Model
from engine.models.model import _count
from engine.models.output_data import OutputData
from engine.models.predictions import shape_of_one_output
from engine.optimizers import LossScaleOptimizer, Optimizer

_Function = TypeVar("_Function", bound=Callable[..., Any])

# The present names of arguments of constructors, by those that older versions had. That of SpatialDropout3D is inherited.
_ARGUMENTS: Mapping[type, Mapping[str, str]] = {
    **{
        kind: {"p": "rate"}
        for kind in (Dropout, SpatialDropout1D, SpatialDropout2D, AlphaDropout, GaussianDropout)
    },
    BatchNormalization: {"beta_init": "beta_initializer", "gamma_init": "gamma_initializer"},
    Dense: {
        "output_dim": "units",
        "init": "kernel_initializer",
        "bias": "use_bias",
        "W_regularizer": "kernel_regularizer",
        "b_regularizer": "bias_regularizer",
        "W_constraint": "kernel_constraint",
        "b_constraint": "bias_constraint",
    },
    Embedding: {
        "init": "embeddings_initializer",
        "W_regularizer": "embeddings_regularizer",
        "W_constraint": "embeddings_constraint",
    },
    GaussianNoise: {"sigma": "stddev"},
    Model: {"input": "inputs", "output": "outputs"},
    Optimizer: {"lr": "learning_rate"},
    ReduceLROnPlateau: {"epsilon": "min_delta"},
}
# The present names of methods and attributes that took and returned the same.
_RENAMED = [
    (LossScaleOptimizer, "get_scaled_loss", "scale_loss"),
    (Optimizer, "lr", "learning_rate"),
]
# Arguments of methods for generators that say how processes load batches.
_OF_WORKERS = {"max_queue_size", "max_q_size", "workers", "use_multiprocessing", "pickle_safe"}


def install() -> None:
    """Gives classes what they had in older versions."""
    for kind, names in _ARGUMENTS.items():
        owner = _decorate(kind, "__init__", _lr if kind is Optimizer else older_arguments(names))
        if issubclass(owner, Spec):
            owner._older_arguments = frozenset(names)
    _decorate(Model, "fit", _nb_epoch)
    _decorate(Layer, "add_weight", _name_first)
    for name in ("add_variable", "add_weight"):
        _decorate(Metric, name, _name_first)
    _decorate(Metric, "reset_state", _by_reset_states)
    for kind, old, new in _RENAMED:
        setattr(kind, old, getattr(kind, new))
    for kind, added in _ADDED.items():
        for name, member in vars(added).items():
            if name not in vars(_Nothing):
                setattr(kind, name, member)


def _decorate(kind: type, name: str, decorator: Callable[[Any], Any]) -> type:
    """Decorates a method of a class where it is defined, and returns that class."""
    owner = next(base for base in kind.__mro__ if name in vars(base))
    setattr(owner, name, decorator(vars(owner)[name]))
    return owner


def _warn(old: str, new: str, stacklevel: int = 3) -> None:
    """Warns that `old`, a name of an older version of Keras, has the successor `new`."""
    warnings.warn(
        f"{old} is of an older version of Keras: use {new}", DeprecationWarning, stacklevel=stacklevel
    )


def older_arguments(names: Mapping[str, str], stacklevel: int = 3) -> Callable[[_Function], _Function]:
    """Decorates a function so that it takes arguments by the names that older versions of Keras had, and warns.

    Args:
        names: the present name of each of these.
        stacklevel: of the warning; 3 for a function that users call themselves.
    """

    def decorated(function: _Function) -> _Function:
        positional = inspect.unwrap(function).__code__.co_varnames

        @functools.wraps(function)
        def called(*args: Any, **options: Any) -> Any:
            for old in options.keys() & names.keys():
                new = names[old]
                if new in options or new in positional[: len(args)]:
                    msg = f"give `{new}` or `{old}`, its older name, but not both"
                    raise TypeError(msg)
                _warn(f"the argument `{old}`", f"`{new}`", stacklevel)
                options[new] = options.pop(old)
            return function(*args, **options)

        return called  # type: ignore[return-value] # it takes the arguments of `function`

    return decorated


def _nb_epoch(fit: Any) -> Any:
    """Decorates `fit` so that it takes `nb_epoch`, too. Tracebacks still lack the frames of the package."""
    return without_engine_frames(older_arguments({"nb_epoch": "epochs"}, stacklevel=4)(fit.__wrapped__))


def _lr(init: _Function) -> _Function:
    """Decorates the constructor of an optimizer so that it takes its learning rate as `lr`, which replaces `learning_rate`."""

    @functools.wraps(init)
    def called(self: Any, learning_rate: Any, *args: Any, lr: Any = None, **options: Any) -> None:
        if lr is not None:
            _warn("the argument `lr`", "`learning_rate`", stacklevel=4)
            learning_rate = lr
        init(self, learning_rate, *args, **options)

    return called  # type: ignore[return-value] # it takes the arguments of `init`


def _name_first(method: _Function) -> _Function:
    """Decorates a method that creates a weight so that it takes its name as the first argument, as in Keras 2, and warns."""

    @functools.wraps(method)
    def called(self: Any, *args: Any, **options: Any) -> Any:
        if args and isinstance(args[0], str) and "name" not in options:
            _warn(f"the name {args[0]!r} as the first argument", "`name`")
            options["name"], args = args[0], args[1:]
        return method(self, *args, **options)

    return called  # type: ignore[return-value] # it takes the arguments of `method`


_reset_state = Metric.reset_state


def _by_reset_states(method: _Function) -> _Function:
    """Decorates `reset_state` so that it calls the `reset_states` of a metric that was written for Keras 2."""

    @functools.wraps(method)
    def called(self: Any) -> None:
        if type(self).reset_states is not _OfMetric.reset_states:
            self.reset_states()
        else:
            method(self)

    return called  # type: ignore[return-value] # it takes the arguments of `method`


class _Nothing:
    """A class without members, which tells those that Python gives to every class."""


class _OfMetric:
    def reset_states(self: Any) -> None:
        """The name that Keras 2 had for `reset_state`. It warns that the name is old."""
        _warn("reset_states()", "reset_state()")
        if type(self).reset_states is _OfMetric.reset_states:
            self.reset_state()
        else:
            _reset_state(self)


class _ShapeOfCall:
    """The attribute `input_shape` or `output_shape` of a layer, which a subclass or an object may replace.

    Args:
        name: which of them.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.__doc__ = (
            f"The {name} with None for the batch axis, as in Keras 2. It warns that the name is old."
        )

    def __get__(self, layer: Any, owner: type) -> Any:
        if layer is None:
            return self
        name, sample = self._name, layer._sample_shape
        if not isinstance(sample, tuple) or not all(isinstance(length, int) for length in sample):
            msg = f"{owner.__name__!r} has no attribute {name!r} before it was called, or built, for one input of a known shape"
            raise AttributeError(msg, name=name, obj=layer)
        _warn(f"the attribute `{name}` of a layer", "the shape of what it is called on, or returns")
        return (None, *(layer._output_shape_for(sample) if name == "output_shape" else sample))


class _OfLayer:
    input_shape, output_shape = _ShapeOfCall("input_shape"), _ShapeOfCall("output_shape")


class _OfLossScaleOptimizer:
    def get_unscaled_gradients(self: Any, grads: Sequence[Any]) -> list[Any]:
        """Returns the gradients of what `get_scaled_loss` returned as they are, for loops of Keras 2: `apply` divides them.

        Args:
            grads: a gradient for each weight, or None.
        """
        return list(grads)


class CompiledMetrics:
    """The metrics given to `compile`, which a `train_step` updates together, as in Keras 2.

    Args:
        model: their model.
    """

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def metrics(self) -> list[Metric]:
        """The metrics, without the mean of the loss."""
        compiled = self._model._require_compiled()
        return [metric for metric in compiled.all_metrics if metric is not compiled.loss_tracker]

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch.

        Args:
            y_true: targets.
            y_pred: the outputs of the model.
            sample_weight: weights of the samples.
        """
        compiled = self._model._require_compiled()
        compiled.update_metrics(
            *OutputData(compiled, self._model._built_graph.output_form).of_batch(
                y_true, y_pred, sample_weight
            )
        )


class _OfModel:
    @older_arguments({"nb_epoch": "epochs"})
    def fit_generator(
        self: Any, generator: Any, steps_per_epoch: int | None = None, epochs: int = 1, **options: Any
    ) -> Any:
        """The name that Keras 2 had for `fit` with a generator. It warns that the name is old.

        Args:
            generator: a source of batches (x, y) or (x, y, sample_weight), as `x` of `fit`.
            steps_per_epoch: batches per epoch.
            epochs: number of epochs.
            options: other arguments of `fit` by name. `max_queue_size`, `workers` and `use_multiprocessing` are ignored.
        """
        _warn("fit_generator()", "fit()")
        return self.fit(
            generator, steps_per_epoch=steps_per_epoch, epochs=epochs, **_without_workers(options)
        )

    def evaluate_generator(self: Any, generator: Any, steps: int | None = None, **options: Any) -> Any:
        """The name that Keras 2 had for `evaluate` with a generator. It warns that the name is old.

        Args:
            generator: a source of batches, as `x` of `evaluate`.
            steps: number of batches to use; default all.
            options: other arguments of `evaluate` by name, and those that `fit_generator` ignores.
        """
        _warn("evaluate_generator()", "evaluate()")
        return self.evaluate(generator, steps=steps, **{"verbose": 0, **_without_workers(options)})

    def predict_generator(self: Any, generator: Any, steps: int | None = None, **options: Any) -> Any:
        """The name that Keras 2 had for `predict` with a generator. It warns that the name is old.

        Args:
            generator: a source of batches, as `x` of `predict`.
            steps: number of batches to use; default all.
            options: other arguments of `predict` by name, and those that `fit_generator` ignores.
        """
        _warn("predict_generator()", "predict()")
        return self.predict(generator, steps=steps, **{"verbose": 0, **_without_workers(options)})

    def compiled_loss(
        self: Any, y_true: Any, y_pred: Any, sample_weight: Any = None, regularization_losses: Any = None
    ) -> Any:
        """Returns the loss of a batch in a `train_step`, and adds it to the mean of the loss, as in Keras 2. It warns.

        Args:
            y_true: targets.
            y_pred: the outputs of the model.
            sample_weight: weights of the samples.
            regularization_losses: a list of numbers that are added, such as `self.losses`.
        """
        _warn("compiled_loss()", "compute_loss(y=y, y_pred=y_pred), which includes self.losses")
        compiled = self._require_compiled()
        batch = OutputData(compiled, self._built_graph.output_form).of_batch(y_true, y_pred, sample_weight)
        total: Any = 0.0
        for term in [*compiled.computed_loss(*batch), *(regularization_losses or ())]:
            total = total + term
        compiled.loss_tracker.update_state(total, sample_weight=_count(y_true))
        return total

    @property
    def compiled_metrics(self: Any) -> CompiledMetrics:
        """The metrics given to `compile`, for a `train_step` as in Keras 2. It warns that the name is old."""
        _warn("compiled_metrics", "compute_metrics(x, y, y_pred, sample_weight)")
        return CompiledMetrics(self)

    def predict_proba(self: Any, x: Any, batch_size: int | None = None, verbose: int | str = 0) -> Any:
        """The name that Keras 2 had for `predict` of a classifier. It warns that the name is old.

        Args:
            x: samples, as for `predict`.
            batch_size: samples per step for the progress bar, default 32.
            verbose: as for `predict`.
        """
        _warn("predict_proba()", "predict()")
        return self.predict(x, batch_size, verbose)

    def predict_classes(
        self: Any, x: Any, batch_size: int | None = None, verbose: int | str = 0
    ) -> NDArray[np.integer]:
        """Returns the class of each sample, as Keras 2 did. It warns that the name is old.

        Args:
            x: samples, as for `predict`.
            batch_size: samples per step for the progress bar, default 32.
            verbose: as for `predict`.

        Returns:
            The index of the largest output, int64 (n,); for a model with one output int32 (n, 1), which is 1 where the
            output is larger than 0.5.
        """
        _warn(
            "predict_classes()",
            "predict(x).argmax(axis=-1), or (predict(x) > 0.5).astype('int32') for one output",
        )
        outputs = self.predict(x, batch_size, verbose)
        if self._built_graph.output_form.kind is not None:
            shape_of_one_output(self, self._built_graph.output_shapes, "predict_classes")
        classes: NDArray[np.integer] = (
            outputs.argmax(axis=-1) if outputs.shape[-1] > 1 else (outputs > 0.5).astype(np.int32)  # noqa: PLR2004 # Keras 2's threshold
        )
        return classes


def _without_workers(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a method for generators without those that say how processes load batches."""
    return {name: value for name, value in options.items() if name not in _OF_WORKERS}


# Names that Keras 2.0 to 2.2 gave to values in logs, each with the names that they have now: an accuracy was `acc`, and a
# metric that `compile` got by a short name had its full name.
_NAMES_IN_LOGS: Mapping[str, Sequence[str]] = {
    "acc": ("accuracy", "binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy"),
    "binary_crossentropy": ("bce",),
    "categorical_crossentropy": ("cce",),
    "cosine_proximity": ("cosine", "cosine_similarity"),
    "kullback_leibler_divergence": ("kld", "kl_divergence"),
    "lr": ("learning_rate",),
    "mean_absolute_error": ("mae",),
    "mean_absolute_percentage_error": ("mape",),
    "mean_squared_error": ("mse",),
    "mean_squared_logarithmic_error": ("msle",),
}


def _name_in_logs(name: object, names: Container[str]) -> str | None:
    """Returns the one of `names` that a name in the logs of an older version of Keras has now; None if there is none.

    `val_` and the names of outputs may stand before it, as in `val_acc`.
    """
    words = name.split("_") if isinstance(name, str) else []
    for start in range(len(words)):
        before = "".join(f"{word}_" for word in words[:start])
        for present in _NAMES_IN_LOGS.get("_".join(words[start:]), ()):
            for spelling in (before + present, before + present.upper()):
                if spelling in names:
                    return spelling
    return None


class _OfNamedValues:
    def __missing__(self: Any, name: str) -> Any:
        log_name = _name_in_logs(name, self)
        if log_name is None:
            raise KeyError(name)
        _warn(f"the name {name!r} in logs", repr(log_name))
        return self[log_name]

    def get(self: Any, name: str, default: Any = None) -> Any:
        """Returns the value of `name`, or `default` if there is none."""
        log_name = name if name in self else _name_in_logs(name, self)
        if log_name is None:
            return default
        if log_name != name:
            _warn(f"the name {name!r} in logs", repr(log_name))
        return self[log_name]


_ADDED = {
    Layer: _OfLayer,
    NamedValues: _OfNamedValues,
    LossScaleOptimizer: _OfLossScaleOptimizer,
    Metric: _OfMetric,
    Model: _OfModel,
}
