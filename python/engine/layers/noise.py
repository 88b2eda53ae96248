"""The names that Keras 2 had in this module."""

from __future__ import annotations

from engine.layers.regularization import AlphaDropout, GaussianDropout, GaussianNoise

__all__ = ["AlphaDropout", "GaussianDropout", "GaussianNoise"]
