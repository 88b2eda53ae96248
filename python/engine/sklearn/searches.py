"""scikit-learn's searches for parameters, which fit the engine's estimators on all cores at once."""

from __future__ import annotations

from functools import wraps
from inspect import Parameter, signature
from typing import Any, cast

from joblib import parallel_config
from sklearn import model_selection
from sklearn.base import BaseEstimator
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 # it adds the two classes to model_selection

from engine._cluster.opening import opened, picklable
from engine.sklearn.threads import NAME

_PACKAGE = __name__.partition(".")[0] + "."


class _OnAllCores:
    """Fits candidates on Python threads if the estimator, or one within it, is the engine's; otherwise as scikit-learn does.

    The code of the search is scikit-learn's, and a fit has the same bits on any number of threads. So the results are the same if
    `random_state` of the estimator is an integer; otherwise fits draw their seeds in the order in which they begin.
    """

    estimator: Any
    backend: Any

    def __init_subclass__(cls) -> None:
        """Gives the class the arguments of scikit-learn's, in the version that is installed, and `backend`."""
        base = cls.__init__

        @wraps(base)
        def init(self: Any, *args: Any, backend: Any = None, **kwargs: Any) -> None:
            base(self, *args, **kwargs)
            self.backend = backend

        known = signature(base)
        added = Parameter("backend", Parameter.KEYWORD_ONLY, default=None)
        init.__signature__ = known.replace(parameters=[*known.parameters.values(), added])  # type: ignore[attr-defined]
        cls.__init__ = init  # type: ignore[method-assign] # as written in a class statement

    def __getstate__(self) -> dict[str, Any]:
        """A pickle of a search has the address of the scheduler in place of a client. scikit-learn pickles it with each job."""
        return {**cast("dict[str, Any]", super().__getstate__()), "backend": picklable(self.backend)}

    def fit(self, X: Any, y: Any = None, **params: Any) -> Any:  # noqa: N803 # scikit-learn's name
        """Fits the estimator for all candidates, and again for the best one; see scikit-learn.

        Args:
            X: samples, array-like (n, features).
            y: targets, array-like (n,) or (n, outputs).
            params: passed to `fit` of the estimator, the scorer and the splitter.

        Returns:
            The search itself.
        """
        if self.backend is not None:
            with opened(self.backend) as workers, workers.for_joblib():
                return super().fit(X, y, **params)  # type: ignore[misc] # of the search
        if not _has_estimator_of_engine(self.estimator):
            return super().fit(X, y, **params)  # type: ignore[misc] # of the search
        with parallel_config(backend=NAME):
            return super().fit(X, y, **params)  # type: ignore[misc] # of the search


class GridSearchCV(_OnAllCores, model_selection.GridSearchCV):
    """scikit-learn's `GridSearchCV` with the same arguments, attributes and results, which fits candidates on all cores at once.

    `n_jobs` is the number of fits at a time; None is as many as the engine has threads. They are threads of this process, so
    that the data are neither copied nor pickled. `backend="joblib"`, `"dask"` and `"ray"`, a `distributed.Client` or the address of
    its scheduler run them on processes, as for `keras.fit_many`, each on one thread.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from engine.sklearn import GridSearchCV, MLPClassifier
        >>> x, y = load_iris(return_X_y=True)
        >>> estimator = MLPClassifier((16,), max_iter=1000, tol=1e-3, random_state=0)
        >>> search = GridSearchCV(estimator, {"learning_rate_init": [0.001, 0.01]}, cv=3).fit(x, y)
        >>> search.best_params_
        {'learning_rate_init': 0.01}
    """


class RandomizedSearchCV(_OnAllCores, model_selection.RandomizedSearchCV):
    """scikit-learn's `RandomizedSearchCV` as `GridSearchCV` here, with `backend`."""


class HalvingGridSearchCV(_OnAllCores, model_selection.HalvingGridSearchCV):
    """scikit-learn's `HalvingGridSearchCV` as `GridSearchCV` here, with `backend`."""


class HalvingRandomSearchCV(_OnAllCores, model_selection.HalvingRandomSearchCV):
    """scikit-learn's `HalvingRandomSearchCV` as `GridSearchCV` here, with `backend`."""


def _has_estimator_of_engine(estimator: Any) -> bool:
    """Returns whether an estimator, or one in its parameters, is the engine's."""
    if not hasattr(estimator, "get_params"):
        return False
    within = estimator.get_params(deep=True).values()
    return any(
        isinstance(each, BaseEstimator)
        and any(base.__module__.startswith(_PACKAGE) for base in type(each).__mro__)
        for each in (estimator, *within)
    )
