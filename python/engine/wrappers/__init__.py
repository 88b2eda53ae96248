"""Models as estimators of scikit-learn, as SciKeras and Keras wrap them.

They need scikit-learn 1.7 or newer: `pip install "scikit-learn>=1.7"`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine._base.lazy_imports import on_first_use

try:
    from engine.wrappers._base_wrapper import BaseWrapper
    from engine.wrappers._keras_estimators import KerasClassifier, KerasRegressor
    from engine.wrappers._sklearn_wrappers import SKLearnClassifier, SKLearnRegressor, SKLearnTransformer
    from engine.wrappers._target_encoders import ClassifierLabelEncoder, RegressorTargetEncoder
except ImportError as error:
    msg = f'engine.wrappers needs scikit-learn 1.7 or newer ({error}): pip install "scikit-learn>=1.7"'
    raise ImportError(msg) from error

__all__ = [
    "BaseWrapper",
    "ClassifierLabelEncoder",
    "KerasClassifier",
    "KerasRegressor",
    "RegressorTargetEncoder",
    "SKLearnClassifier",
    "SKLearnRegressor",
    "SKLearnTransformer",
]

if not TYPE_CHECKING:  # type checkers would take every name for one that is there
    __getattr__ = on_first_use(__name__, keras_tuner="keras_tuner")
