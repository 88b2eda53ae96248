"""scikit-learn's multilayer perceptrons, computed by the engine.

The extra `sklearn` brings what they need: `pip install "mlp-engine[sklearn]"`.
"""

from __future__ import annotations

try:
    from engine.sklearn._classifier import MLPClassifier
    from engine.sklearn._regressor import MLPRegressor
except ImportError as error:
    msg = f'engine.sklearn needs scikit-learn 1.7 or newer ({error}): pip install "mlp-engine[sklearn]" brings it'
    raise ImportError(msg) from error

__all__ = ["MLPClassifier", "MLPRegressor"]
