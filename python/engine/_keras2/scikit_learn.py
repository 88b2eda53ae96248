"""`keras.wrappers.scikit_learn` of Keras 2: `KerasClassifier(build_fn=...)` and `KerasRegressor(build_fn=...)`.

Scripts that were written for it run with `from engine.wrappers.scikit_learn import KerasClassifier`. For new ones, take
`KerasClassifier` of `engine.wrappers`, whose parameters are routed to model and optimizer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from engine import wrappers
from engine.callbacks import History
from engine.models import Model

if TYPE_CHECKING:
    from engine.sklearn.samples import Array
    from engine.wrappers import BaseWrapper as _Wrapper
else:
    _Wrapper = object

__all__ = ["KerasClassifier", "KerasRegressor"]

# Arguments of `Model.fit` that the estimators pass on themselves.
_PASSED_ON = {"x", "y", "sample_weight", "callbacks", "epochs", "initial_epoch"}


class _ByName(_Wrapper):
    """What both wrappers have in common: the name of a parameter decides whether it is for `build_fn` or for `fit`."""

    build_fn: Callable[..., Model] | None
    _not_for_fit: ClassVar[tuple[str, ...]] = ()

    def __init__(self, build_fn: Callable[..., Model] | None = None, **sk_params: Any) -> None:
        super().__init__(build_fn=build_fn)
        self._sk_params: dict[str, Any] = {}
        self.set_params(**sk_params)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Returns the parameters that the constructor and `set_params` got, by name.

        Args:
            deep: has no effect.
        """
        del deep
        return {"build_fn": self.build_fn, **self._sk_params}

    def set_params(self, **params: Any) -> Any:
        """Sets parameters, and returns the estimator.

        Args:
            **params: parameters of the constructor.

        Raises:
            ValueError: for a name that is an argument of neither `build_fn` nor `Model.fit`, `evaluate` and `predict`.
        """
        self.build_fn = params.pop("build_fn", self.build_fn)
        names = _names_of(self._build_function(), Model.fit, Model.evaluate, Model.predict)
        for name in params:
            if name not in names:
                msg = f"{name!r} is not a legal parameter: the build function, Model.fit and Model.predict have no such argument"
                raise ValueError(msg)
        self._sk_params.update(params)
        if "epochs" in params:
            self.epochs = params["epochs"]
        return self

    def fit(self, X: Any, y: Any, **kwargs: Any) -> History:  # type: ignore[override]  # noqa: N803 # Keras 2 returns this
        """Makes and trains a model.

        Args:
            X: numbers (n, features).
            y: targets (n,) or (n, outputs).
            **kwargs: arguments for `Model.fit`, in place of parameters.

        Returns:
            What `Model.fit` returned.
        """
        names = _names_of(Model.fit) - _PASSED_ON
        arguments = {name: value for name, value in self._sk_params.items() if name in names}
        super().fit(X, y, **{**arguments, **kwargs})
        history = self.model_.history
        if history is None:
            raise RuntimeError
        return history

    def _build_function(self) -> Callable[..., Model]:
        return self.build_fn or self.__call__  # of a derived class

    def _build_arguments(self, function: Callable[..., Model]) -> dict[str, Any]:
        names = _names_of(function)
        return {name: value for name, value in self._sk_params.items() if name in names}

    def _build(self) -> Model:
        self.model = super()._build()
        return self.model


class KerasClassifier(_ByName, wrappers.KerasClassifier):
    """Keras 2's wrapper of a model as a classifier.

    Args:
        build_fn: a function that returns a compiled model. None stands for the method `__call__` of a derived class.
        **sk_params: arguments of `build_fn`, of `Model.fit` and of `Model.predict`, such as `epochs` and `batch_size`.

    Attributes:
        model: the trained model, also `model_`.
        classes_: labels, sorted.
    """

    def _sample_weights(self, y: Any, sample_weight: Array | None) -> Array | None:
        del y  # `class_weight` is for `Model.fit`
        return sample_weight


class KerasRegressor(_ByName, wrappers.KerasRegressor):
    """Keras 2's wrapper of a model as a regressor. Its score is the negative loss.

    Args:
        build_fn: a function that returns a compiled model. None stands for the method `__call__` of a derived class.
        **sk_params: arguments of `build_fn`, of `Model.fit` and of `Model.predict`, such as `epochs` and `batch_size`.

    Attributes:
        model: the trained model, also `model_`.
    """

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803 # scikit-learn's name
        """Returns the negative loss of the model.

        Args:
            X: samples, as for `fit`.
            y: targets, as for `fit`.
            sample_weight: weights (n,), or None.
        """
        X, y = self._validate_data(X, y)  # noqa: N806
        options = {name: self._sk_params[name] for name in ("batch_size",) if name in self._sk_params}
        logs = self.model_.evaluate(X, y, sample_weight=sample_weight, verbose=0, return_dict=True, **options)
        return -float(logs["loss"])


def _names_of(*functions: Callable[..., Any]) -> set[str]:
    """Returns the names of the arguments of functions."""
    return {name for function in functions for name in inspect.signature(function).parameters}
