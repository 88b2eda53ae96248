"""scikit-learn's multilayer perceptrons, computed by the engine, and its searches for parameters, on all cores at once.

`joblib.parallel_config(backend="engine")` lets all tools of scikit-learn fit these estimators so.

They need scikit-learn 1.7 or newer: `pip install "scikit-learn>=1.7"`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine._base.lazy_imports import on_first_use

try:
    from engine.sklearn._classifier import MLPClassifier
    from engine.sklearn._regressor import MLPRegressor
except ImportError as error:
    msg = f'engine.sklearn needs scikit-learn 1.7 or newer ({error}): pip install "scikit-learn>=1.7"'
    raise ImportError(msg) from error

if TYPE_CHECKING:
    from engine.sklearn.searches import (
        GridSearchCV,
        HalvingGridSearchCV,
        HalvingRandomSearchCV,
        RandomizedSearchCV,
    )

__all__ = [
    "GridSearchCV",
    "HalvingGridSearchCV",
    "HalvingRandomSearchCV",
    "MLPClassifier",
    "MLPRegressor",
    "RandomizedSearchCV",
]

if not TYPE_CHECKING:  # type checkers would take every name for one that is there
    __getattr__ = on_first_use(
        __name__,
        GridSearchCV="searches",
        HalvingGridSearchCV="searches",
        HalvingRandomSearchCV="searches",
        RandomizedSearchCV="searches",
    )
