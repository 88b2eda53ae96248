"""The names that Keras 2 had in this module."""

from __future__ import annotations

from engine.layers.embedding import Embedding

__all__ = ["Embedding"]
