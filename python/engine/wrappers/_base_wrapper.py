"""`BaseWrapper`: models as estimators of scikit-learn, with the parameters, attributes and hooks of SciKeras."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import check_array, check_random_state, get_tags
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from engine import losses, metrics, optimizers
from engine._base.checks import LARGEST
from engine._base.random_state import seeded
from engine.callbacks import Callback
from engine.losses.loss import registry
from engine.models import Model
from engine.sklearn.samples import Array, checked_sample_weights
from engine.wrappers._routing import SEPARATOR, accepted_by, instantiated, routed

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from typing_extensions import Self

_COMPILE = {"optimizer", "loss", "metrics", "loss_weights", "weighted_metrics", "run_eagerly"}
"""Parameters for `Model.compile`."""
_FIT = {
    "batch_size",
    "epochs",
    "verbose",
    "validation_split",
    "shuffle",
    "class_weight",
    "initial_epoch",
    "validation_steps",
    "validation_batch_size",
    "validation_freq",
}
"""Parameters for `Model.fit`."""
_PREDICT = {"batch_size", "verbose", "steps"}
"""Parameters for `Model.predict`."""
_DESTINATIONS = ("model", "fit", "compile", "predict", "optimizer", "loss", "metrics", "callbacks", "score")
"""Prefixes of routed parameters."""
_FULL_NAMES = {
    "acc": "accuracy",
    "kld": "kl_divergence",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "mse": "mean_squared_error",
    "msle": "mean_squared_logarithmic_error",
}
"""Names in `history_` of metrics that are compiled by a short name."""
_CHOSEN_BY_MODEL = {"accuracy", "acc", "crossentropy", "ce"}
"""Names of metrics that stand for several classes."""
ALL_SAMPLES = -1
"""The value of `batch_size` that stands for the number of all samples."""
SPARSE_FORMATS = ("csr", "csc")
"""Formats of SciPy that models read without a copy of all numbers; others are converted to the first."""


class BaseWrapper(BaseEstimator):
    """A model as an estimator of scikit-learn, without a meaning of its outputs: the base of the two wrappers.

    Derive from it for estimators of other kinds, such as an autoencoder. A derived class may define `_keras_build_fn` in
    place of `model`, and override `target_encoder`, `feature_encoder` and `scorer`.

    Args:
        model: a function that returns a model, or a model. Arguments of the function that are called `meta`,
            `compile_kwargs` and `params` get a dict of the estimator's attributes that end with `_`, such as
            `n_features_in_`; a dict of arguments for `Model.compile`; and a dict of all parameters.
        build_fn: the older name of `model`.
        warm_start: whether `fit` continues with the current weights.
        random_state: seed or generator for weights, dropout and the order of samples. None uses the random state that
            `utils.set_random_seed` sets.
        optimizer: name, class or instance, if `model` returns a model that is not compiled.
        loss: name, class, instance or function, for the same case.
        metrics: name, class, instance or function, or a list or dict of these, for the same case.
        batch_size: samples per step in training and prediction; None is 32, and -1 is all samples.
        validation_batch_size: samples per step in validation, likewise.
        verbose: 0 prints nothing, 1 a progress bar, 2 a line per epoch.
        callbacks: callback, its class, or a list or dict of these.
        validation_split: fraction of the samples, taken from the end, that is used for validation.
        shuffle: whether to shuffle the samples in every epoch.
        run_eagerly: for `Model.compile`.
        epochs: number of passes through the samples.
        **kwargs: arguments of `model`, by their names or as `model__units=32`, and other routed parameters. The prefixes
            are `optimizer`, `loss`, `metrics` and `callbacks`, as in `optimizer__learning_rate=0.1`, for the
            constructors of these, and `compile`, `fit`, `predict` and `score`, as in `fit__batch_size=32`.

    Attributes:
        model_: the model.
        history_: dict from the name of each loss and metric to the list of its values, one for each epoch. A metric with
            a short name, as "mse", has its full one there.
        target_encoder_: the fitted `target_encoder`.
        feature_encoder_: the fitted `feature_encoder`.
        target_type_: scikit-learn's name of the kind of the targets, such as "multiclass".
        n_features_in_: number of features.
        feature_names_in_: names of the columns, if `X` was a DataFrame with string column names.
        X_dtype_, X_shape_: dtype and shape of the samples.
        y_dtype_, y_ndim_: dtype and number of axes of the targets.
    """

    model_: Model
    history_: dict[str, list[Any]]

    # Parameters of `Model.fit` that an estimator treats itself.
    _not_for_fit: ClassVar[Collection[str]] = ()

    def __init__(
        self,
        model: Callable[..., Model] | Model | None = None,
        *,
        build_fn: Callable[..., Model] | Model | None = None,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Any = None,
        batch_size: int | None = None,
        validation_batch_size: int | None = None,
        verbose: int = 1,
        callbacks: Any = None,
        validation_split: float = 0.0,
        shuffle: bool = True,
        run_eagerly: bool = False,
        epochs: int = 1,
        **kwargs: Any,
    ) -> None:
        self.model = model
        self.build_fn = build_fn
        self.warm_start = warm_start
        self.random_state = random_state
        self.optimizer = optimizer
        self.loss = loss
        self.metrics = metrics
        self.batch_size = batch_size
        self.validation_batch_size = validation_batch_size
        self.verbose = verbose
        self.callbacks = callbacks
        self.validation_split = validation_split
        self.shuffle = shuffle
        self.run_eagerly = run_eagerly
        self.epochs = epochs
        self.__dict__.update(kwargs)

    # Parameters ------------------------------------------------------------------------------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Returns all parameters by name, with those of `**kwargs`.

        Args:
            deep: whether to add the parameters of parameters that are estimators.
        """
        params = {name: value for name, value in vars(self).items() if name[0] != "_" and name[-1] != "_"}
        for name, value in list(params.items()) if deep else ():
            if hasattr(value, "get_params") and not isinstance(value, type):
                params.update({name + SEPARATOR + key: item for key, item in value.get_params().items()})
        return params

    def set_params(self, **params: Any) -> Self:
        """Sets parameters, and returns the estimator.

        Args:
            **params: parameters of the constructor, and routed ones, such as `optimizer__learning_rate=0.1`, whether or not
                the constructor got them.

        Raises:
            ValueError: for an unknown parameter.
        """
        parameters = self.get_params()
        for name, value in params.items():
            destination, separator, _ = name.partition(SEPARATOR)
            if separator and destination in _DESTINATIONS:
                setattr(self, name, value)
            elif destination in parameters:
                super().set_params(**{name: value})
            else:
                msg = (
                    f"Invalid parameter {name!r} for estimator {type(self).__name__}. An argument of the build function is "
                    f"`model__{name}`; or give it to the constructor first, as in {type(self).__name__}({name}=...)"
                )
                raise ValueError(msg)
        return self

    def _constructor_params(self) -> dict[str, Any]:
        """Returns the parameters of this estimator itself."""
        return self.get_params(deep=False)

    def _arguments_by_name(self) -> set[str]:
        """Returns the names of parameters that no constructor of the class names: those of `**kwargs`."""
        named = {
            name
            for cls in type(self).__mro__
            if "__init__" in vars(cls)
            for name in inspect.signature(vars(cls)["__init__"]).parameters
        }
        return {name for name in self._constructor_params() if name not in named and SEPARATOR not in name}

    # Hooks for derived classes ---------------------------------------------------------------------------------------

    @property
    def target_encoder(self) -> Any:
        """A transformer from targets to those of the model, and from outputs of the model to predictions."""
        return FunctionTransformer()

    @property
    def feature_encoder(self) -> Any:
        """A transformer from samples to inputs of the model: an array, or a list or dict of arrays."""
        return FunctionTransformer()

    @staticmethod
    def scorer(y_true: Any, y_pred: Any, **kwargs: Any) -> float:
        """Returns the score of predictions. A derived class defines it.

        Args:
            y_true: targets, (n,) or (n, outputs).
            y_pred: predictions, likewise.
            **kwargs: `sample_weight`, and parameters with the prefix `score__`.
        """
        msg = "this estimator has no score: override the static method `scorer(y_true, y_pred, **kwargs)`"
        raise TypeError(msg)

    def _type_of_target(self, y: Any) -> str:
        return str(type_of_target(y))

    def _sample_weights(self, y: Any, sample_weight: Array | None) -> Array | None:
        """Returns the weights of samples (n,) or None, given checked targets and the weights that the caller gave."""
        del y
        return sample_weight

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return self.initialized_

    # Checks ----------------------------------------------------------------------------------------------------------

    def _validate_data(
        self,
        X: Any = None,  # noqa: N803
        y: Any = None,
        reset: bool = False,
        y_numeric: bool = False,  # scikit-learn's name
    ) -> tuple[Any, Any]:
        """Checks samples and targets, and learns their shapes and dtypes or compares them with those of `fit`.

        Args:
            X: samples (n, features, ...), or None.
            y: targets (n,) or (n, outputs), or None.
            reset: whether to learn rather than to compare.
            y_numeric: whether targets must be numbers.

        Returns:
            The arrays.
        """
        if X is not None:
            X = validate_data(self, X, accept_sparse=SPARSE_FORMATS, allow_nd=True, reset=reset)  # noqa: N806
            if reset:
                self.X_dtype_, self.X_shape_ = X.dtype, X.shape
            elif X.shape[1:] != self.X_shape_[1:]:
                msg = f"each sample of `X` has shape {X.shape[1:]}, but {self.X_shape_[1:]} is expected as in `fit`"
                raise ValueError(msg)
        if y is not None:
            dtype = y.dtype if hasattr(y, "dtype") else np.asarray(y).dtype
            numeric = y_numeric and dtype.kind in "OUS"
            y = check_array(
                y,
                ensure_2d=False,
                accept_sparse="csr",
                dtype=np.float64 if numeric else None,
                input_name="y",
                estimator=self,
            )
            if np.iscomplexobj(y):
                msg = f"Complex data not supported: `y` has dtype {y.dtype}"
                raise ValueError(msg)
            if X is not None:
                check_consistent_length(X, y)
            if reset:
                self.target_type_ = self._type_of_target(y)
                self.y_dtype_, self.y_ndim_ = y.dtype, y.ndim
            elif y.ndim != self.y_ndim_:
                msg = f"`y` has {y.ndim} axes, but {self.y_ndim_} are expected as in `fit`"
                raise ValueError(msg)
        return X, y

    # The model -------------------------------------------------------------------------------------------------------

    @property
    def initialized_(self) -> bool:
        """Whether there is a model, so that `predict` may be called."""
        return "model_" in vars(self)

    @property
    def current_epoch(self) -> int:
        """The number of epochs so far."""
        return len(vars(self).get("history_", {}).get("loss", ()))

    def _build_function(self) -> Callable[..., Model]:
        """Returns the function that makes the model.

        Raises:
            ValueError: if neither `model` nor `_keras_build_fn` is there, or both are.
            TypeError: if `model` is neither a model nor a function.
        """
        model = self.build_fn if self.model is None else self.model
        build_function: Callable[..., Model] | None = getattr(self, "_keras_build_fn", None)
        if model is None and build_function is None:
            msg = f"{type(self).__name__} needs `model`, a function that returns a model, or a method `_keras_build_fn`"
            raise ValueError(msg)
        if model is None and build_function is not None:
            return build_function
        if isinstance(model, Model):
            given_model = model
            return lambda: given_model
        if build_function is not None:
            msg = f"{type(self).__name__} defines `_keras_build_fn`, so that it can't have `model` too"
            raise ValueError(msg)
        if not callable(model) or isinstance(model, type):
            msg = f"`model` must be a model or a function that returns one, got {model!r}"
            raise TypeError(msg)
        return model

    def _metadata(self) -> dict[str, Any]:
        """Returns the attributes that end with `_`: what is known of samples and targets."""
        return {name: value for name, value in vars(self).items() if name[0] != "_" and name[-1] == "_"}

    def _compile_arguments(self) -> dict[str, Any]:
        """Returns the arguments for `Model.compile`, with objects made from classes and routed parameters."""
        params = self._constructor_params()
        arguments = routed(params, "compile", _COMPILE)
        for name, class_of in (
            ("optimizer", _class_of_optimizer),
            ("loss", _class_of_loss),
            ("metrics", _class_of_metric),
        ):
            arguments[name] = instantiated(arguments.get(name), routed(params, name), class_of)
        if isinstance(arguments["optimizer"], optimizers.Optimizer):
            # An optimizer belongs to one model. Each fit gets its own.
            arguments["optimizer"] = copy.deepcopy(arguments["optimizer"])
        if arguments["metrics"] is not None and not isinstance(arguments["metrics"], list | dict | tuple):
            arguments["metrics"] = [arguments["metrics"]]
        return arguments

    def _build(self) -> Model:
        """Returns a new, compiled model.

        Raises:
            TypeError: if the build function returns something else than a model.
            ValueError: if the model has no loss, neither its own nor the estimator's.
        """
        function: Callable[..., Any] = self._build_function()
        arguments = self._build_arguments(function)
        if accepted_by(function, "meta"):
            arguments["meta"] = self._metadata()
        if accepted_by(function, "compile_kwargs"):
            arguments["compile_kwargs"] = self._compile_arguments()
        if accepted_by(function, "params"):
            arguments["params"] = self.get_params()
        with self._seeded(0):
            model = function(**arguments)
            if not isinstance(model, Model):
                msg = f"`model` must return a model, got {model!r}"
                raise TypeError(msg)
            if not model.compiled:
                model.compile(**self._compile_arguments())
        return model

    def _build_arguments(self, function: Callable[..., Model]) -> dict[str, Any]:
        """Returns the parameters for the build function."""
        reserved = _FIT | _PREDICT | _COMPILE
        names = {
            name for name in self._arguments_by_name() if name not in reserved or accepted_by(function, name)
        }
        arguments = routed(self._constructor_params(), "model", names)
        return {name: value for name, value in arguments.items() if SEPARATOR not in name}

    def _require_matching_model(self) -> None:
        """Raises ValueError if the model has no loss, another loss than the estimator's, or too many outputs."""
        model = self.model_
        loss = loss_of(model)
        listed = list(loss.values()) if isinstance(loss, dict) else loss
        if not (any(item is not None for item in listed) if isinstance(listed, list | tuple) else listed):
            msg = "there is no loss: pass `loss` to the estimator, or compile the model with one in the build function"
            raise ValueError(msg)
        own_loss, models_loss = _type_of_loss(self.loss), _type_of_loss(loss)
        if own_loss is not None and models_loss is not None and own_loss is not models_loss:
            msg = f"the estimator has loss={self.loss!r}, but its model is compiled with {loss!r}: give one of them"
            raise ValueError(msg)
        expected = getattr(self, "n_outputs_expected_", None)
        outputs = len(model.output_names) if expected and model.built else expected
        if expected != outputs:
            msg = (
                f"the model has {outputs} outputs, but {expected} is expected for these targets: for several outputs, "
                "override `target_encoder` with a transformer to a list of targets"
            )
            raise ValueError(msg)

    def _seeded(self, draw: int) -> AbstractContextManager[None]:
        """Returns a context whose random numbers depend on `random_state`, and on the number of the draw."""
        if self._seeds is None:
            return nullcontext()
        return seeded((self._seeds[min(draw, 1)] + max(draw - 1, 0)) % LARGEST)

    def _instantiated_callbacks(self, name: str) -> list[Any]:
        """Returns the callbacks of a parameter, as a list.

        Raises:
            TypeError: if one of them is not a callback.
        """
        params = self._constructor_params()
        instances = instantiated(params.get(name), routed(params, name), _class_of_callback)
        listed = list(instances.values()) if isinstance(instances, Mapping) else instances
        if listed is None or isinstance(listed, Callback):
            listed = [] if listed is None else [listed]
        flat = (
            [
                callback
                for item in listed
                for callback in (item if isinstance(item, list | tuple) else (item,))
            ]
            if isinstance(listed, list | tuple)
            else [listed]
        )
        for callback in flat:
            if not isinstance(callback, Callback):
                msg = f"`{name}` must be a callback, its class, or a list or dict of these, but there is {callback!r}"
                raise TypeError(msg)
        return flat

    def _initialize(self, X: Any, y: Any = None) -> tuple[Any, Any]:  # noqa: N803
        """Checks samples and targets, fits the encoders, and makes the model. Returns the checked arrays."""
        self._seeds = None
        if self.random_state is not None:
            # A generator is not advanced: each fit draws the same numbers, as in SciKeras.
            random = check_random_state(copy.deepcopy(self.random_state))
            self._seeds = [int(number) for number in random.randint(LARGEST, size=2)]
        X, y = self._validate_data(X, y, reset=True)  # noqa: N806
        for name, encoder, data in (
            ("target_encoder_", self.target_encoder, y),
            ("feature_encoder_", self.feature_encoder, X),
        ):
            fitted = encoder.fit(data)
            setattr(self, name, fitted)
            self.__dict__.update(getattr(fitted, "get_metadata", dict)())
        self.model_ = self._build()
        return X, y

    def initialize(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Makes the model without training it, for example one that is trained already, and returns the estimator.

        Args:
            X: samples (n, features), as for `fit`.
            y: targets, as for `fit`.
        """
        self._initialize(X, y)
        return self

    # Training --------------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **kwargs: Any) -> Self:  # noqa: N803
        """Makes a model, or with `warm_start` takes the current one, and trains it.

        Args:
            X: numbers (n, features, ...) as an array, a DataFrame or a sparse matrix.
            y: targets (n,) or (n, outputs).
            sample_weight: weights (n,). Samples of weight 0 are left out.
            **kwargs: further arguments for `Model.fit`, such as `validation_data=(X, y)`, in place of parameters.

        Returns:
            The estimator.
        """
        kwargs.setdefault("epochs", getattr(self, "fit__epochs", self.epochs))
        self._fit(X, y, sample_weight, warm_start=self.warm_start, **{"initial_epoch": 0, **kwargs})
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, **kwargs: Any) -> Self:  # noqa: N803
        """Trains for one epoch, from the current weights and optimizer state, and appends to `history_`.

        Args:
            X: samples, as for `fit`.
            y: targets, as for `fit`.
            sample_weight: weights (n,), as for `fit`.
            **kwargs: further arguments for `Model.fit`.

        Returns:
            The estimator.

        Raises:
            TypeError: for the arguments `epochs` and `initial_epoch`.
        """
        for name in ("epochs", "initial_epoch"):
            if name in kwargs:
                msg = (
                    f"partial_fit trains for one epoch, from the current one, and takes no `{name}`: use fit"
                )
                raise TypeError(msg)
        self._fit(X, y, sample_weight, warm_start=True, epochs=1, initial_epoch=self.current_epoch, **kwargs)
        return self

    def _fit(
        self,
        X: Any,  # noqa: N803
        y: Any,
        sample_weight: Any,
        *,
        warm_start: bool,
        epochs: int,
        initial_epoch: int,
        **kwargs: Any,
    ) -> None:
        """Trains the model for `epochs` epochs, the first of which has the number `initial_epoch`."""
        if y is None and get_tags(self).target_tags.required:
            msg = f"This {type(self).__name__} estimator requires y to be passed, but the target y is None."
            raise ValueError(msg)
        if warm_start and self.initialized_:
            X, y = self._validate_data(X, y)  # noqa: N806
        else:
            X, y = self._initialize(X, y)  # noqa: N806
        self._require_matching_model()
        weights = self._sample_weights(y, checked_sample_weights(sample_weight, X.shape[0]))
        if sample_weight is not None and weights is not None:
            nonzero = weights != 0
            X, y, weights = X[nonzero], y[nonzero], weights[nonzero]  # noqa: N806
        if "validation_data" in kwargs or hasattr(self, "fit__validation_data"):
            validation_data = kwargs.get("validation_data", getattr(self, "fit__validation_data", None))
            kwargs["validation_data"] = self._encoded_for_validation(validation_data)
        arguments = routed(self._constructor_params(), "fit", _FIT - set(self._not_for_fit))
        callbacks = self._instantiated_callbacks("callbacks") + self._instantiated_callbacks("fit__callbacks")
        callbacks += kwargs.pop("callbacks", None) or []
        arguments.update(epochs=initial_epoch + epochs, initial_epoch=initial_epoch, sample_weight=weights)
        arguments.update(kwargs, callbacks=callbacks)
        arguments = _without_callback_parameters(arguments, X.shape[0])
        x, targets = self.feature_encoder_.transform(X), self.target_encoder_.transform(y)
        try:
            with self._seeded(1 + initial_epoch):
                history = self.model_.fit(x=x, y=targets, **arguments)
        finally:
            for callback in callbacks:
                callback.model = (
                    None  # so that copies and pickles of the estimator don't hold the model twice
                )
        if initial_epoch == 0 or "history_" not in vars(self):
            self.history_ = {}
        for name, values in history.history.items():
            self.history_.setdefault(_FULL_NAMES.get(name, name), []).extend(values)

    def _encoded_for_validation(self, value: Any) -> Any:
        """Returns `validation_data` with encoded samples and targets; what is no tuple of arrays stays what it is."""
        if not isinstance(value, tuple | list) or len(value) not in (2, 3):
            return value
        x, y, *weights = value
        x, y = self._validate_data(x, y)
        return (self.feature_encoder_.transform(x), self.target_encoder_.transform(y), *weights)

    # Predicting ------------------------------------------------------------------------------------------------------

    def _predict_raw(self, X: Any, **kwargs: Any) -> Any:  # noqa: N803
        """Returns the outputs of the model."""
        check_is_fitted(self)
        X, _ = self._validate_data(X)  # noqa: N806
        arguments = routed(self._constructor_params(), "predict", _PREDICT)
        arguments["callbacks"] = self._instantiated_callbacks("callbacks") + self._instantiated_callbacks(
            "predict__callbacks"
        )
        arguments.update(kwargs)
        arguments = _without_callback_parameters(arguments, X.shape[0])
        try:
            return self.model_.predict(x=self.feature_encoder_.transform(X), **arguments)
        finally:
            for callback in arguments["callbacks"]:
                callback.model = None

    def predict(self, X: Any, **kwargs: Any) -> Any:  # noqa: N803
        """Returns the predictions for each sample: (n,), or (n, outputs).

        Args:
            X: samples, as for `fit`.
            **kwargs: further arguments for `Model.predict`, in place of parameters.
        """
        outputs = self._predict_raw(X, **kwargs)
        return self.target_encoder_.inverse_transform(outputs)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """Returns the `scorer`'s score of the predictions.

        Args:
            X: samples, as for `fit`.
            y: targets, as for `fit`.
            sample_weight: weights (n,), or None.
        """
        check_is_fitted(self)
        _, y = self._validate_data(None, y)
        options = routed(self._constructor_params(), "score")
        weights = checked_sample_weights(sample_weight, y.shape[0])
        return self.scorer(y, self.predict(X), sample_weight=weights, **options)


def _without_callback_parameters(arguments: dict[str, Any], count: int) -> dict[str, Any]:
    """Returns arguments for `fit` or `predict` without parameters of callbacks, and with numbers of samples for -1."""
    remaining = {name: value for name, value in arguments.items() if not name.startswith("callbacks__")}
    return {
        name: count if name.endswith("batch_size") and value == ALL_SAMPLES else value
        for name, value in remaining.items()
    }


def loss_of(model: Model) -> Any:
    """Returns the loss that a model is compiled with. In a model from a file or a pickle it is a config."""
    loss = model.loss
    return losses.get(loss) if isinstance(loss, Mapping) and "class_name" in loss else loss


def _class_of_optimizer(name: str) -> Any:
    return type(optimizers.get(name))


def _class_of_loss(name: str) -> Any:
    """Returns the class of a loss, also for the name of a function such as "binary_crossentropy"."""
    return type(registry.get(name))


def _class_of_metric(name: str) -> Any:
    """Returns the class of a metric; the name itself if the model chooses one of several classes for it."""
    return name if name in _CHOSEN_BY_MODEL else type(metrics.get(name))


def _class_of_callback(name: str) -> Any:
    msg = f"a callback must be an object or its class, got {name!r}"
    raise TypeError(msg)


def _type_of_loss(loss: Any) -> type | None:
    """Returns the class of a loss that is given by name, class or instance; None for others, such as functions."""
    if isinstance(loss, str):
        return type(registry.get(loss))
    if isinstance(loss, type):
        return loss
    return type(loss) if isinstance(loss, losses.Loss) else None
