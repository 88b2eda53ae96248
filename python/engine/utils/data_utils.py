"""The names that Keras 2 had in this module."""

from __future__ import annotations

from engine.utils.batches import Sequence
from engine.utils.files import get_file

__all__ = ["Sequence", "get_file"]
