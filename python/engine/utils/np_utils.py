"""The names that Keras 2 had in this module."""

from __future__ import annotations

from engine.utils.numbers import normalize, to_categorical

__all__ = ["normalize", "to_categorical"]
