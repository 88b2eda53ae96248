"""`SKLearnClassifier`, `SKLearnRegressor` and `SKLearnTransformer`: the wrappers that Keras 3 itself has."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
from sklearn.utils import get_tags
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from engine.callbacks import History
from engine.models import Model, clone_model
from engine.sklearn.samples import Array, raveled
from engine.wrappers._target_encoders import ClassifierLabelEncoder, RegressorTargetEncoder

if TYPE_CHECKING:
    from typing_extensions import Self


class SKLBase(BaseEstimator):
    """A compiled model as an estimator: the base of the wrappers of Keras 3.

    Args:
        model: a compiled model, which is copied before each training; or a function that returns one, and takes the
            arguments `X` and `y` and those of `model_kwargs`.
        warm_start: whether `fit` continues with the weights of the last one, and takes a given model without copying it.
        model_kwargs: dict of arguments for `model`, if it is a function.
        fit_kwargs: dict of arguments for `Model.fit`. Those given to `fit` come before them.
    """

    model_: Model
    history_: History

    def __init__(
        self,
        model: Callable[..., Model] | Model,
        warm_start: bool = False,
        model_kwargs: Mapping[str, Any] | None = None,
        fit_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.warm_start = warm_start
        self.model_kwargs = model_kwargs
        self.fit_kwargs = fit_kwargs

    def __sklearn_clone__(self) -> Self:
        model = copy.deepcopy(self.model) if isinstance(self.model, Model) else self.model
        params = {**self.get_params(deep=False), "model": model}
        return type(self)(**params)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = True
        return tags

    @property
    def epoch_(self) -> int:
        """The number of epochs of the last `fit`."""
        history = vars(self).get("history_")
        return 0 if history is None else len(history.epoch)

    def set_fit_request(self, **kwargs: Any) -> Self:
        """Says which metadata `fit` asks for, such as `sample_weight=True`. scikit-learn's guide describes requests.

        Args:
            **kwargs: True, False, None or another name, for each argument of `Model.fit`.

        Returns:
            The estimator.

        Raises:
            RuntimeError: if scikit-learn's metadata routing is not enabled.
        """
        if not get_config()["enable_metadata_routing"]:
            msg = "requests need metadata routing: call sklearn.set_config(enable_metadata_routing=True)"
            raise RuntimeError(msg)
        request = self._get_metadata_request()
        for name, alias in kwargs.items():
            request.fit.add_request(param=name, alias=alias)
        self._metadata_request = request
        return self

    def fit(self, X: Any, y: Any, **kwargs: Any) -> Self:  # noqa: N803 # scikit-learn's name
        """Trains a model.

        Args:
            X: numbers (n, features).
            y: targets (n,); those of regressors and transformers may be (n, outputs).
            **kwargs: arguments for `Model.fit`, such as `epochs=5`.

        Returns:
            The estimator.

        Raises:
            RuntimeError: if the model is not compiled with a loss and an optimizer.
        """
        several = get_tags(self).target_tags.multi_output
        X, y = validate_data(self, X, y, multi_output=several)  # noqa: N806
        y = raveled(y)
        continues = self.warm_start and "model_" in vars(self)
        targets = self._process_target(y, reset=not continues)
        model = self.model_ if continues else self._get_model(X, targets)
        if not (model.compiled and model.loss and model.optimizer):
            msg = f"the model must be compiled with a loss and an optimizer, got {model!r}"
            raise RuntimeError(msg)
        self.history_ = model.fit(X, targets, **{**(self.fit_kwargs or {}), **kwargs})
        self.model_ = model
        return self

    def predict(self, X: Any) -> Any:  # noqa: N803
        """Returns the predictions for each sample: (n,), or (n, outputs).

        Args:
            X: samples, as for `fit`.
        """
        return self._reverse_process_target(self._outputs(X))

    def _get_model(self, X: Array, y: Array) -> Model:  # noqa: N803
        """Returns the model to train."""
        if isinstance(self.model, Model):
            return self.model if self.warm_start else clone_model(self.model)
        return self.model(X=X, y=y, **(self.model_kwargs or {}))

    def _outputs(self, X: Any) -> Array:  # noqa: N803
        """Returns the outputs of the model, (n, outputs)."""
        check_is_fitted(self)
        return np.asarray(self.model_.predict(validate_data(self, X, reset=False), verbose=0))

    def _process_target(self, y: Array, reset: bool = False) -> Array:
        """Returns targets for the model, (n, outputs).

        Raises:
            ValueError: if `y` holds objects of an unknown kind.
        """
        type_of_target(y, input_name="y", raise_unknown=True)
        if reset:
            self._target_encoder = RegressorTargetEncoder().fit(y)
        encoded = self._target_encoder.transform(y)
        return encoded.reshape(-1, 1) if encoded.ndim == 1 else encoded

    def _reverse_process_target(self, y: Array) -> Array:
        """Returns predictions, given outputs of the model."""
        return self._target_encoder.inverse_transform(y)


class SKLearnClassifier(ClassifierMixin, SKLBase):
    """A compiled model as a classifier of scikit-learn. The model is trained on one-hot rows, (n, classes).

    `KerasClassifier` can do more: it tunes parameters of model and optimizer, and knows probabilities.

    Args:
        model: a compiled model, which is copied before each training; or a function that returns one, and takes the
            arguments `X` and `y` and those of `model_kwargs`. `y` are the one-hot rows.
        warm_start: whether `fit` continues with the weights of the last one, and takes a given model without copying it.
        model_kwargs: dict of arguments for `model`, if it is a function.
        fit_kwargs: dict of arguments for `Model.fit`. Those given to `fit` come before them.

    Attributes:
        model_: the trained model.
        history_: what `Model.fit` returned.
        classes_: labels, sorted.
        n_features_in_: number of features.
        feature_names_in_: names of the columns, if `X` was a DataFrame with string column names.

    Example:
        >>> import engine as keras
        >>> from engine.wrappers import SKLearnClassifier
        >>> from sklearn.datasets import load_iris
        >>> def build(X, y, units):
        ...     model = keras.Sequential([
        ...         keras.Input((X.shape[1],)),
        ...         keras.layers.Dense(units, activation="relu"),
        ...         keras.layers.Dense(y.shape[1], activation="softmax"),
        ...     ])
        ...     model.compile("adam", loss="categorical_crossentropy")
        ...     return model
        >>> classifier = SKLearnClassifier(build, model_kwargs={"units": 16}, fit_kwargs={"epochs": 60, "verbose": 0})
        >>> classifier.fit(*load_iris(return_X_y=True)).predict([[5.1, 3.5, 1.4, 0.2]]).shape
        (1,)
    """

    classes_: Array

    def decision_function(self, X: Any) -> Array:  # noqa: N803 # scikit-learn's name
        """Returns the outputs of the model, (n, classes).

        Args:
            X: samples, as for `fit`.
        """
        return self._outputs(X)

    def _process_target(self, y: Array, reset: bool = False) -> Array:
        kind = type_of_target(y, input_name="y", raise_unknown=True)
        if kind not in ("binary", "multiclass"):
            # scikit-learn's checks look for the first of these sentences.
            msg = f"Only binary and multiclass target types are supported. Target type: {kind}"
            raise ValueError(msg)
        if reset:
            self._target_encoder = ClassifierLabelEncoder("categorical_crossentropy").fit(y)
            self.classes_ = self._target_encoder.classes_
            if len(self.classes_) == 1:
                msg = "Classifier can't train when only one class is present."
                raise ValueError(msg)
        return self._target_encoder.transform(y)


class SKLearnRegressor(RegressorMixin, SKLBase):
    """A compiled model as a regressor of scikit-learn.

    Args:
        model: a compiled model, which is copied before each training; or a function that returns one, and takes the
            arguments `X` and `y` and those of `model_kwargs`. `y` are the targets, (n, outputs).
        warm_start: whether `fit` continues with the weights of the last one, and takes a given model without copying it.
        model_kwargs: dict of arguments for `model`, if it is a function.
        fit_kwargs: dict of arguments for `Model.fit`. Those given to `fit` come before them.

    Attributes:
        model_: the trained model.
        history_: what `Model.fit` returned.
        n_features_in_: number of features.
        feature_names_in_: names of the columns, if `X` was a DataFrame with string column names.
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True
        return tags


class SKLearnTransformer(TransformerMixin, SKLBase):
    """A compiled model as a transformer of scikit-learn: its outputs are the transformed samples, such as embeddings.

    Args:
        model: a compiled model, which is copied before each training; or a function that returns one, and takes the
            arguments `X` and `y` and those of `model_kwargs`.
        warm_start: whether `fit` continues with the weights of the last one, and takes a given model without copying it.
        model_kwargs: dict of arguments for `model`, if it is a function.
        fit_kwargs: dict of arguments for `Model.fit`. Those given to `fit` come before them.

    Attributes:
        model_: the trained model.
        history_: what `Model.fit` returned.
        n_features_in_: number of features.
        feature_names_in_: names of the columns, if `X` was a DataFrame with string column names.
    """

    def transform(self, X: Any) -> Array:  # noqa: N803 # scikit-learn's name
        """Returns the outputs of the model, (n, outputs).

        Args:
            X: samples, as for `fit`.
        """
        return self._outputs(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = []
        return tags
