"""`KerasClassifier` and `KerasRegressor`: models as classifiers and regressors of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.multiclass import type_of_target

from engine import activations, losses
from engine.models import Model
from engine.sklearn.labels import class_weighted
from engine.sklearn.samples import Array
from engine.wrappers._base_wrapper import BaseWrapper, loss_of
from engine.wrappers._target_encoders import ONE_HOT, ClassifierLabelEncoder, RegressorTargetEncoder

if TYPE_CHECKING:
    from typing_extensions import Self


class KerasClassifier(ClassifierMixin, BaseWrapper):
    """A model as a classifier of scikit-learn, with the parameters and attributes of SciKeras' `KerasClassifier`.

    Labels may be numbers or strings; the model gets their indices, or one-hot rows if its loss is the categorical
    crossentropy. One-hot rows and several 0/1 labels per sample are taken as they are. In all of these cases predictions
    have the form of the labels.

    Args:
        model: a function that returns a model, or a model. Arguments of the function that are called `meta`,
            `compile_kwargs` and `params` get a dict of the estimator's attributes that end with `_`, such as
            `n_features_in_` and `n_classes_`; a dict of arguments for `Model.compile`; and a dict of all parameters.
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
        class_weight: dict from label to weight, or "balanced". Multiplied by `sample_weight`.
        **kwargs: arguments of `model`, by their names or as `model__units=32`, and other routed parameters. The prefixes
            are `optimizer`, `loss`, `metrics` and `callbacks`, as in `optimizer__learning_rate=0.1`, for the
            constructors of these, and `compile`, `fit`, `predict` and `score`, as in `fit__batch_size=32`.

    Attributes:
        classes_: labels, sorted.
        n_classes_: number of labels.
        model_: the model.
        history_: dict from the name of each loss and metric to the list of its values, one for each epoch. A metric with
            a short name, as "mse", has its full one there.
        target_encoder_: the fitted `target_encoder`.
        feature_encoder_: the fitted `feature_encoder`.
        target_type_: scikit-learn's name of the kind of the labels: "binary", "multiclass" or "multilabel-indicator".
        n_outputs_, n_outputs_expected_: the number of outputs that the model should have.
        n_features_in_: number of features.
        feature_names_in_: names of the columns, if `X` was a DataFrame with string column names.
        X_dtype_, X_shape_: dtype and shape of the samples.
        y_dtype_, y_ndim_: dtype and number of axes of the labels.

    Example:
        >>> import engine as keras
        >>> from engine.wrappers import KerasClassifier
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.model_selection import GridSearchCV
        >>> def build(meta, units=8):
        ...     return keras.Sequential([
        ...         keras.Input((meta["n_features_in_"],)),
        ...         keras.layers.Dense(units, activation="relu"),
        ...         keras.layers.Dense(meta["n_classes_"], activation="softmax"),
        ...     ])
        >>> classifier = KerasClassifier(
        ...     build, loss="sparse_categorical_crossentropy", optimizer="adam", epochs=40, batch_size=5,
        ...     verbose=0, random_state=0,
        ... )
        >>> X, y = load_iris(return_X_y=True)
        >>> search = GridSearchCV(classifier, {"model__units": [8, 16], "optimizer__learning_rate": [0.003, 0.01]}, cv=3)
        >>> bool(search.fit(X, y).best_score_ > 0.9)
        True
    """

    classes_: Any
    _not_for_fit: ClassVar[tuple[str, ...]] = ("class_weight",)

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
        class_weight: Mapping[Any, float] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            model=model,
            build_fn=build_fn,
            warm_start=warm_start,
            random_state=random_state,
            optimizer=optimizer,
            loss=loss,
            metrics=metrics,
            batch_size=batch_size,
            validation_batch_size=validation_batch_size,
            verbose=verbose,
            callbacks=callbacks,
            validation_split=validation_split,
            shuffle=shuffle,
            run_eagerly=run_eagerly,
            epochs=epochs,
            **kwargs,
        )
        self.class_weight = class_weight

    @property
    def target_encoder(self) -> Any:
        """A transformer from labels to targets of the model, and from outputs of the model to labels."""
        classes = self._declared_classes
        return ClassifierLabelEncoder(self.loss, "auto" if classes is None else [classes])

    @staticmethod
    def scorer(y_true: Any, y_pred: Any, **kwargs: Any) -> float:
        """Returns the accuracy. With several labels per sample, all of them must be right.

        Args:
            y_true: labels.
            y_pred: predicted labels.
            **kwargs: `sample_weight`, and parameters with the prefix `score__`.
        """
        return float(accuracy_score(y_true, y_pred, **kwargs))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803 # scikit-learn's name
        """Returns the accuracy, or what an overridden `scorer` returns.

        Args:
            X: samples, as for `fit`.
            y: labels, as for `fit`.
            sample_weight: weights (n,), or None.
        """
        return BaseWrapper.score(self, X, y, sample_weight)

    def partial_fit(  # type: ignore[override] # with scikit-learn's order of arguments
        self,
        X: Any,  # noqa: N803
        y: Any,
        classes: Any = None,
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Trains for one epoch, from the current weights and optimizer state, and appends to `history_`.

        Args:
            X: samples, as for `fit`.
            y: labels, as for `fit`.
            classes: all labels that will occur in any call; default those in `y`. Only the first call reads it.
            sample_weight: weights (n,), as for `fit`.
            **kwargs: further arguments for `Model.fit`.

        Returns:
            The estimator.
        """
        self._declared_classes = None if classes is None else np.unique(classes)
        try:
            return super().partial_fit(X, y, sample_weight, **kwargs)
        finally:
            self._declared_classes = None

    def _predict_raw(self, X: Any, **kwargs: Any) -> Any:  # noqa: N803
        """Returns the outputs of the model as probabilities, also if its loss reads logits."""
        outputs, loss = super()._predict_raw(X, **kwargs), loss_of(self.model_)
        if isinstance(outputs, list | dict) or not getattr(loss, "from_logits", False):
            return outputs
        several = (
            losses.CategoricalCrossentropy,
            losses.SparseCategoricalCrossentropy,
            losses.CategoricalFocalCrossentropy,
        )
        return activations.softmax(outputs) if isinstance(loss, several) else activations.sigmoid(outputs)

    def predict_proba(self, X: Any, **kwargs: Any) -> Array:  # noqa: N803
        """Returns the probability of each class, in the order of `classes_`: (n, classes).

        Args:
            X: samples, as for `fit`.
            **kwargs: further arguments for `Model.predict`, in place of parameters.
        """
        outputs = self._predict_raw(X, **kwargs)
        return np.asarray(self.target_encoder_.inverse_transform(outputs, return_proba=True))

    _declared_classes: Array | None = None
    """The argument `classes` of `partial_fit`, while that runs."""

    def _type_of_target(self, y: Any) -> str:
        kind, classes = str(type_of_target(y, input_name="y")), self._declared_classes
        return str(type_of_target(classes)) if kind == "binary" and classes is not None else kind

    def _build(self) -> Model:
        model = super()._build()
        encoder, loss = self.target_encoder_, loss_of(model)
        if (
            isinstance(encoder, ClassifierLabelEncoder)
            and encoder.loss is None
            and not isinstance(loss, list | dict)
        ):
            encoder.loss = loss
        return model

    def _sample_weights(self, y: Any, sample_weight: Array | None) -> Array | None:
        one_hot = getattr(self.target_encoder_, "_kind", None) == ONE_HOT
        return class_weighted(self.class_weight, y.argmax(axis=1) if one_hot else y, sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class KerasRegressor(RegressorMixin, BaseWrapper):
    """A model as a regressor of scikit-learn, with the parameters and attributes of SciKeras' `KerasRegressor`.

    Args:
        model: a function that returns a model, or a model. Arguments of the function that are called `meta`,
            `compile_kwargs` and `params` get a dict of the estimator's attributes that end with `_`, such as
            `n_features_in_` and `n_outputs_`; a dict of arguments for `Model.compile`; and a dict of all parameters.
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
        target_type_: scikit-learn's name of the kind of the targets, such as "continuous".
        n_outputs_: number of columns of the targets.
        n_outputs_expected_: number of outputs that the model should have.
        n_features_in_: number of features.
        feature_names_in_: names of the columns, if `X` was a DataFrame with string column names.
        X_dtype_, X_shape_: dtype and shape of the samples.
        y_dtype_, y_ndim_: dtype and number of axes of the targets.

    Example:
        >>> import engine as keras
        >>> from engine.wrappers import KerasRegressor
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> def build(meta, units=32):
        ...     return keras.Sequential([
        ...         keras.Input((meta["n_features_in_"],)),
        ...         keras.layers.Dense(units, activation="relu"),
        ...         keras.layers.Dense(1),
        ...     ])
        >>> regressor = KerasRegressor(
        ...     build, loss="mse", optimizer="adam", optimizer__learning_rate=0.01, epochs=60, verbose=0, random_state=0
        ... )
        >>> X, y = load_diabetes(return_X_y=True)
        >>> make_pipeline(StandardScaler(), regressor).fit(X, y).score(X, y) > 0.4
        True
    """

    @property
    def target_encoder(self) -> Any:
        """A transformer from targets to those of the model, and from outputs of the model to predictions."""
        return RegressorTargetEncoder()

    @staticmethod
    def scorer(y_true: Any, y_pred: Any, **kwargs: Any) -> float:
        """Returns R², the coefficient of determination.

        Args:
            y_true: targets.
            y_pred: predictions.
            **kwargs: `sample_weight`, and parameters with the prefix `score__`.
        """
        return float(r2_score(y_true, y_pred, **kwargs))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803 # scikit-learn's name
        """Returns R², or what an overridden `scorer` returns.

        Args:
            X: samples, as for `fit`.
            y: targets, as for `fit`.
            sample_weight: weights (n,), or None.
        """
        return BaseWrapper.score(self, X, y, sample_weight)

    def _validate_data(
        self,
        X: Any = None,  # noqa: N803
        y: Any = None,
        reset: bool = False,
        y_numeric: bool = True,
    ) -> tuple[Any, Any]:
        return super()._validate_data(X, y, reset, y_numeric)
